//! The stand-in for kube-proxy where a Service has several backends: its chains, as it writes them with nftables and with
//! iptables. Only the choice differs: backends take turns, so that a test knows which one is next.

use std::{fmt::Write as _, fs, net::IpAddr};

use ringfence_agent::lab::{Actor, Lab};

use super::{on_the_node, service};

/// Addresses of both families, and the target port.
pub type Backend = ([IpAddr; 2], u16);

/// A Service and those behind it, for TCP and UDP.
#[derive(Clone, Copy, Debug)]
pub struct Spread<'a> {
    /// Its number.
    pub service: u8,
    /// Its port.
    pub port: u16,
    /// In the order of their turns. Each transport of each family has its own turns.
    pub backends: &'a [Backend],
    /// A client stays with the backend that it got first.
    pub affinity: bool,
}

/// How the node translates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// As kube-proxy does with `--proxy-mode nftables`.
    Nftables,
    /// As it does with `--proxy-mode iptables`.
    Iptables,
}

/// Lays these Services on the node, in place of those before of the same mode.
pub fn lay(lab: &Lab, mode: Mode, spreads: &[Spread<'_>]) {
    match mode {
        Mode::Nftables => lay_nftables(lab, &nftables(spreads)),
        Mode::Iptables => iptables(lab, spreads),
    }
}

/// Has `nft` read these rules.
pub fn lay_nftables(lab: &Lab, rules: &str) {
    let folder = tempfile::tempdir().expect("the temporary directory can be written");
    let path = folder.path().join("rules");
    fs::write(&path, rules).expect("just made");
    let words = ["nft".as_ref(), "-f".as_ref(), path.as_os_str()];
    let output = lab.exec(&Actor::Node, words).expect("the lab obeys");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{rules}");
}

/// With its port, as both tools write it.
fn socket(address: IpAddr, port: u16) -> String {
    std::net::SocketAddr::new(address, port).to_string()
}

fn nftables(spreads: &[Spread<'_>]) -> String {
    let (mut chains, mut before, mut after) = (String::new(), String::new(), String::new());
    for spread in spreads {
        let (port, count) = (spread.port, spread.backends.len());
        for (family, given) in service(spread.service).into_iter().enumerate() {
            let (ip, kind) = [("ip", "ipv4_addr"), ("ip6", "ipv6_addr")][family];
            for transport in ["tcp", "udp"] {
                let name = format!("s{}-{ip}-{transport}", spread.service);
                let (mut stay, mut turns) = (String::new(), Vec::new());
                for (turn, (to, to_port)) in spread.backends.iter().enumerate() {
                    let to = to[family];
                    let remember = if spread.affinity {
                        chains += &format!(
                            "set stay-{name}-{turn} {{ type {kind}; flags dynamic,timeout; timeout 3h; }}\n"
                        );
                        stay += &format!("{ip} saddr @stay-{name}-{turn} goto {name}-{turn}\n");
                        format!("update @stay-{name}-{turn} {{ {ip} saddr }}\n")
                    } else {
                        String::new()
                    };
                    let to_socket = socket(to, *to_port);
                    // The mark that kube-proxy gives what is to be masqueraded; here a pod to itself.
                    chains += &format!(
                        "chain {name}-{turn} {{\n{ip} saddr {to} meta mark set meta mark or 0x4000\n{remember}\
                         meta l4proto {transport} dnat {ip} to {to_socket}\n}}\n"
                    );
                    turns.push(format!("{turn} : goto {name}-{turn}"));
                }
                let turns = turns.join(", ");
                chains += &format!(
                    "chain {name} {{\n{stay}numgen inc mod {count} vmap {{ {turns} }}\n}}\n"
                );
                writeln!(
                    before,
                    "{ip} daddr {given} {transport} dport {port} goto {name}"
                )
                .expect("a string takes everything");
            }
        }
    }
    after += "meta mark & 0x4000 == 0 return\nmeta mark set meta mark xor 0x4000\nmasquerade fully-random\n";
    format!(
        "table inet proxy\ndelete table inet proxy\ntable inet proxy {{\n{chains}\
         chain before {{ type nat hook prerouting priority dstnat\n{before}}}\n\
         chain after {{ type nat hook postrouting priority srcnat\n{after}}}\n}}\n"
    )
}

fn iptables(lab: &Lab, spreads: &[Spread<'_>]) {
    for (family, tool) in ["iptables", "ip6tables"].into_iter().enumerate() {
        let nat = |words: &str| {
            let words = format!("{tool} -w -t nat {words}");
            on_the_node(lab, &words.split_whitespace().collect::<Vec<_>>());
        };
        for words in [
            "-F",
            "-X",
            "-A POSTROUTING -m mark --mark 0x4000/0x4000 -j MASQUERADE",
        ] {
            nat(words);
        }
        for spread in spreads {
            let given = service(spread.service)[family];
            for transport in ["tcp", "udp"] {
                let chain = format!("SVC-{}-{transport}", spread.service);
                nat(&format!("-N {chain}"));
                let what = format!("-d {given} -p {transport} --dport {}", spread.port);
                nat(&format!("-A PREROUTING {what} -j {chain}"));
                let ends: Vec<String> = (0..spread.backends.len())
                    .map(|turn| format!("SEP-{}-{turn}-{transport}", spread.service))
                    .collect();
                for (end, (to, to_port)) in ends.iter().zip(spread.backends) {
                    let to = to[family];
                    nat(&format!("-N {end}"));
                    nat(&format!("-A {end} -s {to} -j MARK --or-mark 0x4000"));
                    let remember = if spread.affinity {
                        nat(&format!(
                            "-A {chain} -m recent --name {end} --rcheck --seconds 10800 --reap -j {end}"
                        ));
                        format!("-m recent --name {end} --set ")
                    } else {
                        String::new()
                    };
                    let to = socket(to, *to_port);
                    nat(&format!(
                        "-A {end} -p {transport} {remember}-j DNAT --to-destination {to}"
                    ));
                }
                // As kube-proxy's probabilities: the first of those that are left, then the rest among themselves.
                for (turn, end) in ends.iter().enumerate() {
                    let left = ends.len() - turn;
                    let choice = format!("-m statistic --mode nth --every {left} --packet 0 ");
                    let choice = if left > 1 { choice } else { String::new() };
                    nat(&format!("-A {chain} {choice}-j {end}"));
                }
            }
        }
    }
}
