//! Both ends on one node: each judges for itself, and either can end a connection.

use ringfence_agent::lab::{Lab, wire::Transport};
use ringfence_tests::{
    agent::Agent,
    lab::{addresses, small},
};

use super::field::{Flow, is_closed, labelled, lets_in, pod, reaches, stream, world};

/// A policy that lets pod `a` out to the pods with these labels on this port, and nowhere else.
fn lets_out(peers: &[&str], port: u16) -> String {
    format!(
        "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{ name: out, namespace: t }}\nspec:\n  \
         podSelector: {{ matchLabels: {{ app: a }} }}\n  policyTypes: [Egress]\n  egress:\n  - to: [ {} ]\n    \
         ports: [ {{ port: {port} }}, {{ port: {port}, protocol: UDP }} ]\n",
        labelled(peers)
    )
}

/// From `a` to `b`: both transports, both families.
fn flows(lab: &Lab) -> Vec<Flow> {
    let each = addresses(2)
        .into_iter()
        .flat_map(|to| Transport::ALL.map(|protocol| (to, protocol)));
    each.map(|(to, protocol)| stream(lab, "a", to, 80, protocol))
        .collect()
}

#[test]
fn both_ends_on_one_node_must_agree_and_either_ends_a_connection() {
    let lab = Lab::up(&small("ends", &["a", "b", "c"], &[80, 81])).unwrap();
    let agent = Agent::start(&lab, &world(&["a", "b", "c"]), &[]);
    let set = |policies: &[String]| {
        let revision = agent.revision();
        agent.edit("policy.yaml", &policies.concat());
        agent.wait_beyond(revision);
    };
    let (a, to) = (pod("a"), addresses(2));
    let open = [
        lets_out(&["b"], 80),
        lets_in("b", &labelled(&["a"]), 80, false),
    ];
    let closed_out = [lets_out(&["c"], 80), open[1].clone()];
    let closed_in = [open[0].clone(), lets_in("b", &labelled(&["c"]), 80, false)];
    for closed in [closed_out, closed_in] {
        set(&open);
        assert!(reaches(&lab, &a, &to, 80) && is_closed(&lab, &a, &to, 81));
        assert!(is_closed(&lab, &pod("c"), &to, 80) && is_closed(&lab, &a, &addresses(3), 80));
        let flows = flows(&lab);
        set(&closed);
        assert!(is_closed(&lab, &a, &to, 80), "one end is enough");
        for flow in &flows {
            flow.stands_still(&lab);
            lab.stream_stop(&a, flow.name()).unwrap();
        }
    }
    drop(agent);
    lab.down().unwrap();
}
