//! What each layer of the metadata firewall costs: the same packets through the same programs with the layer off and on, in turns.
//!
//! Programs that judge packets by `BPF_PROG_TEST_RUN`, as in [`super::packets`]; those in front of sockets, which cannot be run so,
//! by `connect` calls of a process below the pods' cgroup.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};
use aya::programs::{CgroupSkb, Program, SchedClassifier};
use ringfence_agent::{dataplane::Options, lab::names};
use ringfence_common::metadata::{Grants, layers};
use ringfence_tests::{
    desk::{self, Desk},
    lab::binary,
    packet::{
        self, Way, frame,
        tcp::{ACK, SYN},
    },
    sandbox::sandbox,
};

use crate::{
    packets::pin_to_one_cpu,
    raw,
    table::{Figure, Table},
};

/// A pod with a grant, and nobody else; no policy.
const WORLD: &str = "
apiVersion: v1
kind: Namespace
metadata: { name: shop }
---
apiVersion: v1
kind: Pod
metadata: { name: cart, namespace: shop, annotations: { metadata.ringfence.dev/access: imds } }
status: { phase: Running, podIPs: [ { ip: 10.0.0.10 } ] }
";
const POD: &str = "10.0.0.10";
const PEER: &str = "203.0.113.1";
const IMDS: &str = "169.254.169.254";
/// The pod's device.
const OWN: u32 = 1;

/// What is run with and without its layer.
struct Target {
    name: &'static str,
    layer: u32,
    program: OwnedFd,
    frame: Vec<u8>,
    ingress: u32,
    off: Vec<f64>,
    on: Vec<f64>,
}

/// A cgroup of this process's own making.
struct Cgroup(PathBuf);

impl Cgroup {
    fn new(name: &str) -> Result<Self> {
        let path = names::pods_cgroup(&format!("bench{}{name}", std::process::id()))?;
        fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // What is left would be an empty directory.
        let _: std::io::Result<()> = fs::remove_dir(&self.0);
    }
}

/// Measures every layer.
pub fn run(rounds: usize) -> Result<Vec<Table>> {
    Ok(vec![sandbox(move |bpffs| measure(bpffs, rounds))?])
}

fn measure(bpffs: PathBuf, rounds: usize) -> Result<Table> {
    pin_to_one_cpu()?;
    // Sockets are connected to an address of its own.
    let up = Command::new("ip")
        .args(["link", "set", "lo", "up"])
        .status();
    ensure!(
        up.context("cannot run ip (package iproute2)")?.success(),
        "ip could not bring lo up"
    );
    let (pods, node) = (Cgroup::new("pods")?, Cgroup::new("node")?);
    let options = Options {
        cgroup_root: Some(pods.0.clone()),
        node_cgroup: Some(node.0.clone()),
        event_rate: 1,
        ..desk::options(bpffs)
    };
    let mut desk = Desk::with(&options, WORLD);
    grant_this_process(&mut desk)?;
    let mut targets = targets(&desk)?;
    let (lookup, _table) = raw::lookup()?;
    let empty = raw::empty()?;
    let any = targets[0].frame.clone();
    let mut reference = Vec::new();
    let (mut off, mut on) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let mean = |program: BorrowedFd<'_>| raw::run(program, &any, 200_000);
        let net = mean(lookup.as_fd())?
            .0
            .saturating_sub(mean(empty.as_fd())?.0);
        reference.push(nanoseconds(net));
        for target in &mut targets {
            for (layers, samples) in [
                (layers::ALL & !target.layer, &mut target.off),
                (layers::ALL, &mut target.on),
            ] {
                switch(&mut desk, layers)?;
                let program = target.program.as_fd();
                let (mean, _) = raw::run_from(program, &target.frame, target.ingress, 50_000)?;
                samples.push(nanoseconds(mean));
            }
        }
        for (layers, samples) in [
            (layers::ALL & !layers::SOCKETS, &mut off),
            (layers::ALL, &mut on),
        ] {
            switch(&mut desk, layers)?;
            samples.push(connects(&pods.0)?);
        }
    }
    let reference = middle(reference).max(1.0);
    let rows = targets.into_iter().map(|it| (it.name, it.off, it.on));
    let sockets = ("sockets: connect, elsewhere (a call)", off, on);
    let figures = rows.chain([sockets]).map(|(name, off, on)| {
        let (off, on) = (middle(off), middle(on));
        Figure {
            name: name.to_owned(),
            values: vec![
                ("off, ns", off),
                ("on, ns", on),
                ("ratio", on / off),
                ("x look-up", (on - off) / reference),
            ],
        }
    });
    Ok(Table {
        title: "Layers of the metadata firewall, each off and on; what it costs in hot look-ups"
            .to_owned(),
        figures: figures.collect(),
    })
}

fn targets(desk: &Desk) -> Result<Vec<Target>> {
    let packet = |to: &str, flags| {
        let at = |address: &str, port| -> Result<SocketAddr> {
            Ok(SocketAddr::new(address.parse()?, port))
        };
        Ok::<_, anyhow::Error>(frame(
            Way::Out,
            &packet::tcp(at(POD, 4000)?, at(to, 80)?, flags),
        ))
    };
    let (elsewhere, metadata) = (packet(PEER, ACK)?, packet(IMDS, SYN)?);
    let wanted = [
        (
            "from-pod: elsewhere",
            layers::FROM_POD,
            "from_pod",
            &elsewhere,
            0,
        ),
        (
            "to-host: forwarded, elsewhere",
            layers::TO_HOST,
            "to_host",
            &elsewhere,
            OWN,
        ),
        (
            "to-host: forwarded, metadata",
            layers::TO_HOST,
            "to_host",
            &metadata,
            OWN,
        ),
        (
            "to-host: the node's, elsewhere",
            layers::TO_HOST,
            "to_host",
            &elsewhere,
            0,
        ),
        ("lo: elsewhere", layers::LO, "to_lo", &elsewhere, 0),
        (
            "socket-packets: elsewhere",
            layers::SOCKET_PACKETS,
            "from_socket",
            &elsewhere,
            0,
        ),
        (
            "socket-packets: metadata",
            layers::SOCKET_PACKETS,
            "from_socket",
            &metadata,
            0,
        ),
    ];
    let targets = wanted
        .into_iter()
        .map(|(name, layer, program, frame, ingress)| {
            Ok(Target {
                name,
                layer,
                program: descriptor(desk, program)?,
                frame: frame.clone(),
                ingress,
                off: Vec::new(),
                on: Vec::new(),
            })
        });
    targets.collect()
}

fn descriptor(desk: &Desk, name: &str) -> Result<OwnedFd> {
    let program = desk.kernel.ebpf().program(name).context("a program")?;
    let fd = match program {
        Program::SchedClassifier(it) => SchedClassifier::fd(it)?,
        Program::CgroupSkb(it) => CgroupSkb::fd(it)?,
        _ => anyhow::bail!("{name} judges no packets"),
    };
    Ok(fd.as_fd().try_clone_to_owned()?)
}

/// The kernel's test run gives a packet a socket of the process that runs it.
fn grant_this_process(desk: &mut Desk) -> Result<()> {
    let own = desk::own_cgroup();
    let grants = &mut desk.kernel.maps().grants;
    grants.insert(own, Grants::ALL.0, 0).context("map GRANTS")?;
    let config = &mut desk.kernel.maps().config;
    let mut now = config.get(&0, 0)?;
    now.pods_cgroup = own;
    now.metadata_packets_per_tick = 0;
    Ok(config.set(0, now, 0)?)
}

fn switch(desk: &mut Desk, layers: u32) -> Result<()> {
    let config = &mut desk.kernel.maps().config;
    let mut now = config.get(&0, 0)?;
    now.metadata_layers = layers;
    Ok(config.set(0, now, 0)?)
}

/// Nanoseconds of a call that connects a UDP socket, by a process below the pods' cgroup.
fn connects(pods: &Path) -> Result<f64> {
    let pod = pods.join("pod");
    fs::create_dir_all(&pod)?;
    let output = Command::new(binary())
        .args(["lab", "enter", "--cgroup"])
        .arg(&pod)
        .arg("--")
        .arg(std::env::current_exe()?)
        .arg("--connects")
        .output()?;
    let removed = fs::remove_dir(&pod);
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    removed?;
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}

/// Connects a UDP socket again and again, and prints what one call takes; nothing is sent.
pub fn connect() -> Result<()> {
    const CALLS: u32 = 200_000;
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let to = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
    let start = Instant::now();
    for _ in 0..CALLS {
        socket.connect(to)?;
    }
    println!("{}", start.elapsed().as_secs_f64() * 1e9 / f64::from(CALLS));
    Ok(())
}

fn nanoseconds(duration: std::time::Duration) -> f64 {
    duration.as_secs_f64() * 1e9
}

fn middle(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}
