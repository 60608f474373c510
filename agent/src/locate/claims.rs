//! Settles which pod has an interface that several claim. Pure.

use std::collections::BTreeMap;

use crate::model::{Located, PodKey};

/// An interface that may be a pod's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    /// The interface.
    pub located: Located,
    /// What speaks for it.
    pub proof: Proof,
    /// The pod is going.
    pub terminating: bool,
}

/// What speaks for a claim, the strongest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Proof {
    /// The namespace or interface is named as this pod's.
    Named,
    /// An address of the pod, which another pod may have by now.
    Address,
}

/// Gives each interface to one pod: to whom it is named, then to who is seen there now before who was (`kept`), then to whom had
/// it before (`held`), then to who stays. A pod that does not get where it is seen now stays where it was.
pub(super) fn settle(
    mut seen: BTreeMap<PodKey, Result<Claim, String>>,
    mut kept: BTreeMap<PodKey, Claim>,
    held: &BTreeMap<u32, PodKey>,
) -> BTreeMap<PodKey, Result<Claim, String>> {
    for (key, seen) in &mut seen {
        if let Ok(seen) = seen
            && let Some(before) = kept.remove(key)
            && !seen.adds(&before)
        {
            kept.insert(key.clone(), before);
        }
    }
    let now = seen
        .iter()
        .filter_map(|(key, seen)| Some((key, seen.as_ref().ok()?, false)));
    let before = kept.iter().map(|(key, claim)| (key, claim, true));
    let mut ranked: Vec<_> = now
        .chain(before)
        .map(|(key, claim, kept)| {
            let other = held.get(&claim.located.ifindex) != Some(key);
            ((claim.proof, kept, other, claim.terminating, key), claim)
        })
        .collect();
    ranked.sort_unstable_by_key(|(rank, _)| *rank);
    let mut owners: BTreeMap<u32, &PodKey> = BTreeMap::new();
    let mut settled: BTreeMap<PodKey, Result<Claim, String>> = BTreeMap::new();
    for ((.., key), claim) in ranked {
        let index = claim.located.ifindex;
        if !settled.contains_key(key) && !owners.contains_key(&index) {
            owners.insert(index, key);
            settled.insert(key.clone(), Ok(claim.clone()));
        }
    }
    for (key, seen) in &seen {
        let refusal = match seen {
            _ if settled.contains_key(key) => continue,
            Err(reason) => reason.clone(),
            Ok(claim) => {
                let owner = owners.get(&claim.located.ifindex);
                let owner = owner.map(ToString::to_string).unwrap_or_default();
                format!(
                    "its interface {} is that of pod {owner}",
                    claim.located.interface
                )
            }
        };
        settled.insert(key.clone(), Err(refusal));
    }
    settled
}

impl Claim {
    /// True if this claims the interface of before; then what was known better then counts on.
    fn adds(&mut self, before: &Self) -> bool {
        if self.located.ifindex != before.located.ifindex {
            return false;
        }
        self.proof = self.proof.min(before.proof);
        let (now, then) = (&mut self.located, &before.located);
        // Routes and neighbours do not tell what is in the pod's namespace.
        if now.hardware_address.is_none() && now.addresses.is_empty() {
            now.hardware_address = then.hardware_address;
            now.addresses.clone_from(&then.addresses);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> PodKey {
        PodKey {
            namespace: "shop".to_owned(),
            name: name.to_owned(),
        }
    }

    fn claim(ifindex: u32, proof: Proof, terminating: bool) -> Claim {
        Claim {
            located: Located {
                ifindex,
                interface: format!("veth{ifindex}"),
                hardware_address: None,
                addresses: Vec::new(),
            },
            proof,
            terminating,
        }
    }

    /// The owner of interface 7.
    fn owner(claims: [Claim; 2], held: Option<&str>) -> PodKey {
        let [a, b] = claims;
        let held = held.map(|name| (7, key(name))).into_iter().collect();
        let seen = [(key("a"), Ok(a)), (key("b"), Ok(b))].into();
        let settled = settle(seen, BTreeMap::new(), &held);
        let refused: Vec<&String> = settled
            .values()
            .filter_map(|it| it.as_ref().err())
            .collect();
        let (owner, _) = settled.iter().find(|(_, it)| it.is_ok()).unwrap();
        assert_eq!(
            refused,
            [&format!("its interface veth7 is that of pod {owner}")]
        );
        owner.clone()
    }

    #[test]
    fn a_name_is_stronger_than_having_been_there_and_that_is_stronger_than_staying() {
        use Proof::{Address, Named};
        let cases = [
            // (a's proof, a goes, b's proof, b goes, who had it, who has it)
            (Address, false, Named, false, Some("a"), "b"),
            (Named, false, Named, false, Some("b"), "b"),
            (Address, true, Address, false, Some("a"), "a"),
            (Address, true, Address, false, None, "b"),
            (Address, false, Address, false, None, "a"),
        ];
        for (a, a_goes, b, b_goes, held, expect) in cases {
            let owner = owner([claim(7, a, a_goes), claim(7, b, b_goes)], held);
            assert_eq!(owner, key(expect), "{a:?} {b:?} {held:?}");
        }
    }

    #[test]
    fn what_is_known_of_a_pods_namespace_stays_known_while_its_interface_does() {
        let mut before = claim(7, Proof::Named, false);
        before.located.hardware_address = Some([7; 6]);
        before.located.addresses = vec!["fe80::7".parse().unwrap()];
        let kept: BTreeMap<_, _> = [(key("a"), before.clone())].into();
        let settle = |seen: &Claim| {
            let seen = [(key("a"), Ok(seen.clone()))].into();
            let settled = settle(seen, kept.clone(), &BTreeMap::new());
            settled[&key("a")].clone().unwrap()
        };
        assert_eq!(settle(&claim(7, Proof::Address, false)), before);
        let mut seen = before.clone();
        seen.located.addresses = vec!["fe80::8".parse().unwrap()];
        assert_eq!(settle(&seen), seen);
    }

    #[test]
    fn interfaces_of_their_own_are_settled_as_they_are() {
        let settled = settle(
            [
                (key("a"), Ok(claim(7, Proof::Named, false))),
                (key("b"), Ok(claim(8, Proof::Address, false))),
                (key("c"), Err("lost".to_owned())),
            ]
            .into(),
            BTreeMap::new(),
            &BTreeMap::new(),
        );
        assert_eq!(settled[&key("c")], Err("lost".to_owned()));
        assert_eq!(settled.values().filter(|it| it.is_ok()).count(), 2);
    }
}
