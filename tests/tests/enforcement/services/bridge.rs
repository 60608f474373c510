//! Pods on a Linux bridge, as the CNI plugin "bridge" lays them: direct neighbours, and Services that lead back into the
//! bridge, translated inside it (`br_netfilter`) or by way of the node's gateway address.

use std::{fs, io::Write as _, path::Path};

use ringfence_agent::lab::{Actor, Lab};
use ringfence_tests::{
    agent::Agent,
    lab::{addresses, small},
};

use super::{
    TO_B, Ways, fares, is_closed, lets_out, manifest, on_the_node, reaches, service, translate,
};
use crate::{flows_on, pod, stands_still, stream, world};

/// The bridge's addresses.
const GATEWAY: [&str; 2] = ["10.244.9.254", "fd00:10:244:9::fe"];

/// Runs a command there.
pub(crate) fn run(lab: &Lab, actor: &Actor, words: &str) {
    let words: Vec<&std::ffi::OsStr> = words.split(' ').map(AsRef::as_ref).collect();
    let output = lab.exec(actor, &words).expect("the lab obeys");
    assert!(output.status.success(), "{words:?}: {output:?}");
}

/// Moves the pods of a lab onto a bridge of the node.
pub(crate) fn bridged(lab: &Lab, pods: &[&str]) {
    let node = |words: &str| run(lab, &Actor::Node, words);
    node("ip link add cni0 type bridge forward_delay 0 mcast_snooping 0");
    node("ip link set cni0 up");
    let [v4, v6] = GATEWAY;
    node(&format!("ip addr add {v4}/24 dev cni0"));
    node(&format!("ip addr add {v6}/64 dev cni0 nodad"));
    for (number, name) in pods.iter().enumerate() {
        let device = format!("p{number}-{name}");
        node(&format!("ip addr flush dev {device}"));
        for family in ["-4", "-6"] {
            node(&format!("ip {family} route flush dev {device}"));
        }
        node(&format!("ip link set {device} master cni0"));
        node(&format!("bridge link set dev {device} hairpin on"));
        for (gateway, subnet) in GATEWAY.iter().zip(["10.244.9.0/24", "fd00:10:244:9::/64"]) {
            run(lab, &pod(name), &format!("ip route add {subnet} dev eth0"));
            let default = format!("ip route replace default via {gateway} dev eth0");
            run(lab, &pod(name), &default);
        }
    }
}

/// True if bridges can have what crosses them pass the node's rules.
fn has_br_netfilter() -> bool {
    Path::new("/proc/sys/net/bridge/bridge-nf-call-iptables").exists()
}

/// Says that a test did not do all it could.
fn without_br_netfilter(test: &str) {
    if let Some(path) = std::env::var_os("RINGFENCE_SKIPS") {
        let file = fs::OpenOptions::new().append(true).create(true).open(path);
        let line = format!("{test}: the kernel has no br_netfilter, or it is not loaded\n");
        file.and_then(|mut file| file.write_all(line.as_bytes()))
            .expect("the file of what is skipped can be written");
    }
}

/// Whether what crosses the bridge passes the node's rules.
fn filter(lab: &Lab, on: bool) {
    if has_br_netfilter() {
        for family in ["iptables", "ip6tables"] {
            let parameter = format!("net.bridge.bridge-nf-call-{family}={}", u8::from(on));
            on_the_node(lab, &["sysctl", "-qw", &parameter]);
        }
    }
}

#[test]
fn neighbours_on_a_bridge_are_judged_directly() {
    let lab = Lab::up(&small("bridge", &["a", "b", "c"], &[80, 81])).unwrap();
    bridged(&lab, &["a", "b", "c"]);
    let agent = Agent::start(&lab, &(world(&["a", "b", "c"]) + &lets_out(TO_B, 80)), &[]);
    for on in [false, true] {
        if on && !has_br_netfilter() {
            without_br_netfilter("neighbours_on_a_bridge_are_judged_directly");
            break;
        }
        filter(&lab, on);
        for (number, port, allowed) in [(2, 80, true), (2, 81, false), (3, 80, false)] {
            let direct = |from: &str, allowed| {
                ringfence_tests::reach::fares(&lab, &pod(from), &addresses(number), port, allowed)
            };
            assert!(direct("a", allowed), "{number}:{port}, filtered {on}");
            assert!(
                direct("c", true),
                "c is free, {number}:{port}, filtered {on}"
            );
        }
        assert!(crate::is_closed(&lab, &pod("b"), 1, 80), "a lets nobody in");
    }
    drop(agent);
    lab.down().unwrap();
}

/// Services of pods of one bridge, on the node's way.
fn through_services(lab: &Lab, filters: bool, masquerades: &[bool]) {
    bridged(lab, &["a", "b", "c"]);
    filter(lab, filters);
    let services: String = [1, 2, 3, 4].map(|number| manifest(number, 8080)).concat();
    let rules = [
        (1, 8080, addresses(2), 80),
        (2, 8080, addresses(3), 80),
        // The Service's port is no pod's, and this one's target is not allowed.
        (3, 8080, addresses(2), 81),
        (4, 8080, addresses(1), 80),
    ];
    let manifests = world(&["a", "b", "c"]) + &services;
    let agent = Agent::start(lab, &(manifests.clone() + &lets_out(TO_B, 80)), &[]);
    for &masquerade in masquerades {
        for clobber in [false, true] {
            let ways = Ways {
                masquerade,
                clobber,
            };
            translate(lab, ways, &rules);
            for (number, allowed) in [(1, true), (2, false), (3, false)] {
                // Mark, device and address say nothing then: the one case in which nobody knows the sender.
                if clobber && masquerade && !filters && !allowed {
                    continue;
                }
                let said = format!("Service {number}, filtered {filters}, {ways:?}");
                assert!(fares(lab, "a", number, 8080, allowed), "{said}");
                let free = if number == 2 { "b" } else { "c" };
                assert!(reaches(lab, free, number, 8080), "{free} is free, {said}");
            }
            assert!(is_closed(lab, "b", 4, 8080), "a lets nobody in, {ways:?}");
            if !clobber {
                assert!(reaches(lab, "a", 4, 8080), "to itself, {ways:?}");
            }
        }
    }
    translate(
        lab,
        Ways {
            masquerade: masquerades[0],
            clobber: false,
        },
        &rules,
    );
    let a = pod("a");
    let ids = service(1).map(|to| {
        let id = to.to_string();
        let protocol = ringfence_agent::lab::wire::Transport::Udp;
        stream(lab, &id, &a, to, 8080, protocol);
        flows_on(lab, &id, &a, 10);
        id
    });
    let revision = agent.revision();
    agent.edit("manifests.yaml", &(manifests + &lets_out(TO_B, 81)));
    agent.wait_beyond(revision);
    for id in &ids {
        stands_still(lab, id, &a);
    }
    assert!(reaches(lab, "a", 3, 8080), "the other port now");
    drop(agent);
}

#[test]
fn a_service_of_bridged_pods_is_judged_behind_the_gateway() {
    let lab = Lab::up(&small("bridgeroute", &["a", "b", "c"], &[80, 81])).unwrap();
    // Answers must come back by way of the node, so its address is their destination.
    through_services(&lab, false, &[true]);
    lab.down().unwrap();
}

#[test]
fn a_service_of_bridged_pods_is_judged_when_the_bridge_translates() {
    if !has_br_netfilter() {
        without_br_netfilter("a_service_of_bridged_pods_is_judged_when_the_bridge_translates");
        return;
    }
    let lab = Lab::up(&small("bridgenf", &["a", "b", "c"], &[80, 81])).unwrap();
    through_services(&lab, true, &[false, true]);
    lab.down().unwrap();
}
