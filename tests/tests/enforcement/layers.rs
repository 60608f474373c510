//! A process with the node's network, and sockets that are older than the agent: each layer of the metadata firewall alone.

use std::{
    fs::{self, File},
    net::TcpListener,
    path::PathBuf,
    process::Command,
    thread,
};

use nix::sched::{CloneFlags, setns};
use ringfence_agent::lab::{Lab, names};
use ringfence_tests::{agent::Agent, lab::eventually};

use super::{
    flows_on,
    metadata::{endpoints, lab_spec, shell_in, stream, visitors, world},
    pod, stands_still,
};

/// Cgroups below the pods' root: one that nobody knows, and a container's of a pod with a grant.
struct Cgroups {
    unknown: PathBuf,
    granted: PathBuf,
}

impl Cgroups {
    fn new(lab: &Lab) -> Self {
        let root = names::pods_cgroup(lab.name()).expect("cgroup2");
        let cgroups = Self {
            unknown: root.join("unknown"),
            granted: root.join("t_a/container"),
        };
        for cgroup in [&cgroups.unknown, &cgroups.granted] {
            fs::create_dir(cgroup).expect("the pods' cgroups are there");
        }
        cgroups
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        for cgroup in [&self.unknown, &self.granted] {
            // What is left goes with the lab.
            let _: std::io::Result<()> = fs::remove_dir(cgroup);
        }
    }
}

/// The layers that stand, as `status` has them.
pub(super) fn standing(agent: &Agent) -> Vec<String> {
    let status = agent.json(&["status"]);
    let layers = status["metadataLayers"].as_array().expect("a list");
    let standing = layers.iter().filter(|layer| layer["stands"] == true);
    standing
        .map(|layer| layer["name"].as_str().expect("a word").to_owned())
        .collect()
}

fn await_standing(agent: &Agent, layers: &[&str]) {
    eventually("the layers stand", || {
        (standing(agent) == layers).then_some(())
    });
}

#[test]
fn a_pod_with_the_nodes_network_is_held_by_each_layer_alone() {
    let lab = Lab::up(&lab_spec("hostpod")).unwrap();
    let cgroups = Cgroups::new(&lab);
    let node = names::node_netns(lab.name());
    let host = names::host_cgroup(lab.name()).unwrap();
    for layer in ["to-host", "socket-packets", "sockets"] {
        let agent = Agent::start(&lab, &world(true), &["--metadata-layers", layer]);
        await_standing(&agent, &[layer]);
        for to in endpoints().map(|to| to.to_string()) {
            let before = visitors(&lab);
            let said = shell_in(&node, &cgroups.unknown, &to);
            assert!(!said.contains("reached"), "{layer}, {to}: {said}");
            assert_eq!(
                said.contains("not permitted"),
                layer == "sockets",
                "{layer}, {to}: {said}"
            );
            assert_eq!(
                visitors(&lab),
                before,
                "{layer}, {to}: the server saw nobody"
            );
            for cgroup in [&cgroups.granted, &host] {
                let said = shell_in(&node, cgroup, &to);
                assert!(
                    said.contains("reached"),
                    "{layer}, {to}, {cgroup:?}: {said}"
                );
            }
        }
    }
    drop(cgroups);
    lab.down().unwrap();
}

/// A socket in the namespace of this name that takes connections to port 80.
fn listen_in(netns: &str, address: &'static str) -> TcpListener {
    let place = File::open(format!("/run/netns/{netns}")).expect("the lab's");
    let listener = thread::spawn(move || {
        setns(place, CloneFlags::CLONE_NEWNET).expect("tests run as root");
        TcpListener::bind((address, 80)).expect("nobody else does")
    });
    listener.join().expect("it does not panic")
}

#[test]
fn metadata_on_the_nodes_own_lo_is_for_the_node_and_for_who_was_granted_it() {
    const ON_LO: &str = "169.254.169.252";
    let lab = Lab::up(&lab_spec("onlo")).unwrap();
    let cgroups = Cgroups::new(&lab);
    let node = names::node_netns(lab.name());
    let host = names::host_cgroup(lab.name()).unwrap();
    let added = Command::new("ip")
        .args(["-n", &node, "address", "add", ON_LO, "dev", "lo"])
        .status();
    assert!(added.expect("iproute2").success());
    let listener = listen_in(&node, ON_LO);
    let agent = Agent::start(&lab, &world(true), &["--metadata-layers", "lo"]);
    await_standing(&agent, &["lo"]);
    let said = shell_in(&node, &cgroups.unknown, ON_LO);
    assert!(!said.contains("reached"), "{said}");
    for cgroup in [&cgroups.granted, &host] {
        let said = shell_in(&node, cgroup, ON_LO);
        assert!(said.contains("reached"), "{cgroup:?}: {said}");
    }
    drop((agent, cgroups, listener));
    lab.down().unwrap();
}

#[test]
fn a_socket_that_is_older_than_the_agent_is_held_by_its_packets() {
    let lab = Lab::up(&lab_spec("older")).unwrap();
    let who = ["a", "b"].map(pod);
    for actor in &who {
        stream(&lab, actor, 3);
    }
    let agent = Agent::start(&lab, &world(true), &["--metadata-layers", "socket-packets"]);
    stands_still(&lab, "s", &who[1]);
    flows_on(&lab, "s", &who[0], 3);
    agent.edit("manifests.yaml", &world(false));
    stands_still(&lab, "s", &who[0]);
    drop(agent);
    lab.down().unwrap();
}
