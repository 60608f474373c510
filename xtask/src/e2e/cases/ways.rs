//! Every way between two pods, tried, beside what policy says of it.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, bail};

use super::{End, look};
use crate::e2e::{
    cluster::Cluster,
    eventually,
    expect::{self, Matrix, Pod, Way},
    probe::{self, Outcome},
};

/// All ways go as policy says.
pub(super) fn every(cluster: &Cluster) -> Result<End> {
    let (pods, objects) = look(cluster)?;
    let expected = expect::matrix(&objects)?;
    let count = eventually("every way goes as policy says", || {
        try_all(cluster, &pods, &expected)
    })?;
    let nodes: BTreeSet<&str> = pods.iter().map(|it| it.node.as_str()).collect();
    eprintln!(
        "{} ways on {} nodes, {} of them open",
        count.tried,
        nodes.len(),
        count.open
    );
    // What holds must hold at once, too, not only in the end.
    try_all(cluster, &pods, &expected)?;
    Ok(End::Passed)
}

/// How many ways there were.
pub(super) struct Count {
    /// All.
    pub tried: usize,
    /// Those that policy leaves open.
    pub open: usize,
}

/// Tries every way once, in each family that the pods have; how many there are, if each goes as it should.
pub(super) fn try_all(cluster: &Cluster, pods: &[Pod], expected: &Matrix) -> Result<Count> {
    let mut wrong = Vec::new();
    let mut count = Count { tried: 0, open: 0 };
    for from in pods {
        let targets: Vec<(String, Way)> = pods.iter().flat_map(|to| ways(from, to)).collect();
        let words: Vec<String> = targets.iter().map(|(target, _)| target.clone()).collect();
        let outcomes = probe::connect(cluster, from, &words)?;
        for (target, way) in targets {
            let allowed = *expected
                .get(&way)
                .with_context(|| format!("`ringfence matrix` says nothing of {way:?}"))?;
            let outcome = outcomes.get(&target).copied().unwrap_or(Outcome::Other);
            count.tried += 1;
            count.open += usize::from(allowed);
            if allowed != (outcome == Outcome::Reached) {
                let word = if allowed { "allowed" } else { "denied" };
                wrong.push(format!("{way} ({target}) is {word}, and {outcome:?}"));
            }
        }
    }
    if !wrong.is_empty() {
        bail!("{} ways are wrong: {}", wrong.len(), wrong.join("; "));
    }
    Ok(count)
}

/// The ways from one pod to another, each with the address and port to try.
pub fn ways(from: &Pod, to: &Pod) -> Vec<(String, Way)> {
    let mut ways = Vec::new();
    for address in &to.addresses {
        let family = expect::family(address);
        if !from.addresses.iter().any(|it| expect::family(it) == family) {
            continue;
        }
        for port in &to.ports {
            ways.push((endpoint(address, *port), Way::new(from, to, *port, family)));
        }
    }
    ways
}

/// An address and a port as programs take them.
pub(super) fn endpoint(address: &str, port: u64) -> String {
    if address.contains(':') {
        format!("[{address}]:{port}")
    } else {
        format!("{address}:{port}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, addresses: &[&str]) -> Pod {
        Pod {
            namespace: "shop".to_owned(),
            name: name.to_owned(),
            addresses: addresses.iter().map(|&it| it.to_owned()).collect(),
            node: "node".to_owned(),
            ports: vec![80],
            datagrams: Vec::new(),
        }
    }

    #[test]
    fn a_way_needs_one_family_at_both_ends() {
        let both = pod("both", &["10.0.0.1", "fd00::1"]);
        let six = pod("six", &["fd00::2"]);
        let targets = |from: &Pod, to: &Pod| {
            ways(from, to)
                .into_iter()
                .map(|(target, _)| target)
                .collect::<Vec<_>>()
        };
        assert_eq!(targets(&six, &both), ["[fd00::1]:80"]);
        assert_eq!(targets(&both, &both), ["10.0.0.1:80", "[fd00::1]:80"]);
    }
}
