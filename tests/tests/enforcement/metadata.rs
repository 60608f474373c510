//! The metadata firewall: sockets are refused at once, packets are dropped, grants come and go.

use std::{fs, net::IpAddr, path::Path, process::Command};

use ringfence_agent::lab::{
    Actor, Lab, LabSpec, Outcome, OutsideHost, OutsidePort, names,
    wire::{Stream, Transport},
};
use ringfence_tests::{
    agent::Agent,
    lab::{binary, eventually, small},
};

use super::{PATIENT, attempt, flows_on, pod, pod_manifest, reaches, stands_still};

const GRANT: &str = ", metadata.ringfence.dev/access: imds";

pub(super) fn endpoints() -> [IpAddr; 2] {
    ["169.254.169.254", "fd00:ec2::254"].map(|address| address.parse().expect("an address"))
}

/// Two pods, `a` and `b`, and a metadata service outside.
pub(super) fn lab(name: &str) -> Lab {
    Lab::up(&lab_spec(name)).expect("a lab")
}

pub(super) fn lab_spec(name: &str) -> LabSpec {
    let mut spec: LabSpec = small(name, &["a", "b"], &[80]);
    spec.outside.push(OutsideHost {
        name: "metadata".to_owned(),
        addresses: endpoints().to_vec(),
        serves: vec![OutsidePort {
            protocol: Transport::Tcp,
            port: 80,
        }],
        only_answers: true,
    });
    spec
}

pub(super) fn world(grant_to_a: bool) -> String {
    "apiVersion: v1\nkind: Namespace\nmetadata: { name: t, labels: { trusted: \"true\" } }\n"
        .to_owned()
        + &pod_manifest("a", "a", 1, if grant_to_a { GRANT } else { "" })
        + &pod_manifest("b", "b", 2, "")
}

/// True if the pod gets an answer at both addresses; false if it is refused at once at both.
pub(super) fn may_ask(lab: &Lab, who: &str) -> bool {
    let outcomes = endpoints().map(|to| {
        lab.probe(&pod(who), to, 80, Transport::Tcp, PATIENT)
            .expect("the lab obeys")
    });
    match &outcomes {
        [Outcome::Answered { .. }, Outcome::Answered { .. }] => true,
        [Outcome::Denied, Outcome::Denied] => false,
        other => panic!("{who}: {other:?}"),
    }
}

pub(super) fn visitors(lab: &Lab) -> usize {
    lab.served(&Actor::outside("metadata"))
        .expect("the lab obeys")
        .visits
        .len()
}

/// Begins a stream `s` to the service, and waits for so many answers.
pub(super) fn stream(lab: &Lab, who: &Actor, answers: u64) {
    let question = Stream {
        id: "s".to_owned(),
        protocol: Transport::Tcp,
        from: None,
        to: endpoints()[0],
        port: 80,
        interval_ms: 5,
    };
    lab.stream(who, question).expect("the lab obeys");
    flows_on(lab, "s", who, answers);
}

#[test]
fn a_grant_opens_the_service_and_its_end_closes_it_for_established_flows_too() {
    let lab = lab("grant");
    let mut agent = Agent::start(&lab, &world(true), &[]);
    assert!(may_ask(&lab, "a"));
    let visits = visitors(&lab);
    assert!(!may_ask(&lab, "b"));
    assert!(!attempt(&lab, &pod("b"), endpoints()[0], 80, Transport::Udp).is_answered());
    let udp = attempt(&lab, &pod("b"), endpoints()[1], 8080, Transport::Udp);
    assert_eq!(udp, Outcome::Denied, "sendmsg is refused as connect is");
    assert_eq!(visitors(&lab), visits, "the server saw nobody");
    assert!(reaches(&lab, &pod("b"), 1, 80), "other traffic is free");

    let a = pod("a");
    stream(&lab, &a, 10);
    agent.edit("manifests.yaml", &world(false));
    stands_still(&lab, "s", &a);
    eventually("the socket is refused too", || {
        (!may_ask(&lab, "a")).then_some(())
    });

    agent.kill();
    let visits = visitors(&lab);
    assert!(
        !may_ask(&lab, "a") && !may_ask(&lab, "b"),
        "without an agent"
    );
    assert_eq!(visitors(&lab), visits);
    drop(agent);
    lab.down().unwrap();
}

#[test]
fn a_grant_finds_the_pods_cgroup_by_its_uid_where_the_kubelet_puts_it() {
    let mut spec = lab_spec("kubelet");
    spec.pods[0].cgroup = Some("pod0a-1b".to_owned());
    spec.pods[1].cgroup = Some("pod0a-2c".to_owned());
    let lab = Lab::up(&spec).unwrap();
    let with_uids =
        ["a", "b"]
            .iter()
            .zip(["0a-1b", "0a-2c"])
            .fold(world(true), |text, (pod, uid)| {
                let name = format!("  name: {pod}\n");
                text.replace(&name, &format!("{name}  uid: {uid}\n"))
            });
    let agent = Agent::start(&lab, &with_uids, &[]);
    assert!(may_ask(&lab, "a"));
    assert!(!may_ask(&lab, "b"));
    drop(agent);
    lab.down().unwrap();
}

#[test]
fn whose_annotations_count_is_configuration() {
    for (flag, granted) in [
        ("none", false),
        ("trusted=true", true),
        ("trusted=false", false),
    ] {
        let lab = lab("whose");
        let agent = Agent::start(&lab, &world(true), &["--metadata-annotations", flag]);
        assert_eq!(may_ask(&lab, "a"), granted, "{flag}");
        assert!(!may_ask(&lab, "b"), "{flag}");
        drop(agent);
        lab.down().unwrap();
    }
}

/// Asks for the metadata service with `/dev/tcp` from a process of its own in this cgroup and namespace; what the
/// shell says.
fn shell(lab: &Lab, pod: &str, cgroup: &Path, to: &str) -> String {
    let netns = format!("{}{pod}", names::netns_prefix(lab.name()));
    shell_in(&netns, cgroup, to)
}

/// The same in the namespace of this name.
pub(super) fn shell_in(netns: &str, cgroup: &Path, to: &str) -> String {
    let output = Command::new(binary())
        .args(["lab", "enter", "--cgroup"])
        .arg(cgroup)
        .args(["--", "ip", "netns", "exec"])
        .arg(netns)
        .args([
            "timeout",
            "5",
            "bash",
            "-c",
            &format!("exec 3<>/dev/tcp/{to}/80 && echo reached"),
        ])
        .output()
        .expect("the binary is there");
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn a_cgroup_that_nobody_knows_is_denied_and_a_containers_has_its_pods_grant() {
    let lab = lab("cgroups");
    let agent = Agent::start(&lab, &world(true), &[]);
    let root = names::pods_cgroup(lab.name()).unwrap();
    let (unknown, container) = (root.join("unknown"), root.join("t_a/container"));
    for cgroup in [&unknown, &container] {
        fs::create_dir(cgroup).unwrap();
    }
    for to in ["169.254.169.254", "fd00:ec2::254", "::ffff:169.254.169.254"] {
        let said = shell(&lab, "a", &unknown, to);
        assert!(said.contains("Operation not permitted"), "{to}: {said}");
    }
    for to in ["169.254.169.254", "fd00:ec2::254"] {
        let said = shell(&lab, "a", &container, to);
        assert!(said.contains("reached"), "{to}: {said}");
    }
    // Past the socket hooks, the wire is guarded by the pod's interface.
    let outside = names::host_cgroup(lab.name()).unwrap();
    let said = shell(&lab, "b", &outside, "169.254.169.254");
    assert!(
        !said.contains("reached") && !said.contains("not permitted"),
        "{said}"
    );
    assert!(shell(&lab, "a", &outside, "169.254.169.254").contains("reached"));
    for cgroup in [&unknown, &container] {
        fs::remove_dir(cgroup).unwrap();
    }
    drop(agent);
    lab.down().unwrap();
}
