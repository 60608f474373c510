//! Nanoseconds per packet, by `BPF_PROG_TEST_RUN`.
//!
//! One CPU, targets interleaved in rounds, the empty program's cost subtracted; median and minimum over the rounds. The
//! multiple of one hot LRU look-up (16-byte key, same run) is what carries to other machines.

use std::{
    net::SocketAddr,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
};

use anyhow::{Context as _, Result};
use ringfence_agent::{
    compile,
    dataplane::{self, Dataplane, Kernel as _, Options},
    diff::Limits,
    model::{
        Enforcement, Entity, Expiry, IntraZone, IpBlock, Located, Members, Namespace, Openness,
        Origin, Peer, Pod, PodKey, Policy, PolicyKey, PortSpec, Ports, Protocol, Rule, Selector,
        Snapshot, Zone, ZoneAction, ZonePeer, ZonePolicy, ZoneRule,
    },
};
use ringfence_tests::{
    desk,
    packet::{
        self, POD_MAC, Way, frame,
        tcp::{ACK, SYN},
    },
    sandbox::sandbox,
};

use crate::{
    raw,
    table::{Figure, Table},
};

/// The pod, in both families.
const POD: [&str; 2] = ["10.0.0.10", "fd00::10"];
/// A peer that the last rule of the policy lets in to port 80.
const PEER: [&str; 2] = ["10.200.0.1", "fd00:200::1"];
/// An address that no rule names.
const STRANGER: &str = "192.0.2.77";

/// One thing to measure.
struct Target {
    name: String,
    program: OwnedFd,
    frame: Vec<u8>,
    repeat: u32,
    /// What is subtracted: the empty program, or the renumbering one before an empty program.
    floor: usize,
    aim: Option<f64>,
    samples: Vec<f64>,
    /// Connections are forgotten before each round: every packet is the first of its flow.
    fresh: bool,
}

/// Measures with 10, 1,000 and 10,000 peers and rules, and with 10 and 1,000 zones above 1,000 of them.
pub fn run(rounds: usize) -> Result<Vec<Table>> {
    [
        (10, 0),
        (1_000, 0),
        (10_000, 0),
        (1_000, 10),
        (1_000, 1_000),
    ]
    .into_iter()
    .map(|size| sandbox(move |bpffs| measure(bpffs, size, rounds)))
    .collect()
}

fn measure(bpffs: std::path::PathBuf, (peers, zones): (u32, u32), rounds: usize) -> Result<Table> {
    pin_to_one_cpu()?;
    let limits = Limits {
        pages: 1024,
        ..Limits::default()
    };
    let mut kernel = dataplane::open(&Options {
        limits,
        event_rate: 1,
        ..desk::options(bpffs)
    })?;
    let (desired, _) = compile::compile(&world(peers, zones), &compile::Options::default());
    kernel.apply(&desired)?;
    let program = |name: &str| -> Result<OwnedFd> {
        let program: &aya::programs::SchedClassifier = kernel
            .ebpf()
            .program(name)
            .context("a program")?
            .try_into()?;
        Ok(program.fd()?.as_fd().try_clone_to_owned()?)
    };
    let (to_pod, from_pod) = (program("to_pod")?, program("from_pod")?);
    let empty = raw::empty()?;
    let (lookup, _table) = raw::lookup()?;
    let (renumbered_empty, _e) = raw::renumber(empty.as_fd(), 20)?;
    let (renumbered, _r) = raw::renumber(to_pod.as_fd(), 20)?;

    let mut targets = Vec::new();
    let mut add = |name: &str,
                   program: BorrowedFd<'_>,
                   frame: Vec<u8>,
                   repeat,
                   floor,
                   aim,
                   fresh|
     -> Result<()> {
        let program = program.try_clone_to_owned()?;
        targets.push(Target {
            name: name.to_owned(),
            program,
            frame,
            repeat,
            floor,
            aim,
            samples: Vec::new(),
            fresh,
        });
        Ok(())
    };
    let inbound = |family: usize, from: &str, port: u16, flags: u8| {
        frame(
            Way::In,
            &packet::tcp(at(from, 4000), at(POD[family], port), flags),
        )
    };
    let outbound = |family: usize, flags: u8| {
        frame(
            Way::Out,
            &packet::tcp(at(POD[family], 80), at(PEER[family], 4000), flags),
        )
    };
    let any = inbound(0, PEER[0], 80, ACK);
    add(
        "empty program",
        empty.as_fd(),
        any.clone(),
        200_000,
        0,
        None,
        false,
    )?;
    let datagram = frame(
        Way::In,
        &packet::udp(at(PEER[0], 4000), at(POD[0], 80), &[0; 64]),
    );
    add(
        "renumbering, then the empty program",
        renumbered_empty.as_fd(),
        datagram.clone(),
        60_000,
        0,
        None,
        false,
    )?;
    add(
        "hot LRU look-up, 16-byte key",
        lookup.as_fd(),
        any.clone(),
        200_000,
        0,
        None,
        false,
    )?;
    for (family, label, aim) in [(0, "v4", 1.7), (1, "v6", 2.1)] {
        // The connection exists before it is measured.
        let open = inbound(family, PEER[family], 80, SYN);
        anyhow::ensure!(
            raw::run(to_pod.as_fd(), &open, 1)?.1 == u32::MAX,
            "the peer is let in"
        );
        let forward = inbound(family, PEER[family], 80, ACK);
        add(
            &format!("established, forward, {label}"),
            to_pod.as_fd(),
            forward,
            100_000,
            0,
            Some(aim),
            false,
        )?;
        add(
            &format!("established, reply, {label}"),
            from_pod.as_fd(),
            outbound(family, ACK),
            100_000,
            0,
            Some(aim),
            false,
        )?;
    }
    let first_aim = if peers > 1000 { 21.0 } else { 17.0 };
    add(
        "first packet, allowed",
        renumbered.as_fd(),
        datagram,
        60_000,
        1,
        Some(first_aim),
        true,
    )?;
    add(
        "denied, unknown source",
        to_pod.as_fd(),
        inbound(0, STRANGER, 80, SYN),
        100_000,
        0,
        Some(4.2),
        false,
    )?;
    add(
        "denied, wrong port",
        to_pod.as_fd(),
        inbound(0, PEER[0], 81, SYN),
        100_000,
        0,
        Some(5.8),
        false,
    )?;

    for _ in 0..rounds {
        for target in &mut targets {
            if target.fresh {
                kernel.flush(&|connection| connection.protocol == 17)?;
            }
            let (mean, _) = raw::run(target.program.as_fd(), &target.frame, target.repeat)?;
            #[expect(clippy::cast_precision_loss, reason = "nanoseconds of one packet")]
            target.samples.push(mean.as_nanos() as f64);
        }
    }
    Ok(report((peers, zones), &targets, &kernel))
}

fn report((peers, zones): (u32, u32), targets: &[Target], kernel: &Dataplane) -> Table {
    let middle = |target: &Target| {
        let mut samples = target.samples.clone();
        samples.sort_by(f64::total_cmp);
        (samples[samples.len() / 2], samples[0])
    };
    let net = |target: &Target| middle(target).0 - middle(&targets[target.floor]).0;
    let reference = net(&targets[2]).max(1.0);
    let figures = targets.iter().enumerate().map(|(index, target)| {
        let (median, least) = middle(target);
        let net = if index == 0 { median } else { net(target) };
        Figure {
            name: target.name.clone(),
            values: vec![
                ("ns net", net),
                ("min gross", least),
                ("x look-up", net / reference),
                ("aim x", target.aim.unwrap_or(f64::NAN)),
            ],
        }
    });
    let tables = kernel.installed().tables.len();
    Table {
        title: format!(
            "Nanoseconds per packet, {peers} peers and rules, {zones} zones ({tables} tables)"
        ),
        figures: figures.collect(),
    }
}

fn at(address: &str, port: u16) -> SocketAddr {
    SocketAddr::new(address.parse().expect("an address"), port)
}

/// A pod, and a policy with a rule for each of this many addresses, of whom the peer is the last; and zones of networks,
/// with a policy for each, that say of the pod and the peer what is allowed without them.
fn world(peers: u32, zones: u32) -> Snapshot {
    let key = PodKey {
        namespace: "shop".to_owned(),
        name: "cart".to_owned(),
    };
    let mut snapshot = Snapshot::default();
    let namespace = Namespace {
        name: "shop".to_owned(),
        ..Namespace::default()
    };
    snapshot.namespaces.insert("shop".to_owned(), namespace);
    let pod = Pod {
        key: key.clone(),
        addresses: POD
            .iter()
            .map(|address| address.parse().expect("an address"))
            .collect(),
        ..Pod::default()
    };
    snapshot.pods.insert(key.clone(), pod);
    let located = Located {
        ifindex: 1,
        interface: "lo".to_owned(),
        hardware_address: Some(POD_MAC),
        addresses: Vec::new(),
    };
    snapshot.local.insert(key, located);
    let block = |address: std::net::IpAddr| Rule {
        peers: Some(vec![Peer::Block(IpBlock {
            cidr: address.into(),
            except: Vec::new(),
        })]),
        ports: Ports::Of(vec![
            PortSpec::Range(Protocol::Tcp, 80, 80),
            PortSpec::Range(Protocol::Udp, 80, 80),
        ]),
    };
    let mut rules: Vec<Rule> = (0..peers.saturating_sub(2))
        .map(|number| {
            let [_, a, b, c] = number.to_be_bytes();
            block(std::net::Ipv4Addr::new(10, 100 + a, b, c).into())
        })
        .collect();
    rules.extend(
        PEER.iter()
            .map(|address| block(address.parse().expect("an address"))),
    );
    let key = PolicyKey {
        namespace: "shop".to_owned(),
        name: "cart".to_owned(),
    };
    let policy = Policy {
        key: key.clone(),
        subject: Selector::default(),
        ingress: Some(rules),
        egress: Some(Vec::new()),
        enforcement: Enforcement::Enforce,
        origin: Origin::default(),
    };
    snapshot.policies.insert(key, policy);
    for number in 0..zones {
        let name = format!("zone-{number}");
        let cidr =
            ipnet::Ipv4Net::new_assert(std::net::Ipv4Addr::from(0xc633_0000 + (number << 8)), 24);
        let zone = Zone {
            name: name.clone(),
            members: vec![Members::Networks {
                cidrs: vec![cidr.into()],
                except: Vec::new(),
            }],
            ingress: Openness::Isolated,
            egress: Openness::Open,
            intra_zone: IntraZone::Allow,
            enforcement: Enforcement::Enforce,
            origin: Origin::default(),
        };
        snapshot.zones.insert(name.clone(), zone);
        let rule = ZoneRule {
            name: "no-ssh".to_owned(),
            action: ZoneAction::Deny,
            from: vec![ZonePeer::Zone(name.clone())],
            to: vec![ZonePeer::Entity(Entity::Cluster)],
            ports: Ports::Of(vec![PortSpec::Range(Protocol::Tcp, 22, 22)]),
            except: Vec::new(),
            acknowledge_lockout: false,
            expiry: Expiry(None),
        };
        let policy = ZonePolicy {
            name: name.clone(),
            rules: vec![rule],
            enforcement: Enforcement::Enforce,
            canary: None,
            origin: Origin::default(),
        };
        snapshot.zone_policies.insert(name, policy);
    }
    snapshot
}

/// Keeps this thread on one CPU.
pub fn pin_to_one_cpu() -> Result<()> {
    let mut cpus = nix::sched::CpuSet::new();
    cpus.set(0)?;
    nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(0), &cpus).context("pin to CPU 0")
}
