//! How endpoints and ports are written on the command line, and whom they mean.

use std::{fmt, net::IpAddr};

use ipnet::IpNet;

use super::failure::Failure;
use crate::model::{PodKey, Protocol, Service, Snapshot};

/// How many names an error lists.
const LISTED: usize = 8;

/// An endpoint as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Name {
    /// `pod/NAMESPACE/NAME` or `NAMESPACE/NAME`.
    Pod(PodKey),
    /// `svc/NAMESPACE/NAME`.
    Service(String, String),
    /// `ip/ADDRESS` or an address; one of IPv4 that is written inside IPv6 (`::ffff:10.0.0.1`) is the IPv4 address, for
    /// that is what travels.
    Address(IpAddr),
}

/// Reads an address as it means, with a word to standard error if it was written as another one.
pub(super) fn address(text: &str) -> Option<IpAddr> {
    let written: IpAddr = text.parse().ok()?;
    let meant = written.to_canonical();
    if meant != written {
        say!("note: {written} is the IPv4 address {meant}, and judged as such");
    }
    Some(meant)
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pod(key) => key.fmt(f),
            Self::Service(namespace, name) => write!(f, "svc/{namespace}/{name}"),
            Self::Address(address) => address.fmt(f),
        }
    }
}

impl Name {
    /// Reads it.
    pub(super) fn parse(text: &str) -> Result<Self, Failure> {
        let refuse = |what: String| {
            Err(Failure::new(what)
                .at(text.to_owned())
                .help("write pod/NAMESPACE/NAME, NAMESPACE/NAME, svc/NAMESPACE/NAME, ip/ADDRESS or an address"))
        };
        if let Some(address) = address(text) {
            return Ok(Self::Address(address));
        }
        let parts: Vec<&str> = text.split('/').collect();
        if parts.iter().any(|part| part.is_empty()) {
            return refuse(format!("{text:?} names no endpoint"));
        }
        if text.parse::<IpNet>().is_ok() {
            return refuse(format!("{text} is a network: name one address in it"));
        }
        match parts.as_slice() {
            ["ip", text] => address(text).map_or_else(
                || refuse(format!("{text:?} is no address")),
                |address| Ok(Self::Address(address)),
            ),
            ["pod" | "pods", namespace, name] => Ok(Self::Pod(key(namespace, name))),
            ["svc" | "service" | "services", namespace, name] => {
                Ok(Self::Service((*namespace).to_owned(), (*name).to_owned()))
            }
            ["pod" | "pods" | "svc" | "service" | "services", _] => {
                refuse(format!("{text:?} lacks a namespace"))
            }
            [namespace, name] => Ok(Self::Pod(key(namespace, name))),
            [kind, _, _] => refuse(format!("there are no endpoints of kind {kind:?}")),
            _ => refuse(format!("{text:?} names no endpoint")),
        }
    }

    /// The pod, if the snapshot has it and it has an address of its own.
    pub(super) fn existing_pod<'a>(
        key: &PodKey,
        snapshot: &'a Snapshot,
    ) -> Result<&'a crate::model::Pod, Failure> {
        let Some(pod) = snapshot.pods.get(key) else {
            let failure = Failure::new(format!("there is no pod {key} in the manifests"));
            return Err(match similar(key, snapshot) {
                Some(other) => failure.help(format!("did you mean {other}?")),
                None => failure.help(some_of("pods", key, snapshot)),
            });
        };
        let place = || format!("{}: Pod/{key}", pod.origin);
        if pod.host_network {
            return Err(Failure::new(format!(
                "pod {key} has its node's network, so no policy is about it"
            ))
            .at(place())
            .help("ask about the node's address instead"));
        }
        if !pod.is_running() {
            return Err(Failure::new(format!("pod {key} has ended ({:?})", pod.phase)).at(place()));
        }
        Ok(pod)
    }

    /// The service, if the snapshot has it.
    pub(super) fn existing_service<'a>(
        namespace: &str,
        name: &str,
        snapshot: &'a Snapshot,
    ) -> Result<&'a Service, Failure> {
        let here = || {
            snapshot
                .services
                .keys()
                .filter(|(of, _)| of == namespace)
                .map(|(_, name)| name.as_str())
        };
        snapshot
            .services
            .get(&(namespace.to_owned(), name.to_owned()))
            .ok_or_else(|| {
                let failure = Failure::new(format!(
                    "there is no service {namespace}/{name} in the manifests"
                ));
                match here().next() {
                    Some(_) => failure.help(format!(
                        "in this namespace there are: {}",
                        here().collect::<Vec<_>>().join(", ")
                    )),
                    None => failure.help("are all manifests named with -f?"),
                }
            })
    }
}

fn key(namespace: &str, name: &str) -> PodKey {
    PodKey {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    }
}

/// What there is instead, as far as it fits into a line.
fn some_of(what: &str, key: &PodKey, snapshot: &Snapshot) -> String {
    let here = snapshot.pods.keys();
    let mut here = here.filter(|other| other.namespace == key.namespace);
    let names: Vec<&str> = here.by_ref().take(LISTED).map(|it| &*it.name).collect();
    let more = if here.next().is_some() { ", …" } else { "" };
    if names.is_empty() {
        format!(
            "there are no {what} in namespace {}; are all manifests named with -f?",
            key.namespace
        )
    } else {
        format!("in this namespace there are: {}{more}", names.join(", "))
    }
}

/// A pod whose name may have been meant: the same in another namespace, or a longer one in this.
fn similar<'a>(key: &PodKey, snapshot: &'a Snapshot) -> Option<&'a PodKey> {
    let mut keys = snapshot.pods.keys();
    keys.clone()
        .find(|other| other.name == key.name)
        .or_else(|| {
            keys.find(|other| {
                other.namespace == key.namespace
                    && (other.name.starts_with(&key.name) || key.name.starts_with(&other.name))
            })
        })
}

/// What is to be carried, as it was written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Port {
    /// `443`, `53/udp`.
    Number(Protocol, u16),
    /// `https`: of a service.
    Name(String),
    /// `icmp`.
    Icmp,
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(protocol, port) => {
                write!(f, "{port}/{}", protocol.as_str().to_ascii_lowercase())
            }
            Self::Name(name) => f.write_str(name),
            Self::Icmp => f.write_str("icmp"),
        }
    }
}

impl Port {
    /// Reads it.
    pub(super) fn parse(text: &str) -> Result<Self, Failure> {
        if text.eq_ignore_ascii_case("icmp") {
            return Ok(Self::Icmp);
        }
        let help = "write a port from 1 to 65535 and, if it is not tcp, a protocol: 443, 53/udp, 132/sctp; or icmp";
        let refuse = |what: String| Failure::new(what).at(text.to_owned()).help(help);
        let (port, protocol) = match text.split_once('/') {
            Some((port, protocol)) => {
                let known = Protocol::ALL
                    .into_iter()
                    .find(|known| known.as_str().eq_ignore_ascii_case(protocol));
                (
                    port,
                    known.ok_or_else(|| {
                        refuse(format!("there is no protocol {protocol:?} with ports"))
                    })?,
                )
            }
            None => (text, Protocol::Tcp),
        };
        // A sign is no digit, whatever `parse` takes.
        let digits = port.bytes().all(|letter| letter.is_ascii_digit());
        match port.parse::<u16>() {
            _ if !digits && port.parse::<u16>().is_ok() => Err(refuse(format!(
                "{port:?} is no port number from 1 to 65535"
            ))),
            Ok(0) => Err(refuse("port 0 does not exist".to_owned())),
            Ok(port) => Ok(Self::Number(protocol, port)),
            Err(_) if !text.contains('/') && is_port_name(port) => Ok(Self::Name(port.to_owned())),
            Err(_) => Err(refuse(format!(
                "{port:?} is no port number from 1 to 65535"
            ))),
        }
    }
}

/// Port names have a letter, and no others than lowercase ones, digits and hyphens (RFC 6335).
fn is_port_name(text: &str) -> bool {
    text.chars()
        .all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-')
        && text.chars().any(|letter| letter.is_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_read() {
        let pod = || Name::Pod(key("shop", "web"));
        for (text, expect) in [
            ("shop/web", pod()),
            ("pod/shop/web", pod()),
            (
                "svc/shop/web",
                Name::Service("shop".to_owned(), "web".to_owned()),
            ),
            ("ip/10.0.0.1", Name::Address("10.0.0.1".parse().unwrap())),
            ("10.0.0.1", Name::Address("10.0.0.1".parse().unwrap())),
            ("2001:db8::1", Name::Address("2001:db8::1".parse().unwrap())),
            (
                "::ffff:10.0.0.1",
                Name::Address("10.0.0.1".parse().unwrap()),
            ),
            (
                "ip/::ffff:a00:1",
                Name::Address("10.0.0.1".parse().unwrap()),
            ),
        ] {
            assert_eq!(Name::parse(text).unwrap(), expect, "{text}");
        }
        for text in [
            "",
            "web",
            "shop/",
            "/web",
            "pod/web",
            "svc/web",
            "zone/a/b",
            "a/b/c/d",
            "ip/10.0.0",
            "10.0.0.0/8/1",
            "10.0.0.0/8",
        ] {
            assert!(Name::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn ports_are_read() {
        for (text, expect) in [
            ("443", Port::Number(Protocol::Tcp, 443)),
            ("53/udp", Port::Number(Protocol::Udp, 53)),
            ("7/SCTP", Port::Number(Protocol::Sctp, 7)),
            ("icmp", Port::Icmp),
            ("https", Port::Name("https".to_owned())),
        ] {
            assert_eq!(Port::parse(text).unwrap(), expect, "{text}");
        }
        for text in [
            "",
            "0",
            "65536",
            "443/tpc",
            "https/tcp",
            "-1",
            "+1",
            "44 3",
            "443/icmp",
        ] {
            assert!(Port::parse(text).is_err(), "{text}");
        }
    }
}
