//! What a kubelet, a container runtime and a CNI plugin do for a pod: its cgroup, network namespace, veth pair, routes
//! and process come with it and go with it, and nothing but they themselves says where they are.
//!
//! **Invariant.** All of it has names of the node's lab, which takes down whatever a test that failed has left.

use std::{
    cell::Cell,
    fs::{self, File},
    io::{BufRead as _, BufReader, Write as _},
    net::IpAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use ringfence_agent::lab::{
    names, netns,
    wire::{self, Connect, Connected, Listen, ProcessConfig, Stream, StreamReport, Transport},
};
use serde_json::{Value, json};

use crate::{
    apiserver::ApiServer,
    lab::{binary, eventually},
    node::{NAMESPACE, Node, addresses, path},
    reach::{PATIENT, SHORT},
};

/// The number of the first pod's addresses on its node: those below are the lab's own pods'.
const FIRST: u8 = 100;
/// How long a pod's process may take to obey.
const OBEDIENCE: Duration = Duration::from_secs(30);

/// How pods are ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// As kubelets do: the object says that it ends, its network goes, then the object.
    Graceful,
    /// The object goes at once, its network afterwards.
    Forced,
}

/// Starts and ends pods of a node.
pub struct Kubelet<'a> {
    api: &'a ApiServer,
    node: &'a Node,
    folder: tempfile::TempDir,
    made: Cell<u32>,
}

/// A pod that runs.
#[derive(Debug)]
pub struct Running {
    /// Its name.
    pub name: String,
    /// Its UID, which the API server has given it.
    pub uid: String,
    /// Its addresses.
    pub addresses: [IpAddr; 2],
    /// Its device on the node.
    pub device: String,
    /// Its network namespace, by its full name; only its process holds it where `is_named` is false.
    pub netns: String,
    /// The namespace has a name, as most runtimes give it one.
    pub is_named: bool,
    cgroup: PathBuf,
    control: PathBuf,
    process: Child,
}

impl<'a> Kubelet<'a> {
    /// The one of this node.
    ///
    /// # Panics
    ///
    /// If the temporary directory cannot be written.
    #[must_use]
    pub fn of(api: &'a ApiServer, node: &'a Node) -> Self {
        Self {
            api,
            node,
            folder: tempfile::tempdir().expect("the temporary directory can be written"),
            made: Cell::new(0),
        }
    }

    /// Creates these pods with the labels `app`, their name, and `kind`, and starts them: the first of them has the
    /// addresses of number 100. The namespace of every other one has a name.
    ///
    /// # Panics
    ///
    /// If one does not start.
    pub fn start(&self, pods: &[&str], kind: &str) -> Vec<Running> {
        let begun = pods.iter().zip(FIRST..);
        let mut begun: Vec<Running> = begun
            .map(|(pod, number)| self.begin(pod, number, kind))
            .collect();
        for pod in &mut begun {
            self.finish(pod);
        }
        begun
    }

    /// Ends pods, and everything that they had.
    ///
    /// # Panics
    ///
    /// If something does not go.
    pub fn end(&self, pods: Vec<Running>, end: End) {
        let delete = |pod: &Running, seconds: u32| {
            let options = json!({ "apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": seconds });
            let path = path(&pod.name);
            let deleted = self
                .api
                .request("DELETE", &path, "application/json", Some(&options));
            deleted.unwrap_or_else(|error| panic!("{path}: {error}"));
        };
        for pod in &pods {
            delete(pod, if end == End::Graceful { 30 } else { 0 });
        }
        for mut pod in pods {
            self.tear_down(&mut pod);
            if end == End::Graceful {
                delete(&pod, 0);
            }
        }
    }

    /// The object, the network and the process; nobody waits for it yet.
    fn begin(&self, name: &str, number: u8, kind: &str) -> Running {
        let lab = self.node.lab.name();
        let serial = self.made.get();
        self.made.set(serial + 1);
        let object = self.api.apply(&json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": name, "namespace": NAMESPACE, "labels": { "app": name, "kind": kind } },
            "spec": { "nodeName": self.node.name, "containers": [{ "name": "main", "image": "none" }] },
        }));
        let uid = object["metadata"]["uid"]
            .as_str()
            .expect("a UID")
            .to_owned();
        let pods = names::pods_cgroup(lab).expect("cgroup2");
        let cgroup = pods.join(format!("pod{uid}"));
        fs::create_dir_all(cgroup.join("main")).expect("the lab's cgroups can be written");
        let netns = format!("{}cni{serial}", names::netns_prefix(lab));
        let device = format!("veth{serial}");
        let addresses = addresses(self.node.number, number);
        self.lay(&netns, &device, addresses);
        let listen = addresses.into_iter().flat_map(|address| {
            Transport::ALL.map(|protocol| Listen {
                name: name.to_owned(),
                protocol,
                address,
                port: 80,
            })
        });
        let control = self.folder.path().join(serial.to_string());
        let config = ProcessConfig {
            netns: netns.clone(),
            cgroup: cgroup.join("main"),
            control: control.clone(),
            listen: listen.collect(),
        };
        let process = spawn(&config, &control.with_extension("log"));
        Running {
            name: name.to_owned(),
            uid,
            addresses,
            device,
            netns,
            is_named: serial.is_multiple_of(2),
            cgroup,
            control,
            process,
        }
    }

    /// It runs, and its object says so.
    fn finish(&self, pod: &mut Running) {
        let output = pod.process.stdout.take().expect("piped");
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line).expect("text");
        let said = fs::read_to_string(pod.control.with_extension("log"));
        assert_eq!(line.trim_end(), "ready", "{}: {said:?}", pod.name);
        if !pod.is_named {
            netns::delete(&pod.netns).expect("its name goes");
        }
        let ips = pod.addresses.map(|address| json!({ "ip": address }));
        let status: Value = json!({ "phase": "Running", "podIP": pod.addresses[0], "podIPs": ips });
        self.api
            .merge(&(path(&pod.name) + "/status"), &json!({ "status": status }));
    }

    /// As a CNI plugin that routes does it.
    fn lay(&self, netns: &str, device: &str, [v4, v6]: [IpAddr; 2]) {
        netns::create(netns).expect("a network namespace");
        netns::inside(netns, || {
            netns::set_parameter("net/ipv6/conf/all/accept_dad", "0")?;
            netns::set_parameter("net/ipv6/conf/default/accept_dad", "0")
        })
        .expect("parameters");
        let number = self.node.number;
        ip(
            &names::node_netns(self.node.lab.name()),
            &format!(
                "link add {device} type veth peer name eth0 netns {netns}\n\
                 address add 169.254.1.1/32 dev {device} scope link\n\
                 address add fe80::1/64 dev {device} nodad\n\
                 link set {device} up\n\
                 route replace {v4}/32 dev {device} scope link src 10.0.{number}.1\n\
                 route replace {v6}/128 dev {device} src fd00:{number}::1\n"
            ),
        );
        ip(
            netns,
            &format!(
                "link set lo up\n\
                 link set eth0 up\n\
                 address add {v4}/32 dev eth0\n\
                 address add {v6}/128 dev eth0 nodad\n\
                 route add default via 169.254.1.1 dev eth0 onlink\n\
                 route add default via fe80::1 dev eth0\n"
            ),
        );
    }

    /// The process, the network and the cgroup, in this order.
    fn tear_down(&self, pod: &mut Running) {
        pod.process.kill().expect("a child");
        pod.process.wait().expect("a child");
        // Some plugins remove the device, and some leave it to the kernel, which removes it with the namespace.
        if pod.is_named {
            let node = names::node_netns(self.node.lab.name());
            ip(&node, &format!("link delete {}\n", pod.device));
            netns::delete(&pod.netns).expect("it is there");
        }
        eventually("the cgroup is empty", || {
            fs::remove_dir(pod.cgroup.join("main")).ok()
        });
        fs::remove_dir(&pod.cgroup).expect("nothing else is in it");
    }
}

impl Running {
    /// True if it gets through by both families and transports, for which it has long.
    ///
    /// # Panics
    ///
    /// If its process does not obey.
    #[must_use]
    pub fn reaches(&self, to: [IpAddr; 2], port: u16) -> bool {
        self.answered(to, port, PATIENT) == 4
    }

    /// True if it gets through by none of them within a short time.
    ///
    /// # Panics
    ///
    /// If its process does not obey.
    #[must_use]
    pub fn is_closed(&self, to: [IpAddr; 2], port: u16) -> bool {
        self.answered(to, port, SHORT) == 0
    }

    fn answered(&self, to: [IpAddr; 2], port: u16, patience: Duration) -> usize {
        let attempts = to.into_iter().flat_map(|to| {
            Transport::ALL.map(|protocol| Connect {
                protocol,
                from: None,
                to,
                port,
                timeout_ms: u64::try_from(patience.as_millis()).expect("seconds"),
            })
        });
        let attempts = attempts.collect();
        let answers: Vec<Connected> = self.ask(&wire::Command::ConnectAll { attempts });
        answers.iter().filter(|answer| answer.ok).count()
    }

    /// Starts a stream of datagrams.
    ///
    /// # Panics
    ///
    /// If its process does not obey.
    pub fn stream(&self, id: &str, to: IpAddr, port: u16) {
        let _: Value = self.ask(&wire::Command::Stream(Stream {
            id: id.to_owned(),
            protocol: Transport::Udp,
            from: None,
            to,
            port,
            interval_ms: 20,
        }));
    }

    /// How a stream fares.
    ///
    /// # Panics
    ///
    /// If its process does not obey.
    #[must_use]
    pub fn report(&self, id: &str) -> StreamReport {
        self.ask(&wire::Command::Report { id: id.to_owned() })
    }

    fn ask<T: serde::de::DeserializeOwned>(&self, command: &wire::Command) -> T {
        let answer = wire::command(&self.control, command, OBEDIENCE);
        answer.unwrap_or_else(|error| panic!("{}: {error:#}", self.name))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already, or it ends now; the lab takes down the rest.
        let _: std::io::Result<()> = self.process.kill();
        let _: std::io::Result<_> = self.process.wait();
    }
}

fn spawn(config: &ProcessConfig, log: &Path) -> Child {
    let errors = File::create(log).expect("the temporary directory can be written");
    // All its threads are in the namespace, as a container's are.
    let mut child = Command::new("nsenter")
        .arg(format!("--net=/run/netns/{}", config.netns))
        .arg(binary())
        .args(["lab", "pod"])
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(errors)
        .spawn()
        .expect("the binary is there");
    let config = serde_json::to_string(config).expect("it has a JSON form") + "\n";
    let input = child.stdin.as_mut().expect("piped");
    input.write_all(config.as_bytes()).expect("it reads");
    child
}

/// Commands of `ip`, one per line, in a network namespace.
fn ip(netns: &str, commands: &str) {
    let mut child = Command::new("ip")
        .args(["-n", netns, "-batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("iproute2 is installed");
    let mut input = child.stdin.take().expect("piped");
    input.write_all(commands.as_bytes()).expect("it reads");
    drop(input);
    let output = child.wait_with_output().expect("a child");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{netns}: {commands}: {said}");
}
