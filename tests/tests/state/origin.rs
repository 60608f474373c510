//! What the node itself sends passes; what only has its address does not. Host-network pods are their node.

use std::{
    io::Write as _,
    process::{Command, Stdio},
    time::Duration,
};

use ringfence_agent::lab::{Actor, Lab, inside_netns, names, wire::Transport};
use ringfence_tests::{
    agent::Agent,
    lab::{addresses, small},
};

use super::field::{block, is_closed, labelled, lets_in, pod, reaches, stream, stream_from, world};

/// Nobody may come in anywhere.
const CLOSED: &str = "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\n\
     metadata: { name: closed, namespace: t }\nspec: { podSelector: {}, policyTypes: [Ingress] }\n";

/// Gives nftables rules to a lab's node.
fn nft(lab: &Lab, rules: &str) {
    inside_netns(&names::node_netns(lab.name()), || {
        let mut nft = Command::new("nft")
            .args(["-f", "-"])
            .stdin(Stdio::piped())
            .spawn()?;
        nft.stdin
            .take()
            .expect("piped")
            .write_all(rules.as_bytes())?;
        assert!(nft.wait()?.success(), "{rules}");
        Ok(())
    })
    .expect("the rules are accepted");
}

#[test]
fn probes_of_the_own_node_pass_and_masqueraded_clients_do_not() {
    let lab = Lab::up(&small("origin", &["a", "b"], &[80, 81])).unwrap();
    let [v4, v6] = addresses(1);
    let client = Actor::outside("client");
    let node = lab.addresses(&Actor::Node).unwrap().to_vec();
    // A node port, as kube-proxy makes it for externalTrafficPolicy Cluster: the client gets the node's address.
    nft(
        &lab,
        &format!(
            "table inet nodeport {{\n\
             chain in {{ type nat hook prerouting priority dstnat;\n\
             ip daddr {n4} meta l4proto {{ tcp, udp }} th dport 30080 dnat ip to {v4}:80\n\
             ip6 daddr {n6} meta l4proto {{ tcp, udp }} th dport 30080 dnat ip6 to [{v6}]:80\n}}\n\
             chain out {{ type nat hook postrouting priority srcnat;\n\
             ip saddr != {n4} ip daddr {v4} ct status dnat snat ip to {n4}\n\
             ip6 saddr != {n6} ip6 daddr {v6} ct status dnat snat ip6 to {n6}\n}}\n}}\n",
            n4 = node[0],
            n6 = node[1],
        ),
    );
    let through_node = |lab: &Lab| reaches(lab, &client, &node, 30_080);
    let from_node = |lab: &Lab| reaches(lab, &Actor::Node, &[v4, v6], 80);
    let manifests = world(&["a", "b"]);
    let agent = Agent::start(&lab, &manifests, &[]);
    assert!(through_node(&lab) && from_node(&lab), "no policy yet");

    let revision = agent.revision();
    agent.edit("policy.yaml", CLOSED);
    agent.wait_beyond(revision);
    assert!(from_node(&lab), "as the kubelet probes");
    assert!(
        is_closed(&lab, &client, &node, 30_080),
        "it has the node's address, and that is all"
    );
    assert!(is_closed(&lab, &client, &[v4, v6], 80) && is_closed(&lab, &pod("b"), &[v4, v6], 80));
    assert!(reaches(&lab, &pod("a"), &[v4, v6], 80), "to itself");

    let revision = agent.revision();
    let peers = [block(node[0]), block(node[1])].join(", ");
    agent.edit(
        "policy.yaml",
        &(CLOSED.to_owned() + &lets_in("a", &peers, 80, true)),
    );
    agent.wait_beyond(revision);
    assert!(through_node(&lab), "policy says so");
    assert!(from_node(&lab) && is_closed(&lab, &pod("b"), &[v4, v6], 80));
    drop(agent);
    lab.down().unwrap();
}

#[test]
fn a_connection_of_the_nodes_outlives_a_policy_against_everybody() {
    let lab = Lab::up(&small("kubelet", &["a", "b"], &[80, 81])).unwrap();
    let to = addresses(1)[0];
    let agent = Agent::start(&lab, &world(&["a", "b"]), &[]);
    let theirs = stream(&lab, "b", to, 80, Transport::Tcp);
    let own = stream_from(&lab, &Actor::Node, to, 80, Transport::Tcp);
    agent.edit(
        "policy.yaml",
        &(CLOSED.to_owned() + &CLOSED.replace("closed", "out").replace("Ingress", "Egress")),
    );
    theirs.stands_still(&lab);
    own.goes_on(&lab);
    own.has_lost_nothing(&lab);
    drop(agent);
    lab.down().unwrap();
}

#[test]
fn a_host_network_pod_is_its_node_as_peer_and_nobody_as_subject() {
    let lab = Lab::up(&small("hostnet", &["a", "b"], &[80, 81])).unwrap();
    let client = Actor::outside("client");
    // The host outside is another node, and this pod of its runs in its network namespace.
    let [there4, there6] = [0, 1].map(|family| lab.addresses(&client).unwrap()[family]);
    let hosted = format!(
        "---\napiVersion: v1\nkind: Pod\nmetadata: {{ name: hosted, namespace: t, labels: {{ app: hosted }} }}\n\
         spec: {{ hostNetwork: true, containers: [ {{ name: c, image: i }} ] }}\n\
         status: {{ phase: Running, podIPs: [ {{ ip: {there4} }}, {{ ip: \"{there6}\" }} ] }}\n"
    );
    let world = world(&["a", "b"]) + &hosted;
    let by_label = lets_in("a", &labelled(&["hosted", "b"]), 80, true);
    let by_block = lets_in("a", &[block(there4), block(there6)].join(", "), 80, true);
    let subject = lets_in("hosted", &labelled(&["nobody"]), 1, false);
    let agent = Agent::start(&lab, &(world.clone() + &by_label + &subject), &[]);
    let to = addresses(1);
    assert!(is_closed(&lab, &client, &to, 80), "its label is no address");
    assert!(reaches(&lab, &pod("b"), &to, 80));
    let serves = |lab: &Lab| {
        let probe = |to| lab.probe(&pod("b"), to, 80, Transport::Tcp, Duration::from_secs(10));
        [there4, there6].map(|to| probe(to).unwrap().is_answered())
    };
    assert_eq!(serves(&lab), [true; 2], "no policy is about it");

    let revision = agent.revision();
    agent.edit("manifests.yaml", &(world + &by_block + &subject));
    agent.wait_beyond(revision);
    assert!(
        reaches(&lab, &client, &to, 80),
        "its node's address is in the block"
    );
    assert!(is_closed(&lab, &pod("b"), &to, 80) && is_closed(&lab, &client, &to, 81));
    assert_eq!(serves(&lab), [true; 2]);
    drop(agent);
    lab.down().unwrap();
}

#[test]
fn a_pod_reaches_itself_by_each_of_its_addresses_though_nothing_may_go_in_or_out() {
    let mut spec = small("itself", &["a", "b"], &[80]);
    let second = "10.244.9.101".parse().unwrap();
    spec.pods[0].addresses.push(second);
    let lab = Lab::up(&spec).unwrap();
    let closed = CLOSED.replace("[Ingress]", "[Ingress, Egress]");
    let agent = Agent::start(&lab, &(world(&["a", "b"]) + &closed), &[]);
    let [v4, v6] = addresses(1);
    let own = [v4, v6, second];
    assert!(reaches(&lab, &pod("a"), &own, 80));
    assert!(is_closed(&lab, &pod("b"), &own, 80) && is_closed(&lab, &pod("a"), &addresses(2), 80));
    drop(agent);
    lab.down().unwrap();
}
