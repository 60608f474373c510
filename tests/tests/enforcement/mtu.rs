//! Path MTU discovery under default deny: what says that packets are too big comes from a router that no rule names.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use ringfence_agent::lab::{Actor, Lab, OutsideHost, names};
use ringfence_tests::{
    agent::Agent,
    lab::{eventually, small},
};

use super::{PATIENT, SHORT, packets::inside, world};

/// Behind the router: the namespace of a pod that no agent is told of.
const FAR: [&str; 2] = ["198.51.100.9", "2001:db8:64::9"];
/// The least that IPv6 allows.
const NARROW: usize = 1280;
/// What is sent in one piece.
const BULK: usize = 1 << 20;

fn far() -> [IpAddr; 2] {
    FAR.map(|address| address.parse().expect("an address"))
}

/// The router "outside" leads to the far side by a wire of a smaller MTU, of which only the router knows.
fn wire(lab: &Lab) {
    let run = |actor: &Actor, words: &str| {
        let output = lab.exec(actor, words.split(' ')).expect("the lab obeys");
        assert!(output.status.success(), "{words:?}: {output:?}");
    };
    let (router, behind) = (Actor::outside("router"), Actor::pod("t", "b"));
    let netns = format!("{}b", names::netns_prefix(lab.name()));
    run(
        &router,
        "sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1",
    );
    run(
        &router,
        &format!("ip link add narrow0 mtu {NARROW} type veth peer name far0 netns {netns}"),
    );
    run(&behind, "ip link set far0 mtu 1500 up");
    run(&router, "ip link set narrow0 up");
    for (address, (near, full)) in FAR
        .iter()
        .zip([("10.9.9.1/24", 32), ("fd00:99::1/64", 128)])
    {
        let v6 = address.contains(':');
        let (family, other) = if v6 {
            ("-6", "fd00:99::2")
        } else {
            ("-4", "10.9.9.2")
        };
        let (length, nodad) = if v6 { ("64", " nodad") } else { ("24", "") };
        let gateway = near.split('/').next().expect("an address");
        run(
            &router,
            &format!("ip {family} addr add {near} dev narrow0{nodad}"),
        );
        run(
            &behind,
            &format!("ip {family} addr add {other}/{length} dev far0{nodad}"),
        );
        run(
            &behind,
            &format!("ip {family} addr add {address}/{full} dev far0{nodad}"),
        );
        run(
            &behind,
            &format!("ip {family} route replace default via {gateway} dev far0"),
        );
        run(
            &router,
            &format!("ip {family} route add {address}/{full} via {other} dev narrow0"),
        );
        let via = if v6 { "2001:db8:7::7" } else { "203.0.113.7" };
        run(
            &Actor::Node,
            &format!("ip {family} route add {address}/{full} via {via} dev uplink0"),
        );
    }
}

fn lets_out(port: u16) -> String {
    format!(
        "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{ name: a, namespace: t }}\nspec:\n  \
         podSelector: {{ matchLabels: {{ app: a }} }}\n  policyTypes: [Ingress, Egress]\n  egress:\n  \
         - to: [ {{ ipBlock: {{ cidr: {}/32 }} }}, {{ ipBlock: {{ cidr: \"{}/128\" }} }} ]\n    \
         ports: [ {{ port: {port} }}, {{ port: {port}, protocol: UDP }} ]\n",
        FAR[0], FAR[1]
    )
}

/// Swallows what comes on TCP and says how much it was; sends datagrams back.
fn serve(lab: &Lab, at: IpAddr, port: u16) {
    let (listener, socket) = inside(lab, "b", || {
        let listener = TcpListener::bind((at, port)).context("bind")?;
        Ok((listener, UdpSocket::bind((at, port)).context("bind")?))
    });
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut swallowed = vec![0; BULK];
            if stream.read_exact(&mut swallowed).is_ok() {
                let _gone = stream.write_all(b"all");
            }
        }
    });
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let _gone = socket.send_to(&buffer[..length.min(100)], from);
        }
    });
}

/// True if a datagram that does not fit arrives, sooner or later: the first is lost and teaches the sender.
fn datagram_arrives(to: SocketAddr, patience: Duration) -> Result<bool> {
    let any: IpAddr = if to.is_ipv4() {
        [0; 4].into()
    } else {
        [0_u16; 8].into()
    };
    let socket = UdpSocket::bind((any, 0)).context("bind")?;
    socket.set_read_timeout(Some(SHORT)).context("time-out")?;
    let begin = Instant::now();
    while begin.elapsed() < patience {
        socket.send_to(&[b'x'; 1400], to).context("send")?;
        if socket.recv(&mut [0; 4096]).is_ok() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn bulk_arrives(to: SocketAddr, patience: Duration) -> Result<bool> {
    let Ok(mut stream) = TcpStream::connect_timeout(&to, patience) else {
        return Ok(false);
    };
    stream.set_read_timeout(Some(PATIENT)).context("time-out")?;
    stream
        .set_write_timeout(Some(PATIENT))
        .context("time-out")?;
    stream.write_all(&vec![b'x'; BULK]).context("write")?;
    let mut answer = [0; 3];
    Ok(stream.read_exact(&mut answer).is_ok())
}

#[test]
fn a_pod_learns_of_a_narrow_way_from_a_router_that_no_rule_names() {
    let mut spec = small("mtu", &["a", "b"], &[]);
    spec.outside.push(OutsideHost {
        name: "router".to_owned(),
        addresses: ["203.0.113.7", "2001:db8:7::7"]
            .map(|it| it.parse().expect("an address"))
            .to_vec(),
        serves: Vec::new(),
        only_answers: true,
    });
    let lab = Lab::up(&spec).unwrap();
    wire(&lab);
    let agent = Agent::start(&lab, &(world(&["a"]) + &lets_out(80)), &[]);
    for to in far() {
        serve(&lab, to, 80);
        serve(&lab, to, 81);
        let reached = |port, work: fn(SocketAddr, Duration) -> Result<bool>| {
            // What is not allowed has the time for the datagrams that are lost on the way.
            let patience = if port == 80 { PATIENT } else { 5 * SHORT };
            inside(&lab, "a", move || work(SocketAddr::new(to, port), patience))
        };
        assert!(
            !reached(81, datagram_arrives) && !reached(81, bulk_arrives),
            "no rule names port 81 of {to}"
        );
        assert!(reached(80, datagram_arrives), "datagrams to {to}");
        let learned = eventually("the pod has heard of it", || {
            let route = lab
                .exec(
                    &Actor::pod("t", "a"),
                    ["ip", "route", "get", &to.to_string()],
                )
                .ok()?;
            let route = String::from_utf8_lossy(&route.stdout).into_owned();
            route.contains("mtu").then_some(route)
        });
        assert!(learned.contains(&format!("mtu {NARROW}")), "{learned}");
        assert!(reached(80, bulk_arrives), "a megabyte to {to}");
    }
    drop(agent);
    lab.down().unwrap();
}
