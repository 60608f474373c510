//! Packets that a test run refuses: coalesced, fragmented, with their headers outside the linear part; and programs
//! of others on the same hooks.

use std::{
    env, fs,
    io::{BufRead as _, BufReader, Write as _},
    net::{IpAddr, SocketAddr, TcpStream, UdpSocket},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context as _, Result};
use aya::{
    EbpfLoader,
    programs::{LinkOrder, SchedClassifier, TcAttachType, tc::TcAttachOptions},
};
use ringfence_agent::lab::{Lab, inside_netns, names, wire::Transport};
use ringfence_tests::{
    agent::Agent,
    lab::{addresses, small},
    packet, paged,
};

use super::{PATIENT, SHORT, lets_in, patient_attempt, pod, world};

/// Does something in a pod's network namespace.
pub(super) fn inside<T: Send>(lab: &Lab, pod: &str, work: impl FnOnce() -> Result<T> + Send) -> T {
    let netns = format!("{}{pod}", names::netns_prefix(lab.name()));
    inside_netns(&netns, work).expect("the pod's namespace")
}

/// How long an answer is waited for.
fn window(allowed: bool) -> Duration {
    if allowed { PATIENT } else { SHORT }
}

/// A socket for datagrams to this address.
fn datagrams(to: IpAddr, timeout: Duration) -> Result<UdpSocket> {
    let any: IpAddr = if to.is_ipv4() {
        [0; 4].into()
    } else {
        [0_u16; 8].into()
    };
    let socket = UdpSocket::bind((any, 0)).context("bind")?;
    socket.set_read_timeout(Some(timeout)).context("time-out")?;
    Ok(socket)
}

#[test]
fn fragments_pass_where_allowed_and_nowhere_else() {
    let lab = Lab::up(&small("fragments", &["a", "b"], &[80, 81])).unwrap();
    let agent = Agent::start(&lab, &(world(&["a", "b"]) + &lets_in("b", "a", 80)), &[]);
    for to in addresses(2) {
        for (port, allowed) in [(80, true), (81, false)] {
            // 4000 bytes in one datagram: three fragments, of which only the first has ports.
            let answered = inside(&lab, "a", || {
                let socket = datagrams(to, window(allowed))?;
                socket.send_to(&[b'x'; 4000], (to, port)).context("send")?;
                Ok(socket.recv(&mut [0; 9000]).is_ok())
            });
            assert_eq!(answered, allowed, "{to}:{port}");
        }
    }
    drop(agent);
    lab.down().unwrap();
}

#[test]
fn coalesced_segments_pass_where_allowed_and_nowhere_else() {
    let lab = Lab::up(&small("bulk", &["a", "b"], &[80, 81])).unwrap();
    let agent = Agent::start(&lab, &(world(&["a", "b"]) + &lets_in("b", "a", 80)), &[]);
    for to in addresses(2) {
        // The stack hands segments of up to 64 KiB to the veth, their data in page fragments.
        let answered = inside(&lab, "a", || {
            let stream = TcpStream::connect((to, 80)).context("connect")?;
            stream.set_read_timeout(Some(PATIENT)).context("time-out")?;
            let mut reader = BufReader::new(stream.try_clone().context("clone")?);
            let mut line = vec![b'y'; 1 << 20];
            line.push(b'\n');
            let mut answered = 0;
            for _ in 0..8 {
                (&stream).write_all(&line).context("write")?;
                let mut answer = Vec::new();
                answered += reader.read_until(b'\n', &mut answer).context("read")?;
            }
            Ok(answered)
        });
        assert!(answered > 8 << 20, "{answered} bytes back from {to}");
        let refused = inside(&lab, "a", || {
            Ok(TcpStream::connect_timeout(&SocketAddr::new(to, 81), SHORT).is_err())
        });
        assert!(refused, "{to}");
    }
    drop(agent);
    lab.down().unwrap();
}

#[test]
fn headers_outside_the_linear_part_are_judged_too() {
    let lab = Lab::up(&small("paged", &["a", "b"], &[80, 81])).unwrap();
    let agent = Agent::start(&lab, &(world(&["a", "b"]) + &lets_in("b", "a", 80)), &[]);
    let ([source, _], [target, _]) = (addresses(1), addresses(2));
    for (port, allowed) in [(80, true), (81, false)] {
        let answered = inside(&lab, "a", || {
            // It owns the port, and its first datagram (to a third port) learns the neighbour's hardware address.
            let socket = UdpSocket::bind((source, 0)).context("bind")?;
            socket
                .set_read_timeout(Some(window(allowed)))
                .context("time-out")?;
            socket.send_to(b"?", (target, 9)).context("send")?;
            let local = socket.local_addr().context("address")?;
            let mut frame = Vec::new();
            frame.extend(neighbour()?);
            frame.extend(own_hardware()?);
            frame.extend([0x08, 0x00]);
            frame.extend(checked(packet::udp(
                local,
                SocketAddr::new(target, port),
                &[b'x'; 600],
            )));
            let ifindex = nix::net::if_::if_nametoindex("eth0").context("eth0")?;
            paged::send(ifindex, &frame).context("send a page")?;
            Ok(socket.recv(&mut [0; 900]).is_ok())
        });
        assert_eq!(answered, allowed, "port {port}");
    }
    drop(agent);
    lab.down().unwrap();
}

/// The packet with its header's checksum.
pub(super) fn checked(mut packet: Vec<u8>) -> Vec<u8> {
    let words = packet[..20]
        .chunks(2)
        .map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])));
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    let checksum = !u16::try_from(folded).expect("folded");
    packet[10..12].copy_from_slice(&checksum.to_be_bytes());
    packet
}

/// The hardware address of the thread's only neighbour, once it is known.
fn neighbour() -> Result<[u8; 6]> {
    ringfence_tests::lab::eventually("the neighbour answers", || {
        let table = fs::read_to_string("/proc/thread-self/net/arp").ok()?;
        let address = table.lines().nth(1)?.split_whitespace().nth(3)?.to_owned();
        let bytes: Vec<u8> = address
            .split(':')
            .filter_map(|byte| u8::from_str_radix(byte, 16).ok())
            .collect();
        let address: [u8; 6] = bytes.try_into().ok()?;
        (address != [0; 6]).then_some(Ok(address))
    })
}

/// The hardware address of `eth0` in the thread's namespace.
fn own_hardware() -> Result<[u8; 6]> {
    nix::ifaddrs::getifaddrs()
        .context("interfaces")?
        .filter(|interface| interface.interface_name == "eth0")
        .find_map(|interface| interface.address?.as_link_addr()?.addr())
        .context("eth0 has a hardware address")
}

#[test]
fn nobody_speaks_from_an_address_that_is_not_its_own() {
    let lab = Lab::up(&small("spoof", &["a", "b", "c"], &[80])).unwrap();
    let agent = Agent::start(&lab, &world(&["a", "b", "c"]), &[]);
    let ([a, _], [b, _], [c, _]) = (addresses(1), addresses(2), addresses(3));
    let heard = |from: IpAddr| {
        let visits = lab.served(&pod("b")).unwrap().visits;
        visits.iter().filter(|visit| visit.peer == from).count()
    };
    let send_as = |from: IpAddr| {
        inside(&lab, "c", || {
            use socket2::{Domain, Socket, Type};
            let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).context("socket")?;
            // Sends from an address that is not there.
            socket
                .set_ip_transparent_v4(true)
                .context("IP_TRANSPARENT")?;
            socket
                .bind(&SocketAddr::new(from, 0).into())
                .context("bind")?;
            socket
                .send_to(b"x", &SocketAddr::new(b, 80).into())
                .context("send")?;
            Ok(())
        });
    };
    send_as(a);
    send_as(c);
    ringfence_tests::lab::eventually("b hears c", || (heard(c) > 0).then_some(()));
    assert_eq!(heard(a), 0, "c is not a");
    let said = ringfence_tests::lab::eventually("the denial is told", || {
        let said = agent.ringfence(&["observe", "--last", "50", "-o", "jsonl"]);
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        said.contains("\"spoofed_address\"").then_some(said)
    });
    assert!(said.contains("\"endpoint\":\"t/c\""), "{said}");
    drop(agent);
    lab.down().unwrap();
}

#[test]
fn programs_behind_ours_run_for_what_is_allowed_and_only_for_that() {
    let lab = Lab::up(&small("beside", &["a", "b"], &[80, 81])).unwrap();
    let agent = Agent::start(&lab, &(world(&["a", "b"]) + &lets_in("b", "a", 80)), &[]);
    let endpoints = agent.json(&["endpoints"]);
    let endpoints = endpoints["items"].as_array().expect("a list");
    let b = endpoints
        .iter()
        .find(|endpoint| endpoint["pod"] == "t/b")
        .expect("b");
    let device = b["interface"].as_str().expect("a name").to_owned();
    let _statistics = aya::sys::enable_stats(aya::sys::Stats::RunTime).unwrap();
    // Somebody else's program behind ours. It only reads the clock, and what it answers is no verdict.
    let object = fs::read(kernel_half()).unwrap();
    let mut other = EbpfLoader::new().btf(None).load(&object).unwrap();
    let program: &mut SchedClassifier = other.program_mut("clock").unwrap().try_into().unwrap();
    program.load().unwrap();
    inside_netns(&names::node_netns(lab.name()), || {
        let behind = TcAttachOptions::TcxOrder(LinkOrder::last());
        program
            .attach_with_options(&device, TcAttachType::Egress, behind)
            .context("attach")
    })
    .unwrap();
    let program: &SchedClassifier = other.program("clock").unwrap().try_into().unwrap();
    let runs = || program.info().unwrap().run_count();
    // More than the neighbours have to say to each other meanwhile, which passes too.
    const DATAGRAMS: u64 = 100;
    let [to, _] = addresses(2);
    // One socket that stays: the answers to one that is gone would be refused, by as many messages that pass.
    let socket = inside(&lab, "a", || UdpSocket::bind("0.0.0.0:0").context("bind"));
    let send = |port: u16| {
        let before = runs();
        for _ in 0..DATAGRAMS {
            socket.send_to(b"x", (to, port)).unwrap();
        }
        before
    };
    assert!(patient_attempt(&lab, &pod("a"), to, 80, Transport::Udp).is_answered());
    let before = send(80);
    ringfence_tests::lab::eventually("what we allow goes on to the others", || {
        (runs() - before >= DATAGRAMS).then_some(())
    });
    let before = send(81);
    let denied = runs() - before;
    assert!(
        denied < DATAGRAMS / 2,
        "what we deny nobody behind us sees: {denied}"
    );
    drop(agent);
    lab.down().unwrap();
}

/// The kernel half that the agent has in it.
fn kernel_half() -> PathBuf {
    env::var_os("RINGFENCE_EBPF_OBJECT").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/ebpf/ringfence.o"),
        PathBuf::from,
    )
}
