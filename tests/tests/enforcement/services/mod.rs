//! Services: egress is judged as what a packet has become. The node translates as kube-proxy makes it, with nftables; with
//! and without masquerade, and with somebody else's rule that writes over the mark.

pub(crate) mod bridge;
mod empty;
mod exits;
mod pods;
mod proxy;
mod remote;
mod tunnels;
mod turns;

use std::{fmt::Write as _, fs, net::IpAddr, time::Duration};

use ringfence_agent::lab::{
    Actor, Lab, LabSpec, Outcome, OutsideHost, OutsidePort, Probe, wire::Transport,
};
use ringfence_tests::{lab::small, reach};

use super::pod;

/// The address of Service number N, in both families.
fn service(number: u8) -> [IpAddr; 2] {
    [
        [10, 96, 0, number].into(),
        [0xfd00, 0x96, 0, 0, 0, 0, 0, u16::from(number)].into(),
    ]
}

/// Its manifest, on this port.
fn manifest(number: u8, port: u16) -> String {
    let [v4, v6] = service(number);
    format!(
        "---\napiVersion: v1\nkind: Service\nmetadata: {{ name: s{number}, namespace: t }}\nspec:\n  clusterIP: {v4}\n  \
         clusterIPs: [ {v4}, \"{v6}\" ]\n  ports:\n  - {{ name: tcp, port: {port} }}\n  \
         - {{ name: udp, port: {port}, protocol: UDP }}\n"
    )
}

/// A policy for `a`: out to these peers (a flow sequence) on this port, and nothing else, in or out.
fn lets_out(peers: &str, port: u16) -> String {
    format!(
        "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{ name: a, namespace: t }}\nspec:\n  \
         podSelector: {{ matchLabels: {{ app: a }} }}\n  policyTypes: [Ingress, Egress]\n  egress:\n  - to: [ {peers} ]\n    \
         ports: [ {{ port: {port} }}, {{ port: {port}, protocol: UDP }} ]\n"
    )
}

const TO_B: &str = "{ podSelector: { matchLabels: { app: b } } }";

/// What the node does besides translating.
#[derive(Clone, Copy, Debug, Default)]
struct Ways {
    /// Gives what it translates its own source address.
    masquerade: bool,
    /// Has somebody's rule that writes over whole marks.
    clobber: bool,
}

/// Lays the node's rules: Service N on a port becomes an address and port.
fn translate(lab: &Lab, ways: Ways, services: &[(u8, u16, [IpAddr; 2], u16)]) {
    let (mut before, mut after, mut mangle) = (String::new(), String::new(), String::new());
    for &(number, port, to, to_port) in services {
        for (given, behind) in service(number).into_iter().zip(to) {
            let (family, shown) = match behind {
                IpAddr::V4(_) => ("ip", behind.to_string()),
                IpAddr::V6(_) => ("ip6", format!("[{behind}]")),
            };
            for transport in ["tcp", "udp"] {
                writeln!(
                    before,
                    "{family} daddr {given} {transport} dport {port} dnat {family} to {shown}:{to_port}"
                )
                .expect("a string takes everything");
            }
            writeln!(
                after,
                "{family} saddr {behind} {family} daddr {behind} masquerade"
            )
            .expect("a string takes everything");
        }
    }
    if ways.masquerade {
        after += "ct status dnat masquerade\n";
    }
    if ways.clobber {
        mangle += "meta mark set 0x1\n";
    }
    let rules = format!(
        "table inet proxy\ndelete table inet proxy\ntable inet proxy {{\n\
         chain mangle {{ type filter hook prerouting priority mangle\n{mangle}}}\n\
         chain before {{ type nat hook prerouting priority dstnat\n{before}}}\n\
         chain after {{ type nat hook postrouting priority srcnat\n{after}}}\n}}\n"
    );
    let folder = tempfile::tempdir().expect("the temporary directory can be written");
    let path = folder.path().join("rules");
    fs::write(&path, &rules).expect("just made");
    let output = lab
        .exec(
            &Actor::Node,
            ["nft".as_ref(), "-f".as_ref(), path.as_os_str()],
        )
        .expect("the lab obeys");
    assert!(
        output.status.success(),
        "{}\n{rules}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Runs a program on the node.
fn on_the_node(lab: &Lab, words: &[&str]) -> String {
    let words: Vec<&std::ffi::OsStr> = words.iter().map(|&word| word.as_ref()).collect();
    let output = lab.exec(&Actor::Node, words).expect("the lab obeys");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The same rules as [`translate`] with iptables, as kube-proxy writes them: what is masqueraded is marked for it.
fn translate_with_iptables(lab: &Lab, services: &[(u8, u16, [IpAddr; 2], u16)]) {
    for (family, tool) in ["iptables", "ip6tables"].into_iter().enumerate() {
        let nat = |words: &str| {
            let words = format!("{tool} -w -t nat {words}");
            on_the_node(lab, &words.split(' ').collect::<Vec<_>>());
        };
        nat("-A POSTROUTING -m mark --mark 0x4000/0x4000 -j MASQUERADE");
        for (number, port, to, to_port) in services {
            let given = service(*number)[family];
            let behind = match to[family] {
                IpAddr::V4(address) => address.to_string(),
                IpAddr::V6(address) => format!("[{address}]"),
            };
            for transport in ["tcp", "udp"] {
                let what = format!("-d {given} -p {transport} --dport {port}");
                nat(&format!("-A PREROUTING {what} -j MARK --or-mark 0x4000"));
                nat(&format!(
                    "-A PREROUTING {what} -j DNAT --to-destination {behind}:{to_port}"
                ));
            }
        }
    }
}

/// What becomes of each transport and family of a Service, if that is waited for so long.
fn outcomes(
    lab: &Lab,
    from: &str,
    number: u8,
    port: u16,
    timeout: Duration,
) -> Vec<(IpAddr, Transport, Outcome)> {
    let ends: Vec<(IpAddr, Transport)> = service(number)
        .into_iter()
        .flat_map(|to| Transport::ALL.map(|protocol| (to, protocol)))
        .collect();
    let probes: Vec<Probe> = ends
        .iter()
        .map(|&(to, protocol)| Probe {
            from: pod(from),
            to,
            port,
            protocol,
            timeout,
        })
        .collect();
    let outcomes = lab.probe_all(&probes).expect("the lab obeys");
    let told = ends.into_iter().zip(outcomes);
    told.map(|((to, protocol), outcome)| (to, protocol, outcome))
        .collect()
}

/// True if all of a Service's families and transports answer, false if none does, for long.
fn reaches(lab: &Lab, from: &str, number: u8, port: u16) -> bool {
    reach::reaches(lab, &pod(from), &service(number), port)
}

/// True if none of them answers for a moment.
fn is_closed(lab: &Lab, from: &str, number: u8, port: u16) -> bool {
    reach::is_closed(lab, &pod(from), &service(number), port)
}

/// True if it is as open or closed as it should be.
fn fares(lab: &Lab, from: &str, number: u8, port: u16, allowed: bool) -> bool {
    reach::fares(lab, &pod(from), &service(number), port, allowed)
}

/// A lab with two hosts on premises and a metadata service outside.
fn with_outside(name: &str) -> Lab {
    let mut spec: LabSpec = small(name, &["a", "b"], &[80]);
    let host = |name: &str, v4: &str, v6: &str| OutsideHost {
        name: name.to_owned(),
        addresses: [v4, v6].map(|it| it.parse().expect("an address")).to_vec(),
        serves: Transport::ALL
            .map(|protocol| OutsidePort { protocol, port: 80 })
            .to_vec(),
        only_answers: true,
    };
    spec.outside
        .push(host("db", "203.0.113.20", "2001:db8:9::20"));
    spec.outside
        .push(host("mail", "203.0.113.30", "2001:db8:9::30"));
    spec.outside
        .push(host("metadata", "169.254.169.254", "fd00:ec2::254"));
    Lab::up(&spec).expect("a lab")
}

fn outside(v4: &str, v6: &str) -> [IpAddr; 2] {
    [v4, v6].map(|address| address.parse().expect("an address"))
}

/// The node's addresses in a lab.
fn node() -> [IpAddr; 2] {
    outside("10.0.9.1", "fd00:9::1")
}

/// Takes all enforcement off a lab.
fn agent_detach(lab: &Lab) -> std::process::Output {
    use ringfence_agent::lab::{names, state};
    std::process::Command::new(ringfence_tests::lab::binary())
        .args([
            "detach",
            "--netns",
            &names::node_netns(lab.name()),
            "--bpffs",
        ])
        .arg(state::bpffs(lab.name()))
        .arg("--run-dir")
        .arg(state::folder(lab.name()))
        .output()
        .expect("the binary runs")
}
