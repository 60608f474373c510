//! A pod on the desk: its programs run on single packets (`BPF_PROG_TEST_RUN`), its maps are open to look into.
//!
//! The kernel's test run gives a packet the loopback device of the caller's network namespace, so in its sandbox the
//! pod's host-side device is `lo`.

use std::{fs, io::Write as _, os::unix::fs::MetadataExt as _, path::PathBuf};

use aya::{TestRun as _, TestRunOptions, programs::Program};
use ringfence_agent::{
    compile::{self, Desired},
    dataplane::{self, Attach, Dataplane, EventView, Firewall, Kernel as _, Options},
    diff::Limits,
    index,
    lab::names,
    model::{Located, PodKey, Snapshot},
    watch,
};

use crate::packet::{POD_MAC, Way};

/// Index of `lo`.
const LOOPBACK: u32 = 1;
/// Any other device: what a packet from the network came in by.
const UPLINK: u32 = 7;
/// `TC_ACT_SHOT`.
const SHOT: u32 = 2;

/// A pod on the desk.
pub struct Desk {
    /// The dataplane.
    pub kernel: Dataplane,
    /// What the compiler is told.
    pub compiling: compile::Options,
    pod: PodKey,
    directory: tempfile::TempDir,
}

/// Options for tests: small maps, so that many fit beside each other.
#[must_use]
pub fn options(bpffs: PathBuf) -> Options {
    Options {
        // Nobody writes there but who names another.
        run_dir: bpffs.join("run"),
        bpffs,
        cgroup_root: None,
        node_cgroup: None,
        limits: Limits {
            addresses: 16_384,
            networks: 16_384,
            classes: 16_384,
            cells: 16_384,
            pages: 512,
            connections: 16_384,
            ..Limits::default()
        },
        mark: ringfence_common::mark::MarkLayout::DEFAULT,
        event_rate: 100_000,
        audit_interval: std::time::Duration::from_secs(180),
        attach: Attach::Auto,
        firewall: Firewall::default(),
    }
}

impl Desk {
    /// Puts the pod `shop/cart` of these manifests on the desk. Call it in a [`crate::sandbox::sandbox`].
    #[must_use]
    pub fn new(bpffs: PathBuf, manifests: &str) -> Self {
        Self::with(&options(bpffs), manifests)
    }

    /// The same with these options.
    #[must_use]
    pub fn with(options: &Options, manifests: &str) -> Self {
        let kernel = dataplane::open(options).unwrap_or_else(|error| panic!("{error}"));
        let pod = PodKey {
            namespace: "shop".to_owned(),
            name: "cart".to_owned(),
        };
        let directory = tempfile::tempdir().expect("the temporary directory can be written");
        let mut desk = Self {
            kernel,
            compiling: compile::Options::default(),
            pod,
            directory,
        };
        desk.apply(manifests);
        desk
    }

    /// Replaces the manifests.
    pub fn apply(&mut self, manifests: &str) {
        let desired = self.compile(manifests);
        self.kernel
            .apply(&desired)
            .unwrap_or_else(|error| panic!("{error}"));
    }

    /// What the manifests ask for.
    #[must_use]
    pub fn compile(&self, manifests: &str) -> Desired {
        let file = self.directory.path().join("manifests.yaml");
        fs::write(&file, manifests).expect("the temporary directory can be written");
        let mut snapshot: Snapshot = index::load(&[file], watch::Options::default())
            .unwrap_or_else(|diagnostics| panic!("{diagnostics:#?}"));
        let located = Located {
            ifindex: LOOPBACK,
            interface: "lo".to_owned(),
            hardware_address: Some(POD_MAC),
            addresses: Vec::new(),
        };
        snapshot.local.insert(self.pod.clone(), located);
        snapshot
            .node_addresses
            .insert("192.0.2.1".parse().expect("an address"));
        let (desired, diagnostics) = compile::compile(&snapshot, &self.compiling);
        assert_eq!(diagnostics, [], "the manifests are in order");
        desired
    }

    /// Sends a frame through the pod's hook; true if it passes. It came in by an uplink.
    #[must_use]
    pub fn passes(&self, way: Way, frame: &[u8]) -> bool {
        self.run(way, frame, UPLINK)
    }

    /// The same for a packet that the node itself generates.
    #[must_use]
    pub fn passes_from_node(&self, frame: &[u8]) -> bool {
        self.run(Way::In, frame, 0)
    }

    /// The same for a packet that the pod itself sent, and that comes back by the device that it left by.
    #[must_use]
    pub fn passes_back(&self, frame: &[u8]) -> bool {
        self.run(Way::In, frame, LOOPBACK)
    }

    fn run(&self, way: Way, frame: &[u8], ingress: u32) -> bool {
        let name = match way {
            Way::Out => "from_pod",
            Way::In => "to_pod",
        };
        self.hook(name, frame, ingress, 0).is_some()
    }

    /// Sends a frame that came by this device, with this mark, through a program; the mark that it passes with, if it does.
    ///
    /// # Panics
    ///
    /// If the kernel cannot run the program, or it answers what it never should.
    #[must_use]
    pub fn hook(&self, name: &str, frame: &[u8], ingress: u32, mark: u32) -> Option<u32> {
        collect(name, frame);
        let program = self.kernel.ebpf().program(name).expect("the object has it");
        let mut skb = [0_u8; 192];
        skb[8..12].copy_from_slice(&mark.to_ne_bytes());
        skb[36..40].copy_from_slice(&ingress.to_ne_bytes());
        let mut after = [0_u8; 192];
        let options = TestRunOptions {
            data_in: Some(frame),
            ctx_in: Some(&skb),
            ctx_out: Some(&mut after),
            repeat: 1,
            ..TestRunOptions::default()
        };
        let (result, passes, drops) = match program {
            Program::SchedClassifier(program) => (program.test_run(options), u32::MAX, SHOT),
            Program::CgroupSkb(program) => (program.test_run(options), 1, 0),
            _ => panic!("{name} judges no packets"),
        };
        let result = result.unwrap_or_else(|error| panic!("{error:?}"));
        match result.return_value {
            value if value == drops => None,
            value if value == passes => Some(u32::from_ne_bytes([
                after[8], after[9], after[10], after[11],
            ])),
            other => panic!("{name} answers neither yes nor no: {other}"),
        }
    }

    /// The pod's place in `SOURCES`.
    ///
    /// # Panics
    ///
    /// If nothing is in force.
    #[must_use]
    pub fn place(&self) -> u16 {
        let endpoints = &self.kernel.installed().endpoints;
        endpoints[&LOOPBACK].record.source
    }

    /// Takes the events since the last call.
    pub fn events(&mut self) -> Vec<EventView> {
        self.kernel.events()
    }
}

/// The id of the cgroup that this process is in: test runs give a packet a socket of the process that runs them.
///
/// # Panics
///
/// If it is in none of version 2.
#[must_use]
pub fn own_cgroup() -> u64 {
    let all = fs::read_to_string("/proc/self/cgroup").expect("procfs");
    let path = all.lines().find_map(|line| line.strip_prefix("0::/"));
    let below = names::pods_cgroup("any").expect("cgroup2");
    let root = below.parent().expect("it is below the mount");
    let own = root.join(path.expect("cgroup2"));
    own.metadata().expect("it is there").ino()
}

/// Where a file for it is named, frames are collected as seeds for fuzzing: a line each, the program and hexadecimal bytes.
fn collect(program: &str, frame: &[u8]) {
    let Some(file) = std::env::var_os("RINGFENCE_FRAMES") else {
        return;
    };
    let mut line = format!("{program} ");
    for byte in frame {
        line.push_str(&format!("{byte:02x}"));
    }
    line.push('\n');
    fs::File::options()
        .create(true)
        .append(true)
        .open(&file)
        .and_then(|mut file| file.write_all(line.as_bytes()))
        .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
}
