//! Nodes where kube2iam or kiam redirect what pods send to the metadata service: their translation in place, with and without a
//! grant, and the redirection taken away.

use std::net::IpAddr;

use ringfence_agent::lab::{Actor, Lab, Outcome, wire::Transport};
use ringfence_tests::{agent::Agent, lab::eventually};

use super::{attempt, metadata::lab_spec, patient_attempt, pod, world};

const IMDS: &str = "169.254.169.254";
const NODE: &str = "10.0.9.1";
/// Where kube2iam listens.
const PROXY: u16 = 8181;

/// Pods a, with a grant, and b, without; the real service outside; the proxy is a port of the node's.
fn lab() -> Lab {
    let mut spec = lab_spec("proxies");
    spec.node_ports = vec![PROXY];
    Lab::up(&spec).expect("a lab")
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn nft(lab: &Lab, words: &str) {
    let output = lab.exec(&Actor::Node, ["nft", words].map(std::ffi::OsStr::new));
    assert!(output.expect("the lab obeys").status.success(), "{words}");
}

/// The rule as kube2iam writes it, in front of the agent.
fn redirect(lab: &Lab) {
    nft(
        lab,
        &format!(
            "table ip kube2iam {{ chain before {{ type nat hook prerouting priority dstnat; \
             ip daddr {IMDS} tcp dport 80 dnat to {NODE}:{PROXY}; }}; }}"
        ),
    );
}

const WITH_PROXY: &str = "---
apiVersion: ringfence.dev/v1alpha1
kind: MetadataFirewall
metadata: { name: default }
spec: { endpoints: [ { name: kube2iam, kind: Proxy, standsFor: [ imds ], ports: [ 8181 ] } ] }
";

fn grant(endpoint: &str) -> String {
    format!(
        "---\napiVersion: ringfence.dev/v1alpha1\nkind: MetadataAccess\nmetadata: {{ name: a }}\nspec:\n  podAnnotation: Ignored\n  \
         endpointNames: [ {endpoint} ]\n  subjects: [ {{ namespaceSelector: {{}}, podSelector: {{ matchLabels: {{ app: a }} }} }} ]\n"
    )
}

/// A manifest that says which addresses are the node's own.
const NODES: &str = "---
apiVersion: v1
kind: Node
metadata: { name: w1 }
status: { addresses: [ { type: InternalIP, address: 10.0.9.1 }, { type: InternalIP, address: \"fd00:9::1\" } ] }
";

fn tries(lab: &Lab, who: &str, to: &str, port: u16) -> Outcome {
    attempt(lab, &pod(who), address(to), port, Transport::Tcp)
}

/// Who answers.
fn answers(lab: &Lab, who: &str, to: &str, port: u16) -> Option<String> {
    match patient_attempt(lab, &pod(who), address(to), port, Transport::Tcp) {
        Outcome::Answered { who } => Some(who),
        _ => None,
    }
}

#[test]
fn a_denied_pod_stays_denied_with_their_rule_and_a_granted_one_gets_to_the_proxy_alone() {
    let lab = lab();
    redirect(&lab);
    // Without an agent the rule works for everybody: what is denied below is denied by us.
    assert_eq!(answers(&lab, "b", IMDS, 80).as_deref(), Some("node"));
    let pods = world(&["a", "b"]) + NODES + WITH_PROXY;
    let agent = Agent::start(&lab, &(pods.clone() + &grant("kube2iam")), &[]);
    assert_eq!(answers(&lab, "a", IMDS, 80).as_deref(), Some("node"));
    assert_eq!(answers(&lab, "a", NODE, PROXY).as_deref(), Some("node"));
    for (to, port) in [(IMDS, 80), (NODE, PROXY)] {
        let outcome = tries(&lab, "b", to, port);
        assert!(!outcome.is_answered(), "{to}:{port}: {outcome}");
    }
    // The service itself is not what was granted.
    nft(&lab, "delete table ip kube2iam");
    let outcome = tries(&lab, "a", IMDS, 80);
    assert!(!outcome.is_answered(), "without the rule: {outcome}");
    agent.edit("manifests.yaml", &(pods.clone() + &grant("imds")));
    eventually("a grant of the service is one", || {
        tries(&lab, "a", IMDS, 80).is_answered().then_some(())
    });
    assert!(!tries(&lab, "b", IMDS, 80).is_answered());
    // And it is none of the proxy.
    redirect(&lab);
    let outcome = tries(&lab, "a", IMDS, 80);
    assert!(!outcome.is_answered(), "through the rule: {outcome}");
    drop(agent);
    lab.down().unwrap();
}
