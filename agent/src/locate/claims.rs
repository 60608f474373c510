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

/// Gives each interface to one pod: to whom it is named, then to whom had it before, then to who stays.
pub(super) fn settle(
    claims: BTreeMap<PodKey, Result<Claim, String>>,
    held: &BTreeMap<u32, PodKey>,
) -> BTreeMap<PodKey, Result<Located, String>> {
    let rank = |key: &PodKey, claim: &Claim| {
        let other = held.get(&claim.located.ifindex) != Some(key);
        (claim.proof, other, claim.terminating)
    };
    let mut owners: BTreeMap<u32, PodKey> = BTreeMap::new();
    let mut best = BTreeMap::new();
    for (key, claim) in &claims {
        let Ok(claim) = claim else { continue };
        let rank = rank(key, claim);
        let index = claim.located.ifindex;
        if best.get(&index).is_none_or(|best| rank < *best) {
            best.insert(index, rank);
            owners.insert(index, key.clone());
        }
    }
    claims
        .into_iter()
        .map(|(key, claim)| {
            let settled = claim.and_then(|claim| match owners.get(&claim.located.ifindex) {
                Some(owner) if *owner != key => Err(format!(
                    "its interface {} is that of pod {owner}",
                    claim.located.interface
                )),
                _ => Ok(claim.located),
            });
            (key, settled)
        })
        .collect()
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
        let settled = settle([(key("a"), Ok(a)), (key("b"), Ok(b))].into(), &held);
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
    fn interfaces_of_their_own_are_settled_as_they_are() {
        let settled = settle(
            [
                (key("a"), Ok(claim(7, Proof::Named, false))),
                (key("b"), Ok(claim(8, Proof::Address, false))),
                (key("c"), Err("lost".to_owned())),
            ]
            .into(),
            &BTreeMap::new(),
        );
        assert_eq!(settled[&key("c")], Err("lost".to_owned()));
        assert_eq!(settled.values().filter(|it| it.is_ok()).count(), 2);
    }
}
