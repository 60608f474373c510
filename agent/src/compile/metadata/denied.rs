//! What is denied: the built-in catalogue, and what a `MetadataFirewall` adds to it.
//!
//! **Invariant.** What the catalogue denies is denied whatever the object says: it adds addresses, ports and names, and takes nothing away.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::{Arc, LazyLock},
};

use ringfence_common::metadata::open;

use crate::{
    metadata::{Kind, Open, catalogue},
    model::{EndpointKind, Enforcement, MetadataFirewall, Protocol, Snapshot},
};

/// What is denied to pods without a grant, by content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// What would be denied for want of a grant passes, and is told of.
    pub audited: bool,
    /// Every endpoint that a grant may name.
    pub endpoints: BTreeMap<Arc<str>, EndpointKind>,
    /// Every address that is denied.
    pub addresses: BTreeMap<IpAddr, Denied>,
}

/// What is denied at an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied {
    /// The endpoint that it is of.
    pub endpoint: Arc<str>,
    /// [`open`]: what stays open to everybody.
    pub open: u8,
    /// The ports that are denied; `None`: everything but `open`.
    pub ports: Option<BTreeSet<(Protocol, u16)>>,
}

impl Default for Metadata {
    /// What is denied without any object.
    fn default() -> Self {
        static BUILT_IN: LazyLock<Metadata> = LazyLock::new(built_in);
        BUILT_IN.clone()
    }
}

impl Metadata {
    /// What is denied as of this snapshot.
    #[must_use]
    pub fn of(snapshot: &Snapshot) -> Self {
        let mut metadata = Self::default();
        for firewall in snapshot.firewalls.values() {
            metadata.audited |= firewall.enforcement == Enforcement::Audit;
            metadata.add(firewall, snapshot);
        }
        metadata
    }

    fn add(&mut self, firewall: &MetadataFirewall, snapshot: &Snapshot) {
        for (name, endpoint) in &firewall.endpoints {
            self.endpoints.insert(name.clone(), endpoint.kind.clone());
            let own = endpoint
                .addresses
                .is_empty()
                .then_some(&snapshot.node_addresses);
            let addresses = own.unwrap_or(&endpoint.addresses).iter();
            for address in addresses.map(IpAddr::to_canonical) {
                let denied = Denied {
                    endpoint: name.clone(),
                    open: 0,
                    ports: endpoint.ports.clone(),
                };
                self.deny(address, denied);
            }
        }
    }

    /// Denies an address. What was denied of it stays so, and the latest name counts: the address is granted by that.
    fn deny(&mut self, address: IpAddr, denied: Denied) {
        let Some(before) = self.addresses.remove(&address) else {
            self.addresses.insert(address, denied);
            return;
        };
        let ports = match (before.ports, denied.ports) {
            (Some(mut ports), Some(more)) => {
                ports.extend(more);
                Some(ports)
            }
            _ => None,
        };
        let merged = Denied {
            endpoint: denied.endpoint,
            // The resolver of a cloud's nodes is needed whoever names its address.
            open: before.open | denied.open,
            ports,
        };
        self.addresses.insert(address, merged);
    }

    /// The endpoint that an address is of, in any form that a packet may name it.
    #[must_use]
    pub fn at(&self, address: IpAddr) -> Option<(IpAddr, &Denied)> {
        let address = address.to_canonical();
        let inner = match address {
            IpAddr::V4(_) => None,
            IpAddr::V6(address) => ringfence_common::metadata::embedded(&address.octets()),
        };
        let inner = inner.map(|inner| IpAddr::from(inner).to_canonical());
        [Some(address), inner]
            .into_iter()
            .flatten()
            .find_map(|it| Some((it, self.addresses.get(&it)?)))
    }
}

impl Denied {
    /// True if this protocol and port are denied; `None` is a protocol without ports.
    #[must_use]
    pub fn is_denied(&self, port: Option<(Protocol, u16)>) -> bool {
        let stays_open = match port {
            Some((Protocol::Udp | Protocol::Tcp, 53)) => self.open & open::DNS != 0,
            Some((Protocol::Udp, 123)) => self.open & open::NTP != 0,
            _ => false,
        };
        let listed = match (&self.ports, port) {
            (None, _) => true,
            (Some(ports), Some(port)) => ports.contains(&port),
            (Some(_), None) => false,
        };
        listed && !stays_open
    }
}

fn built_in() -> Metadata {
    let mut metadata = Metadata {
        audited: false,
        endpoints: BTreeMap::new(),
        addresses: BTreeMap::new(),
    };
    for endpoint in &catalogue().endpoints {
        let name: Arc<str> = endpoint.name.as_str().into();
        let kind = match endpoint.kind {
            Kind::Service => EndpointKind::Service,
            Kind::Proxy => {
                let names = endpoint.stands_for.iter();
                EndpointKind::Proxy(names.map(|name| name.as_str().into()).collect())
            }
        };
        metadata.endpoints.insert(name.clone(), kind);
        for it in &endpoint.addresses {
            let open = it.open.iter().map(|open| match open {
                Open::Dns => open::DNS,
                Open::Ntp => open::NTP,
            });
            let denied = Denied {
                endpoint: name.clone(),
                open: open.fold(0, |all, one| all | one),
                ports: it.ports().map(|ports| ports.into_iter().collect()),
            };
            metadata.addresses.insert(it.address, denied);
        }
    }
    metadata
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::MetadataEndpoint;

    fn endpoint(addresses: &[&str], ports: Option<&[(Protocol, u16)]>) -> MetadataEndpoint {
        MetadataEndpoint {
            kind: EndpointKind::Service,
            addresses: addresses.iter().map(|it| it.parse().unwrap()).collect(),
            ports: ports.map(|ports| ports.iter().copied().collect()),
        }
    }

    fn with(endpoints: &[(&str, MetadataEndpoint)]) -> Metadata {
        let mut snapshot = Snapshot {
            node_addresses: [[10, 9, 0, 1].into(), [10, 9, 0, 2].into()].into(),
            ..Snapshot::default()
        };
        let endpoints = endpoints.iter().cloned();
        let firewall = MetadataFirewall {
            endpoints: endpoints.map(|(name, it)| (name.into(), it)).collect(),
            ..MetadataFirewall::default()
        };
        snapshot.firewalls.insert("default".into(), firewall);
        Metadata::of(&snapshot)
    }

    fn denies(metadata: &Metadata, address: &str, port: Option<(Protocol, u16)>) -> Option<String> {
        let (_, denied) = metadata.at(address.parse().unwrap())?;
        denied.is_denied(port).then(|| denied.endpoint.to_string())
    }

    #[test]
    fn what_the_catalogue_denies_stays_denied_whatever_is_added() {
        let web = Some((Protocol::Tcp, 80));
        let dns = Some((Protocol::Udp, 53));
        let metadata = with(&[
            (
                "mine",
                endpoint(&["169.254.169.254"], Some(&[(Protocol::Tcp, 1)])),
            ),
            (
                "azure",
                endpoint(&["168.63.129.16"], Some(&[(Protocol::Tcp, 443)])),
            ),
            ("imds", endpoint(&["10.0.0.1"], None)),
        ]);
        for (address, port, expect) in [
            ("169.254.169.254", web, Some("mine")),
            ("169.254.169.254", None, Some("mine")),
            ("169.254.169.254", dns, None),
            ("::ffff:169.254.169.254", web, Some("mine")),
            ("64:ff9b::a9fe:a9fe", web, Some("mine")),
            ("168.63.129.16", web, Some("azure")),
            ("168.63.129.16", Some((Protocol::Tcp, 443)), Some("azure")),
            // Load balancers are answered.
            ("168.63.129.16", Some((Protocol::Tcp, 50_000)), None),
            ("168.63.129.16", None, None),
            ("10.0.0.1", None, Some("imds")),
            ("fd00:ec2::254", web, Some("imds")),
            ("169.254.20.10", dns, None),
            ("169.254.170.23", web, None),
        ] {
            let found = denies(&metadata, address, port);
            assert_eq!(found.as_deref(), expect, "{address} {port:?}");
        }
        assert!(metadata.endpoints.contains_key("ecs-task"));
    }

    #[test]
    fn a_proxy_without_addresses_is_at_the_nodes_own() {
        let proxy = MetadataEndpoint {
            kind: EndpointKind::Proxy(["imds".into()].into()),
            ..endpoint(&[], Some(&[(Protocol::Tcp, 8181)]))
        };
        let metadata = with(&[("kube2iam", proxy)]);
        for address in ["10.9.0.1", "10.9.0.2"] {
            let at = |port| denies(&metadata, address, Some((Protocol::Tcp, port)));
            assert_eq!(at(8181).as_deref(), Some("kube2iam"));
            assert_eq!(at(10_250), None);
        }
    }
}
