//! What the flags say about the node itself.

use ringfence_common::Direction;

use crate::{
    args::HostEnforcement,
    cli::failure::Failure,
    model::{Failsafe, FailsafePeers, Host, PortSpec, Ports, Protocol},
};

/// How the node itself is judged; `None`: not at all.
///
/// # Errors
///
/// The flag, what is wrong with it, and what it allows.
pub fn parse_host(
    mode: HostEnforcement,
    failsafe: &[String],
    node: Option<&str>,
) -> Result<Option<Host>, Failure> {
    let audit = match mode {
        HostEnforcement::Off => {
            return match failsafe.first() {
                None => Ok(None),
                Some(given) => Err(Failure::new("nothing closes anything to the node")
                    .at(format!("--host-failsafe {given}"))
                    .help("say --host-enforcement audit|enforce as well, or leave it out")),
            };
        }
        HostEnforcement::Audit => true,
        HostEnforcement::Enforce => false,
    };
    let mut all = Failsafe::usual();
    for given in failsafe {
        all.push(parse(given).ok_or_else(|| {
            Failure::new("this is no way that stays open")
                .at(format!("--host-failsafe {given}"))
                .help(
                    "it must be NAME=ingress|egress,any|nodes|cluster|NETWORK,PORTS with ports as in tcp/22, udp/500-501 or \
                     sctp, such as bgp=ingress,10.0.0.0/8,tcp/179",
                )
        })?);
    }
    Ok(Some(Host {
        node: node.unwrap_or("this").to_owned(),
        audit,
        failsafe: all,
    }))
}

fn parse(given: &str) -> Option<Failsafe> {
    let (name, rest) = given.split_once('=')?;
    let mut words = rest.split(',');
    let direction = match words.next()? {
        "ingress" => Direction::Ingress,
        "egress" => Direction::Egress,
        _ => return None,
    };
    let peers = match words.next()? {
        "any" => FailsafePeers::Any,
        "nodes" => FailsafePeers::Nodes,
        "cluster" => FailsafePeers::Cluster,
        network => FailsafePeers::Network(network.parse().ok()?),
    };
    let ports: Vec<PortSpec> = words.map(port).collect::<Option<_>>()?;
    (!name.is_empty() && !ports.is_empty()).then(|| Failsafe {
        name: name.to_owned(),
        direction,
        peers,
        ports: Ports::Of(ports),
        yields: false,
    })
}

fn port(word: &str) -> Option<PortSpec> {
    let (protocol, ports) = match word.split_once('/') {
        Some((protocol, ports)) => (protocol, Some(ports)),
        None => (word, None),
    };
    let protocol = match protocol {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        "sctp" => Protocol::Sctp,
        _ => return None,
    };
    let Some(ports) = ports else {
        return Some(PortSpec::All(protocol));
    };
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    let (first, last): (u16, u16) = (first.parse().ok()?, last.parse().ok()?);
    (0 < first && first <= last).then_some(PortSpec::Range(protocol, first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_that_stays_open_is_read_or_refused_as_a_whole() {
        let read = parse("bgp=ingress,10.0.0.0/8,tcp/179,udp/500-501,sctp").unwrap();
        assert_eq!(read.name, "bgp");
        assert_eq!(read.direction, Direction::Ingress);
        assert_eq!(
            read.peers,
            FailsafePeers::Network("10.0.0.0/8".parse().unwrap())
        );
        let ports = [
            PortSpec::Range(Protocol::Tcp, 179, 179),
            PortSpec::Range(Protocol::Udp, 500, 501),
            PortSpec::All(Protocol::Sctp),
        ];
        assert_eq!(read.ports, Ports::Of(ports.into()));
        assert!(!read.yields);
        for wrong in [
            "",
            "bgp",
            "=ingress,any,tcp/1",
            "a=in,any,tcp/1",
            "a=ingress,all,tcp/1",
            "a=ingress,10.0.0.0/33,tcp/1",
            "a=ingress,any",
            "a=ingress,any,tcp/0",
            "a=ingress,any,tcp/5-4",
            "a=ingress,any,tcp/65536",
            "a=ingress,any,icmp",
        ] {
            assert!(parse(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn what_stays_open_means_nothing_where_nothing_closes() {
        let given = ["a=ingress,any,tcp/1".to_owned()];
        assert!(parse_host(HostEnforcement::Off, &given, None).is_err());
        assert_eq!(parse_host(HostEnforcement::Off, &[], None).unwrap(), None);
        let host = parse_host(HostEnforcement::Audit, &given, Some("n")).unwrap();
        let host = host.unwrap();
        assert!(host.audit);
        assert_eq!(host.failsafe.len(), Failsafe::usual().len() + 1);
    }
}
