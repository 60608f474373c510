//! `ringfence metadata guard`: what stands before there is an agent, and how an agent takes it over.

mod left;
mod watch;

use std::{
    fs,
    net::{IpAddr, UdpSocket},
    path::PathBuf,
    process::{Command, Output},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use ringfence_agent::lab::{
    Actor, Lab, LabSpec, Outcome, OutsidePort, inside_netns, names, state, wire::Transport,
};
use ringfence_tests::{
    agent::Agent,
    attacks::{Attempt, Judge},
    lab::{binary, eventually},
};

use super::{
    flows_on,
    metadata::{endpoints, lab_spec, shell_in, world},
    patient_attempt, pod, report, stands_still,
};

/// A lab with a metadata service, a resolver at its address, and the judge of who gets there.
pub(super) struct Scene {
    pub(super) lab: Lab,
    judge: Judge,
    /// What arrives is somebody's who may not.
    attempt: Attempt,
}

impl Scene {
    pub(super) fn up(name: &str) -> Self {
        let mut spec: LabSpec = lab_spec(name);
        let metadata = spec.outside.last_mut().expect("the metadata service");
        for (protocol, port) in [(Transport::Udp, 80), (Transport::Udp, 53)] {
            metadata.serves.push(OutsidePort { protocol, port });
        }
        let lab = Lab::up(&spec).expect("a lab");
        let judge = Judge::new(&names::outside_netns(lab.name()), Vec::new()).expect("a judge");
        let attempt = judge.begin();
        Self {
            lab,
            judge,
            attempt,
        }
    }

    pub(super) fn node(&self) -> String {
        names::node_netns(self.lab.name())
    }

    pub(super) fn netns(&self, pod: &str) -> String {
        names::netns_prefix(self.lab.name()) + pod
    }

    pub(super) fn pods(&self) -> PathBuf {
        names::pods_cgroup(self.lab.name()).expect("cgroup2")
    }

    pub(super) fn host_cgroup(&self) -> PathBuf {
        names::host_cgroup(self.lab.name()).expect("cgroup2")
    }

    /// How many packets have come to the metadata service.
    pub(super) fn arrived(&self) -> usize {
        self.judge.fence(&self.node()).expect("the node may send");
        self.judge.arrivals(self.attempt).len()
    }

    /// Waits until what was sent from a namespace has arrived, or never will.
    pub(super) fn settle(&self, netns: &str) {
        self.judge.fence(netns).expect("what is no metadata passes");
    }

    /// Who sent them.
    pub(super) fn sources(&self) -> Vec<IpAddr> {
        let arrivals = self.judge.arrivals(self.attempt).into_iter();
        arrivals.map(|arrival| arrival.source).collect()
    }

    /// The guard's command line in this lab.
    pub(super) fn command(&self, more: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.args(["metadata", "guard", "--netns", &self.node()]);
        for (flag, value) in [
            ("--bpffs", state::bpffs(self.lab.name())),
            ("--run-dir", state::folder(self.lab.name())),
            ("--node-cgroup", self.host_cgroup()),
            ("--cgroup-root", self.pods()),
        ] {
            if !more.contains(&flag) {
                command.arg(flag).arg(value);
            }
        }
        command.args(more);
        command
    }

    pub(super) fn guard(&self, more: &[&str]) -> Output {
        self.command(more).output().expect("the binary is there")
    }

    /// Puts it up, and sees that it says so.
    pub(super) fn put_up(&self) {
        let output = self.guard(&["-o", "json"]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert_eq!(
            standing(&output),
            ["to-host", "lo", "socket-packets", "sockets"],
            "{output:?}"
        );
    }

    /// A datagram to each endpoint, from who is in no pod's cgroup: nothing but devices can stop it.
    pub(super) fn knock(&self, pod: &str) {
        knock(&self.knocker(pod));
    }

    /// Sockets of somebody in a pod's network who is in no pod's cgroup.
    fn knocker(&self, pod: &str) -> [UdpSocket; 2] {
        ["0.0.0.0:0", "[::]:0"].map(|from| {
            let socket = inside_netns(&self.netns(pod), || Ok(UdpSocket::bind(from)?));
            socket.expect("the pod's network is there")
        })
    }

    fn asks(&self, who: &str) -> [Outcome; 2] {
        endpoints().map(|to| patient_attempt(&self.lab, &pod(who), to, 80, Transport::Tcp))
    }

    /// What is no metadata answers.
    fn rest_is_free(&self, who: &str) {
        let client = ["203.0.113.9", "2001:db8:9::9"].map(|it| it.parse().expect("an address"));
        for to in client {
            let outcome = patient_attempt(&self.lab, &pod(who), to, 80, Transport::Tcp);
            assert!(outcome.is_answered(), "{to}: {outcome:?}");
        }
        let outcome = patient_attempt(&self.lab, &pod(who), endpoints()[0], 53, Transport::Udp);
        assert!(outcome.is_answered(), "DNS: {outcome:?}");
    }
}

fn knock(sockets: &[UdpSocket; 2]) {
    for (socket, to) in sockets.iter().zip(endpoints()) {
        socket
            .send_to(b"knock", (to, 80))
            .expect("whoever is no pod may send");
    }
}

/// The layers that stand, as a guard has them.
pub(super) fn standing(output: &Output) -> Vec<String> {
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let layers = said["layers"].as_array().expect("a list").iter();
    layers
        .filter(|layer| layer["stands"] == true)
        .map(|layer| layer["name"].as_str().expect("a word").to_owned())
        .collect()
}

pub(super) fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn is_denied(outcomes: &[Outcome; 2]) -> bool {
    matches!(outcomes, [Outcome::Denied, Outcome::Denied])
}

fn is_answered(outcomes: &[Outcome; 2]) -> bool {
    outcomes.iter().all(Outcome::is_answered)
}

#[test]
fn without_an_agent_nobody_below_the_pods_cgroup_and_nothing_forwarded_reaches_metadata() {
    let scene = Scene::up("guard");
    let kubepods = scene.pods().join("kubepods");
    // Without it the service is reached by each of the ways that are tried below.
    scene.knock("b");
    let before = scene.arrived();
    assert!(is_answered(&scene.asks("b")) && before >= 2);
    let fresh = scene.host_cgroup().join("fresh");
    fs::create_dir(&fresh).expect("the lab's");
    for to in endpoints().map(|to| to.to_string()) {
        let said = shell_in(&scene.node(), &fresh, &to);
        assert!(said.contains("reached"), "{to}: {said}");
    }
    fs::remove_dir(&fresh).expect("nobody is in it");
    let before = scene.arrived();

    // The kubelet has not been there yet.
    let output = scene.guard(&["--cgroup-root", kubepods.to_str().expect("a name")]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let said = text(&output);
    for layer in ["to-host", "lo", "socket-packets", "sockets"] {
        let line = said.lines().find(|line| line.starts_with(layer));
        assert!(line.is_some_and(|line| line.contains("yes")), "{said}");
    }
    assert!(said.contains("uplink0"), "{said}");
    let container = kubepods.join("burstable/pod0a-1b/container");
    fs::create_dir_all(&container).expect("the guard has made the root");
    // A pod, and one with the node's network.
    for netns in [scene.netns("b"), scene.node()] {
        for to in ["169.254.169.254", "fd00:ec2::254", "::ffff:169.254.169.254"] {
            let said = shell_in(&netns, &container, to);
            assert!(said.contains("Operation not permitted"), "{to}: {said}");
        }
        let said = shell_in(&netns, &container, "203.0.113.9");
        assert!(said.contains("reached"), "{said}");
    }
    scene.rest_is_free("b");
    // The wire is guarded too.
    scene.knock("a");
    scene.knock("b");
    assert_eq!(scene.arrived(), before, "the service saw somebody");
    // The node itself keeps its access: the kubelet needs it.
    let said = shell_in(&scene.node(), &scene.host_cgroup(), "169.254.169.254");
    assert!(said.contains("reached"), "{said}");

    let agent = Agent::prepare(&scene.lab, &world(true), &[]);
    let output = agent.detach();
    assert!(output.status.success(), "{output:?}");
    eventually("all of it is gone", || {
        let said = shell_in(&scene.netns("b"), &container, "169.254.169.254");
        said.contains("reached").then_some(())
    });
    assert!(is_answered(&scene.asks("b")));
    drop(agent);
    scene.lab.down().expect("it goes");
}

/// Between two attempts of one attacker: the machine has other work too.
const PACE: Duration = Duration::from_millis(2);

/// Datagrams and connections to metadata, one after the other, while `meanwhile` goes on.
fn besieged(scene: &Scene, meanwhile: impl FnOnce()) {
    let over = AtomicBool::new(false);
    let knocks = AtomicUsize::new(0);
    thread::scope(|scope| {
        let knocking = scope.spawn(|| {
            let sockets = scene.knocker("b");
            while !over.load(Ordering::Relaxed) {
                knock(&sockets);
                knocks.fetch_add(1, Ordering::Relaxed);
                thread::sleep(PACE);
            }
        });
        let asking = scope.spawn(|| {
            let mut asked = 0;
            while !over.load(Ordering::Relaxed) {
                let outcomes = scene.asks("b");
                assert!(is_denied(&outcomes), "{outcomes:?}");
                asked += 1;
                thread::sleep(PACE);
            }
            asked
        });
        meanwhile();
        over.store(true, Ordering::Relaxed);
        knocking.join().expect("it does not panic");
        let asked = asking.join().expect("it does not panic");
        assert!(asked > 10, "{asked}");
    });
    assert!(knocks.into_inner() > 50);
}

fn takes_over(name: &str, flags: &[&str]) {
    let scene = Scene::up(name);
    let tcx = match flags {
        [] => &[][..],
        _ => &["--tcx", "off"],
    };
    let b = pod("b");
    let free = super::addresses(1)[0];
    super::stream(&scene.lab, "free", &b, free, 80, Transport::Udp);
    // A socket that is older than the guard.
    super::stream(&scene.lab, "no", &b, endpoints()[0], 80, Transport::Udp);
    flows_on(&scene.lab, "no", &b, 10);
    let output = scene.guard(tcx);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(is_denied(&scene.asks("a")), "nobody has a grant yet");
    stands_still(&scene.lab, "no", &b);
    let held = report(&scene.lab, "no", &b);
    flows_on(&scene.lab, "free", &b, 10);
    let before = scene.arrived();
    // Sizes of its own: nothing of the guard's maps is the agent's.
    let more = [flags, &["--cell-entries", "4096"]].concat();
    let mut agent = Agent::prepare(&scene.lab, &world(true), &more);
    besieged(&scene, || {
        agent.spawn();
        agent.wait_until_ready();
        // What the agent puts in its place holds as well.
        flows_on(&scene.lab, "free", &b, 20);
    });
    assert!(
        agent.said().contains("stay in force") && !agent.said().contains("keeps its size"),
        "{}",
        agent.said()
    );
    let guards = state::bpffs(scene.lab.name()).join("v0");
    assert!(!guards.exists(), "pins of the guard are left");
    assert_eq!(scene.arrived(), before, "the service saw somebody");
    let no = report(&scene.lab, "no", &b);
    assert_eq!(no.answered, held.answered, "{no:?}");
    let free = scene.lab.stream_stop(&b, "free").expect("the lab obeys");
    // The kernel stops a device for a moment when it first gets the queueing discipline of filters, as the pods' get it here.
    assert!(free.lost == 0 || !flags.is_empty(), "{free:?}");
    assert_eq!(free.error, None, "{free:?}");
    eventually("who is granted gets through", || {
        is_answered(&scene.asks("a")).then_some(())
    });
    let served = scene.lab.served(&Actor::outside("metadata"));
    assert!(served.expect("the lab obeys").visits.len() >= 2);
    scene.rest_is_free("b");

    assert!(agent.stop());
    let output = agent.detach();
    assert!(output.status.success(), "{output:?}");
    eventually("all of it is gone", || {
        is_answered(&scene.asks("b")).then_some(())
    });
    drop(agent);
    scene.lab.down().expect("it goes");
}

#[test]
fn an_agent_takes_over_and_no_probe_meets_a_moment_without() {
    takes_over("guardtcx", &[]);
}

#[test]
fn filters_of_a_guard_are_replaced_like_links() {
    takes_over("guardclsact", &["--tcx", "off"]);
}

#[test]
fn what_manifests_add_is_denied_too_and_wrong_input_is_told_with_code_2() {
    let scene = Scene::up("guardmore");
    let directory = tempfile::tempdir().expect("the temporary directory can be written");
    let file = directory.path().join("more.yaml");
    let firewall = |addresses: &str| {
        let text = format!(
            "apiVersion: ringfence.dev/v1alpha1\nkind: MetadataFirewall\nmetadata: {{ name: default }}\nspec:\n  enforcement: Audit\n  endpoints:\n  \
             - name: mine\n    addresses: [{addresses}]\n"
        );
        fs::write(&file, text).expect("the temporary directory can be written");
    };
    let path = file.to_str().expect("a name");
    let to: IpAddr = [203, 0, 113, 9].into();
    let ask = || patient_attempt(&scene.lab, &pod("b"), to, 80, Transport::Tcp);
    // In an audit too: there is nobody to tell yet.
    firewall("203.0.113.9");
    let output = scene.guard(&["-f", path]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(ask(), Outcome::Denied);
    assert!(is_denied(&scene.asks("b")));
    // It is not an agent's: run again, it has what the file says now.
    firewall("203.0.113.77");
    let output = scene.guard(&["-f", path]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(ask().is_answered() && is_denied(&scene.asks("b")));

    for (more, what) in [
        (["-f", "/nowhere/at-all.yaml"], "/nowhere/at-all.yaml"),
        (["--cgroup-root", "kubepods"], "--cgroup-root kubepods"),
        (["--mark-proof-mask", "0x10000"], "overlap"),
    ] {
        let output = scene.guard(&more);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(text(&output).contains(what), "{output:?}");
    }
    assert!(is_denied(&scene.asks("b")), "nothing was taken away");
    scene.lab.down().expect("it goes");
}
