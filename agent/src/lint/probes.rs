//! What keeps the kubelet from asking pods how they are.

use ringfence_common::cell::Verdict;

use super::{
    Finding, Look, PROBE_DENIED,
    scene::{ask, with_nodes},
};
use crate::{
    compile::{Asker, Party},
    model::Protocol,
};

pub(super) fn find(look: &Look<'_>) -> Vec<Finding> {
    let (scene, _) = with_nodes(look.snapshot);
    let asker = Asker::new(&scene);
    let mut found = Vec::new();
    for (key, probes) in &look.details.probes {
        let Some(pod) = scene.pods.get(key).filter(|pod| pod.is_running()) else {
            continue;
        };
        let node = pod.node.as_deref().and_then(|name| scene.nodes.get(name));
        let addresses = node
            .map(|node| node.addresses.as_slice())
            .unwrap_or_default();
        let to = Party::Pod(key.clone());
        for probe in probes {
            let answers = addresses.iter().filter_map(|&from| {
                let port = (Protocol::Tcp, probe.says);
                ask(&asker, &Party::Address(from), &to, port)
            });
            let denied = answers
                .filter_map(|answer| answer.ingress)
                .find(|it| it.live == Verdict::Deny || it.staged == Verdict::Deny);
            let Some(judgement) = denied else { continue };
            let (rule, may) = match judgement.live {
                Verdict::Deny => (judgement.rule, "is"),
                Verdict::Allow => (judgement.told.1, "would be"),
            };
            let message = format!(
                "the kubelet's probe of {key} at {}/TCP {may} denied by {}",
                probe.says,
                rule.unwrap_or_default()
            );
            found.push(look.finding(&PROBE_DENIED, &format!("Pod/{key}"), &probe.path, message));
        }
    }
    found
}
