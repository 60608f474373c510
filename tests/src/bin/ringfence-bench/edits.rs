//! From the edit of a file to packets that notice: p50 and p99.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use ringfence_agent::lab::{Lab, inside_netns, names};
use ringfence_tests::{
    agent::Agent,
    lab::{addresses, small},
};

use crate::table::{Figure, Table};

/// Measures this many edits.
pub fn run(edits: usize) -> Result<Vec<Table>> {
    let lab = Lab::up(&small("edits", &["a", "b"], &[80, 81]))?;
    let policy = |port: u16| {
        format!(
            "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{ name: b, namespace: t }}\n\
             spec: {{ podSelector: {{ matchLabels: {{ app: b }} }}, ingress: [ {{ ports: [ {{ port: {port}, protocol: UDP }} ] }} ] }}\n"
        )
    };
    let pods: String = [("a", 1), ("b", 2)]
        .map(|(name, number)| {
            let [v4, v6] = addresses(number);
            format!(
                "---\napiVersion: v1\nkind: Pod\nmetadata: {{ name: {name}, namespace: t, labels: {{ app: {name} }}, annotations: {{ ringfence.dev/netns: {name} }} }}\n\
                 status: {{ phase: Running, podIPs: [ {{ ip: {v4} }}, {{ ip: \"{v6}\" }} ] }}\n"
            )
        })
        .concat();
    let agent = Agent::start(&lab, &pods, &[]);
    let netns = format!("{}a", names::netns_prefix(lab.name()));
    let socket = inside_netns(&netns, || {
        let socket =
            std::net::UdpSocket::bind((std::net::Ipv4Addr::UNSPECIFIED, 0)).context("bind")?;
        socket
            .set_read_timeout(Some(Duration::from_micros(500)))
            .context("time-out")?;
        Ok(socket)
    })?;
    let to = addresses(2)[0];
    let mut took = Vec::new();
    for edit in 0..edits {
        let port = if edit % 2 == 0 { 80 } else { 81 };
        // What this edit opens is closed before it.
        agent.edit("policy.yaml", &policy(161 - port));
        until(|| !asks(&socket, (to, port)) && asks(&socket, (to, 161 - port)));
        let text = policy(port);
        let started = Instant::now();
        agent.edit("policy.yaml", &text);
        until(|| asks(&socket, (to, port)));
        took.push(started.elapsed().as_secs_f64() * 1e3);
    }
    drop(agent);
    lab.down()?;
    took.sort_by(f64::total_cmp);
    let at = |part: usize| took[(took.len() - 1) * part / 100];
    Ok(vec![Table {
        title: format!(
            "From an edited file to packets that notice, {edits} edits, milliseconds (10 of them are the watcher's, to let a burst of events end)"
        ),
        figures: vec![Figure {
            name: "one policy of two pods".to_owned(),
            values: vec![("p50", at(50)), ("p99", at(99))],
        }],
    }])
}

/// True if a datagram is answered within half a millisecond.
fn asks(socket: &std::net::UdpSocket, to: (std::net::IpAddr, u16)) -> bool {
    let mut buffer = [0; 64];
    // Answers that came late are not this one's.
    socket.set_nonblocking(true).expect("a socket");
    while socket.recv(&mut buffer).is_ok() {}
    socket.set_nonblocking(false).expect("a socket");
    socket.send_to(b"?", to).is_ok() && socket.recv(&mut buffer).is_ok()
}

fn until(mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !so() {
        assert!(Instant::now() < deadline, "it does not come to pass");
    }
}
