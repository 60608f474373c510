use super::{super::netlink::Link, *};

fn key(name: &str) -> PodKey {
    PodKey {
        namespace: "shop".to_owned(),
        name: name.to_owned(),
    }
}

fn located(ifindex: u32) -> Located {
    Located {
        ifindex,
        interface: format!("veth{ifindex}"),
        hardware_address: Some([7; 6]),
        addresses: vec!["10.0.0.7".parse().unwrap()],
    }
}

fn link(ifindex: u32, peer: u32, peer_netns: i32) -> Link {
    Link {
        index: ifindex,
        name: format!("veth{ifindex}"),
        kind: Some("veth".to_owned()),
        peer: Some(peer),
        peer_netns: Some(peer_netns),
        ..Link::default()
    }
}

/// What is found of a pod in a round; `Err`: nothing.
type Seen<'a> = (&'a str, Result<(u32, Proof), ()>);

/// A node with two pairs, and the pods that are looked for.
struct Case {
    memory: Memory,
    node: Stack,
    sought: BTreeMap<PodKey, Sought>,
    now: Instant,
}

impl Case {
    /// Pod `a` has been found at interface 7.
    fn found(proof: Proof) -> Self {
        let links = [link(7, 2, 1), link(8, 2, 2)];
        let sought = ["a", "b"].map(|name| {
            let pod = Sought {
                uid: format!("u-{name}"),
                ..Sought::default()
            };
            (key(name), pod)
        });
        let mut case = Self {
            memory: Memory::default(),
            node: Stack {
                links: links.map(|link| (link.index, link)).into(),
                ..Stack::default()
            },
            sought: sought.into(),
            now: Instant::now(),
        };
        let found = case.round(&[("a", Ok((7, proof)))]);
        assert_eq!(found.by_pod[&key("a")], Ok(located(7)));
        assert!(!found.incomplete);
        case
    }

    /// What a round makes of these claims.
    fn round(&mut self, claims: &[Seen<'_>]) -> Found {
        let claims = claims.iter().map(|(name, claim)| {
            let claim = claim
                .map(|(ifindex, proof)| Claim {
                    located: located(ifindex),
                    proof,
                    terminating: false,
                })
                .map_err(|()| "nowhere to be seen".to_owned());
            (key(name), claim)
        });
        let claims = claims.collect();
        self.memory
            .settle(claims, &self.sought, &self.node, self.now)
    }

    /// Where pod `a` is if a round does not find it.
    fn unseen(&mut self) -> Option<Result<Located, String>> {
        let mut found = self.round(&[("a", Err(()))]);
        assert!(found.incomplete, "it is looked for again");
        found.by_pod.remove(&key("a"))
    }

    fn pod(&mut self) -> &mut Sought {
        self.sought.get_mut(&key("a")).unwrap()
    }

    fn end(&mut self) -> &mut Link {
        self.node.links.get_mut(&7).unwrap()
    }
}

#[test]
fn a_pod_that_is_not_found_again_stays_where_it_was() {
    for proof in [Proof::Named, Proof::Address] {
        let mut case = Case::found(proof);
        for _ in 0..3 {
            assert_eq!(case.unseen(), Some(Ok(located(7))));
        }
        // Also when there is nothing left to look for it by.
        let found = case.round(&[]);
        assert_eq!(found.by_pod[&key("a")], Ok(located(7)));
        "renamed".clone_into(&mut case.end().name);
        assert!(
            case.unseen()
                .is_some_and(|it| it.unwrap().interface == "renamed")
        );
    }
}

#[test]
fn it_stays_no_longer_than_the_pod_and_its_end_of_the_pair_are_what_they_were() {
    type Change = fn(&mut Case);
    let changes: [(&str, Change); 7] = [
        ("another pod of that name", |case| {
            "u-new".clone_into(&mut case.pod().uid);
        }),
        ("it says that it is elsewhere", |case| {
            case.pod().place = Some(Place::Interface("veth8".to_owned()));
        }),
        ("the runtime gave it another sandbox", |case| {
            case.pod().sandbox = Some("/run/netns/two".into());
        }),
        ("another index at the other end", |case| {
            case.end().peer = Some(3);
        }),
        ("another namespace at the other end", |case| {
            case.end().peer_netns = Some(3);
        }),
        ("the other end came here", |case| {
            case.end().peer_netns = None;
        }),
        ("it leads off the node by now", |case| {
            case.node.leading_out.insert(7);
        }),
    ];
    for (what, change) in changes {
        let mut case = Case::found(Proof::Named);
        case.pod().sandbox = Some("/run/netns/one".into());
        case.round(&[("a", Ok((7, Proof::Named)))]);
        assert!(case.unseen().unwrap().is_ok());
        change(&mut case);
        assert!(case.unseen().unwrap().is_err(), "{what}");
    }
}

#[test]
fn a_stronger_claim_takes_the_interface_and_a_weaker_one_does_not() {
    use Proof::{Address, Named};
    for (before, claim, stays) in [
        (Named, Named, false),
        (Named, Address, true),
        (Address, Named, false),
        (Address, Address, false),
    ] {
        let mut case = Case::found(before);
        let found = case.round(&[("a", Err(())), ("b", Ok((7, claim)))]);
        let a = &found.by_pod[&key("a")];
        assert_eq!(a.is_ok(), stays, "{before:?} {claim:?}");
        assert_eq!(found.by_pod[&key("b")].is_ok(), !stays);
    }
}

#[test]
fn only_what_says_more_than_before_moves_a_pod() {
    use Proof::{Address, Named};
    for (before, claim, at) in [
        (Named, Address, 7),
        (Named, Named, 8),
        (Address, Address, 8),
        (Address, Named, 8),
    ] {
        let mut case = Case::found(before);
        let found = case.round(&[("a", Ok((8, claim)))]);
        assert_eq!(found.by_pod[&key("a")], Ok(located(at)));
    }
    // It lost what it is seen at to another pod.
    let mut case = Case::found(Address);
    let found = case.round(&[("a", Ok((8, Address))), ("b", Ok((8, Named)))]);
    assert_eq!(found.by_pod[&key("a")], Ok(located(7)));
}

#[test]
fn a_pod_whose_interface_has_gone_is_ending_and_told_of_only_if_it_lasts() {
    for terminating in [false, true] {
        let mut case = Case::found(Proof::Named);
        case.pod().terminating = terminating;
        case.node.links.remove(&7);
        assert_eq!(case.unseen(), None);
        case.now += ENDING;
        assert_eq!(case.unseen().is_none(), terminating);
        // Whoever has the index next is not the pod.
        case.node.links.insert(7, link(7, 2, 1));
        assert!(case.unseen().unwrap().is_err());
    }
    let mut case = Case::found(Proof::Named);
    let found = case.round(&[("b", Err(()))]);
    assert!(
        found.by_pod[&key("b")].is_err(),
        "one that was never found is told of"
    );
}
