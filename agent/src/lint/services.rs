//! Services whose clients from outside come with a node's address.

use std::net::IpAddr;

use ringfence_common::cell::Verdict;

use super::{
    BEHIND_NAT, Finding, Look,
    scene::{OUTSIDE, ask, with_nodes},
};
use crate::{
    compile::{Asker, Party, resolve_service},
    model::{PodKey, Protocol, Snapshot},
};

pub(super) fn find(look: &Look<'_>) -> Vec<Finding> {
    let (mut scene, other) = with_nodes(look.snapshot);
    // Where nodes are known, it is one of them.
    if !look.snapshot.nodes.is_empty() {
        scene.nodes.remove(&other.name);
    }
    let asker = Asker::new(&scene);
    let mut found = Vec::new();
    for (namespace, name) in &look.details.masquerading {
        let key = (namespace.clone(), name.clone());
        let ports = scene.services.get(&key).map(|it| it.ports.as_slice());
        let denied = ports.unwrap_or_default().iter().find_map(|port| {
            // Of a Service with nobody behind it there is nothing to say.
            let behind = resolve_service(&scene, namespace, name, (port.protocol, port.port));
            let mut behind = behind.unwrap_or_default().into_iter();
            behind.find_map(|(pod, number)| {
                let by = denied_by(&scene, &asker, &pod, (port.protocol, number))?;
                Some((pod, number, by))
            })
        });
        if let Some((pod, port, by)) = denied {
            let object = format!("Service/{namespace}/{name}");
            let message = format!(
                "what comes from outside to pod/{pod} {port} by this Service has a node's address: it is denied by {by}, \
                 which an address from outside passes"
            );
            found.push(look.finding(&BEHIND_NAT, &object, "spec.externalTrafficPolicy", message));
        }
    }
    found
}

/// The rule that denies what another node sends, where what comes from outside is allowed.
fn denied_by(
    scene: &Snapshot,
    asker: &Asker<'_>,
    key: &PodKey,
    port: (Protocol, u16),
) -> Option<String> {
    let pod = scene.pods.get(key).filter(|pod| !pod.host_network)?;
    let to = Party::Pod(key.clone());
    let judged = |from: IpAddr| ask(asker, &Party::Address(from), &to, port)?.ingress;
    let open = OUTSIDE.into_iter().filter_map(judged);
    if !open.into_iter().any(|it| it.live == Verdict::Allow) {
        return None;
    }
    let nodes = scene.nodes.iter();
    let nodes = nodes.filter(|(name, _)| Some(name.as_str()) != pod.node.as_deref());
    let mut judged = nodes.flat_map(|(_, node)| node.addresses.iter().filter_map(|&it| judged(it)));
    judged.find(|it| it.live == Verdict::Deny)?.rule
}
