//! The metadata firewall's catalogue: which addresses are cloud metadata services.
//!
//! The union is denied on every node: elsewhere these addresses mean nothing, and a lookup costs the same. Never a
//! whole range: NodeLocal DNS (169.254.20.10), EKS Pod Identity (169.254.170.23) and the addresses of some clouds'
//! pods are link-local too. What is in it, and where that is written, is in `catalogue.yaml`.

mod layers;

use std::{net::IpAddr, sync::LazyLock};

use serde::Deserialize;

use crate::model::Protocol;

pub use layers::{LAYERS, Layer, standing};

/// Annotation by which a pod asks for metadata access.
pub const ACCESS_ANNOTATION: &str = "metadata.ringfence.dev/access";

/// Names that the catalogue may have: as many more may come from a `MetadataFirewall`, and one bit is nobody's.
pub const MAX_NAMES: usize = 15;

/// The built-in catalogue.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Catalogue {
    /// Endpoints.
    pub endpoints: Vec<Endpoint>,
    /// What lies beside them and must stay reachable.
    pub reachable: Vec<Reachable>,
}

/// An endpoint of the catalogue.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Endpoint {
    /// Name.
    pub name: String,
    /// What answers.
    pub kind: Kind,
    /// Of a proxy: the endpoints that it answers for.
    #[serde(default)]
    pub stands_for: Vec<String>,
    /// Where it answers.
    pub addresses: Vec<Address>,
}

/// What answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Kind {
    /// The cloud.
    Service,
    /// Something that answers for other endpoints.
    Proxy,
}

/// An address of the catalogue.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Address {
    /// Address.
    pub address: IpAddr,
    /// Who answers there.
    pub clouds: Vec<String>,
    /// What else answers there and stays reachable.
    #[serde(default)]
    pub open: Vec<Open>,
    /// What is denied, as in `80/tcp`; `None`: everything but `open`.
    #[serde(default)]
    ports: Option<Vec<String>>,
    /// Where this is written.
    pub source: String,
}

/// What answers at some metadata addresses besides metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Open {
    /// Port 53.
    Dns,
    /// Port 123.
    Ntp,
}

/// What lies beside metadata services and is none.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reachable {
    /// Address.
    pub address: IpAddr,
    /// What it is.
    pub what: String,
    /// Where this is written.
    pub source: String,
}

impl Address {
    /// The ports that are denied; `None`: all.
    #[must_use]
    pub fn ports(&self) -> Option<Vec<(Protocol, u16)>> {
        let ports = self.ports.as_ref()?;
        Some(ports.iter().filter_map(|text| port(text)).collect())
    }
}

fn port(text: &str) -> Option<(Protocol, u16)> {
    let (number, protocol) = text.split_once('/')?;
    let protocol = Protocol::ALL
        .into_iter()
        .find(|it| it.as_str().eq_ignore_ascii_case(protocol))?;
    Some((protocol, number.parse().ok()?))
}

/// The built-in catalogue.
#[must_use]
pub fn catalogue() -> &'static Catalogue {
    static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| {
        serde_saphyr::from_str(include_str!("catalogue.yaml"))
            .expect("the built-in catalogue is read by the tests of this module")
    });
    &CATALOGUE
}

/// The endpoint of this name.
#[must_use]
pub fn endpoint(name: &str) -> Option<&'static Endpoint> {
    catalogue().endpoints.iter().find(|it| it.name == name)
}

/// Who answers at an address, as in `AWS, Azure`; `None` if the catalogue does not know.
#[must_use]
pub fn clouds(address: IpAddr) -> Option<String> {
    let mut all = catalogue().endpoints.iter().flat_map(|it| &it.addresses);
    Some(all.find(|it| it.address == address)?.clouds.join(", "))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_line_of_the_catalogue_is_right() {
        let catalogue = catalogue();
        let mut names = BTreeSet::new();
        let mut addresses = BTreeSet::new();
        for endpoint in &catalogue.endpoints {
            let name = &endpoint.name;
            assert!(names.insert(name), "{name} twice");
            assert!(
                name.chars()
                    .all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == '-'),
                "{name} can be no name of an endpoint"
            );
            assert!(!endpoint.addresses.is_empty(), "{name}");
            assert_eq!(
                endpoint.kind == Kind::Proxy,
                !endpoint.stands_for.is_empty(),
                "{name}"
            );
            for other in &endpoint.stands_for {
                let other = super::endpoint(other).unwrap();
                assert_eq!(other.kind, Kind::Service, "{name}");
            }
            for it in &endpoint.addresses {
                assert!(addresses.insert(it.address), "{} twice", it.address);
                assert_eq!(it.address, it.address.to_canonical());
                assert!(!it.clouds.is_empty() && !it.source.is_empty(), "{it:?}");
                let texts = it.ports.iter().flatten().count();
                assert_eq!(it.ports().map_or(0, |ports| ports.len()), texts, "{it:?}");
                assert_ne!(it.ports, Some(Vec::new()), "{it:?} denies nothing");
            }
        }
        assert!(names.len() <= MAX_NAMES);
    }

    #[test]
    fn what_is_link_local_but_no_metadata_service_is_not_in_it() {
        let addresses: BTreeSet<IpAddr> = catalogue()
            .endpoints
            .iter()
            .flat_map(|it| &it.addresses)
            .map(|it| it.address)
            .collect();
        assert!(catalogue().reachable.len() > 8);
        for it in &catalogue().reachable {
            assert!(!addresses.contains(&it.address), "{}", it.what);
            assert!(!it.source.is_empty());
        }
    }

    #[test]
    fn addresses_are_those_that_clients_use() {
        for (address, cloud) in [
            ("169.254.169.254", "Google Cloud"),
            ("fd00:ec2::254", "AWS"),
            ("fd20:ce::254", "Google Cloud"),
            ("169.254.169.252", "Google Kubernetes Engine"),
            ("168.63.129.16", "Azure"),
            ("fd00:a9fe:a9fe::1", "Akamai"),
            ("fd00:c1::a9fe:a9fe", "OCI"),
            ("100.100.100.200", "Alibaba Cloud"),
        ] {
            let found = clouds(address.parse().unwrap()).unwrap();
            assert!(found.contains(cloud), "{address}: {found}");
        }
        assert_eq!(clouds([10, 0, 0, 1].into()), None);
    }
}
