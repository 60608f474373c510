//! Pods that are made, start, and act at once.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::IpAddr,
    path::PathBuf,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{Mutex, PoisonError},
};

use ringfence_tests::{
    attacks::parameter,
    runtime::{Pending, Plugin, sandbox},
};

use crate::{guard::Scene, metadata::endpoints};

/// How many start in each state.
pub(super) const PODS: usize = 200;
/// How many start together.
const TOGETHER: usize = 20;
/// What each does: connect and send, to both endpoints.
const ACTS: usize = 4;
/// `EPERM`, as the program tells it.
const REFUSED: &str = "1";

/// Pods of a lab that nobody made with it.
pub(super) struct Crowd<'a> {
    scene: &'a Scene,
    /// Where the agent's manifests are, if every other pod shall be in them; the source's word comes when the pod starts.
    manifests: Option<PathBuf>,
    program: Child,
    lines: ChildStdin,
    told: BufReader<ChildStdout>,
    started: usize,
    /// How many waited at the gate, and were let through by it.
    pub(super) asked: usize,
    before: usize,
}

/// One of them.
struct Pod {
    name: String,
    netns: String,
    addresses: [IpAddr; 2],
    cgroup: PathBuf,
}

impl<'a> Crowd<'a> {
    pub(super) fn new(scene: &'a Scene, manifests: Option<PathBuf>) -> Self {
        let mut program = Command::new(env!("CARGO_BIN_EXE_ringfence-first"))
            .arg("80")
            .args(endpoints().map(|to| to.to_string()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program is there");
        Self {
            scene,
            manifests,
            lines: program.stdin.take().expect("a pipe"),
            told: BufReader::new(program.stdout.take().expect("a pipe")),
            program,
            started: 0,
            asked: 0,
            before: scene.arrived(),
        }
    }

    /// Makes so many pods and starts each as soon as its network is there and, where there is a gate, it is let through.
    pub(super) fn start(&mut self, count: usize, gate: Option<&Mutex<Option<Plugin>>>) {
        for _ in 0..count / TOGETHER {
            let numbers = self.started..self.started + TOGETHER;
            let pods: Vec<Pod> = numbers.map(|number| self.pod(number)).collect();
            self.lay(&pods);
            self.tell_source(&pods);
            let pending: Vec<Option<Pending>> = pods.iter().map(|pod| ask(gate, pod)).collect();
            for (pod, pending) in pods.iter().zip(pending) {
                // An agent that ends while it is asked leaves the pod to the runtime, which starts it.
                let passed = pending.is_some_and(|pending| pending.answer().is_ok());
                self.asked += usize::from(passed);
                self.act(pod);
            }
            self.listen(&pods);
            self.started += TOGETHER;
        }
    }

    fn pod(&self, number: usize) -> Pod {
        let name = format!("q{number}");
        let low = u8::try_from(number % 250 + 1).expect("a byte");
        let high = u8::try_from(number / 250).expect("a byte");
        Pod {
            netns: self.scene.netns(&name),
            cgroup: self.scene.pods().join(format!("t_{name}")),
            addresses: [
                [10, 245, high, low].into(),
                [0xfd00, 0x10, 0x245, 0, 0, 0, high.into(), low.into()].into(),
            ],
            name,
        }
    }

    /// What a CNI and a kubelet do for pods.
    fn lay(&self, pods: &[Pod]) {
        let mut names = String::new();
        let mut links = String::new();
        for Pod {
            name,
            netns,
            addresses: [v4, v6],
            cgroup,
        } in pods
        {
            fs::create_dir(cgroup).expect("the pods' root is there");
            writeln!(names, "netns add {netns}").expect("a string");
            writeln!(
                links,
                "link add {name} type veth peer name eth0 netns {netns}\n\
                 addr add 169.254.1.1/32 dev {name} scope link\n\
                 addr add fe80::1/64 dev {name} nodad\n\
                 link set {name} up\n\
                 route add {v4}/32 dev {name}\n\
                 route add {v6}/128 dev {name}"
            )
            .expect("a string");
        }
        batch(&[], &names);
        for pod in pods {
            parameter(&pod.netns, "net/ipv6/conf/default/disable_ipv6", "0").expect("a parameter");
            parameter(&pod.netns, "net/ipv6/conf/default/accept_dad", "0").expect("a parameter");
        }
        batch(&["-n", &self.scene.node()], &links);
        for pod in pods {
            let [v4, v6] = pod.addresses;
            let inner = format!(
                "link set lo up\nlink set eth0 up\naddr add {v4}/32 dev eth0\naddr add {v6}/128 dev eth0 nodad\n\
                 route add default via 169.254.1.1 dev eth0 onlink\nroute add default via fe80::1 dev eth0\n"
            );
            batch(&["-n", &pod.netns], &inner);
        }
    }

    /// The source tells of every other one of them; nobody waits for that.
    fn tell_source(&self, pods: &[Pod]) {
        let Some(manifests) = &self.manifests else {
            return;
        };
        let mut text = String::new();
        for pod in pods.iter().step_by(2) {
            let [v4, v6] = pod.addresses;
            write!(
                text,
                "---\napiVersion: v1\nkind: Pod\nmetadata:\n  name: {name}\n  namespace: t\n  annotations: {{ ringfence.dev/netns: {name} }}\n\
                 spec: {{ nodeName: w1, containers: [] }}\nstatus: {{ phase: Running, podIPs: [ {{ ip: {v4} }}, {{ ip: \"{v6}\" }} ] }}\n",
                name = pod.name,
            )
            .expect("a string");
        }
        let beside = manifests.with_extension("beside");
        fs::write(&beside, text).expect("the temporary directory can be written");
        let file = manifests.join(format!("crowd{}.yaml", self.started));
        fs::rename(beside, file).expect("same file system");
    }

    /// The pod's first process, and one that is in no pod's cgroup.
    fn act(&mut self, pod: &Pod) {
        let nobodys = self.scene.host_cgroup();
        for (who, cgroup) in [("first", &pod.cgroup), ("wire", &nobodys)] {
            writeln!(
                self.lines,
                "{who} /run/netns/{} {}",
                pod.netns,
                cgroup.display()
            )
            .expect("the program reads");
        }
    }

    /// Hears what the kernel has told them.
    fn listen(&mut self, pods: &[Pod]) {
        for _ in 0..2 * pods.len() {
            let mut line = String::new();
            self.told.read_line(&mut line).expect("the program tells");
            let (who, acts) = line.trim_end().split_once(' ').expect("a name and more");
            let acts: Vec<&str> = acts.split(' ').collect();
            assert_eq!(acts.len(), ACTS, "{line}");
            assert!(acts.iter().all(|act| act.parse::<i32>().is_ok()), "{line}");
            let refused = acts.iter().filter(|act| **act == REFUSED).count();
            match who {
                "wire" => assert_eq!(refused, 0, "nothing but devices holds these: {line}"),
                _ => assert!(refused == 0 || refused == ACTS, "{line}"),
            }
        }
    }

    /// How many pods' packets have come to the service.
    pub(super) fn arrived(&self) -> usize {
        self.scene.arrived();
        let sources: BTreeSet<IpAddr> = self.scene.sources().into_iter().collect();
        let pods = (0..self.started).map(|number| self.pod(number));
        pods.filter(|pod| pod.addresses.iter().all(|it| sources.contains(it)))
            .count()
    }

    /// So many have started, and the service has seen none of them.
    pub(super) fn nobody_arrived(&self, started: usize) {
        // What waits in a pod for the hardware address of its gateway is on its way before what the pod sends now.
        for number in self.started.saturating_sub(TOGETHER)..self.started {
            self.scene.settle(&self.pod(number).netns);
        }
        assert_eq!(
            (self.started, self.scene.arrived() - self.before),
            (started, 0),
            "{:?}",
            self.scene.sources()
        );
    }
}

impl Drop for Crowd<'_> {
    fn drop(&mut self) {
        // It has nothing left to do, and its namespaces go with the lab.
        let _: std::io::Result<()> = self.program.kill();
        let _: std::io::Result<_> = self.program.wait();
    }
}

/// Asks the agent whether the pod may start, if there is one to ask.
fn ask(gate: Option<&Mutex<Option<Plugin>>>, pod: &Pod) -> Option<Pending> {
    let plugin = gate?.lock().unwrap_or_else(PoisonError::into_inner);
    let netns = format!("/run/netns/{}", pod.netns);
    let sandbox = sandbox(&format!("s-{}", pod.name), "t", &pod.name, netns.as_ref());
    plugin.as_ref().map(|plugin| plugin.runs(&sandbox))
}

/// Has `ip` do all of it.
fn batch(flags: &[&str], lines: &str) {
    let mut child = Command::new("ip")
        .args(flags)
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("iproute2");
    let mut input = child.stdin.take().expect("a pipe");
    input.write_all(lines.as_bytes()).expect("it reads");
    drop(input);
    assert!(child.wait().expect("a child").success(), "{lines}");
}
