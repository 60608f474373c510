//! The metadata firewall's catalogue: which addresses are cloud metadata services.
//!
//! The union is denied on every node: elsewhere these addresses mean nothing, and a lookup costs the same. Never a
//! whole range: NodeLocal DNS (169.254.20.10), EKS Pod Identity (169.254.170.23) and the addresses of some clouds'
//! pods are link-local too.

use std::net::IpAddr;

use ringfence_common::metadata::{layers, open};

/// Annotation by which a pod asks for metadata access.
pub const ACCESS_ANNOTATION: &str = "metadata.ringfence.dev/access";

/// An address of a cloud's metadata service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetadataEndpoint {
    /// Address.
    pub address: IpAddr,
    /// Who answers there.
    pub clouds: &'static str,
    /// [`open`]: what else answers there and stays reachable.
    pub open: u8,
}

/// (address, clouds, what stays open).
const CATALOGUE: &[(&str, &str, u8)] = &[
    // On Google Cloud the address is also the VPC's resolver and time server.
    (
        "169.254.169.254",
        "AWS, Azure, Google Cloud, OCI, OpenStack, Hetzner, Huawei, IBM, Exoscale, Vultr, UpCloud",
        open::DNS | open::NTP,
    ),
    ("fd00:ec2::254", "AWS", 0),
    ("169.254.170.2", "AWS ECS", 0),
    ("169.254.169.252", "GKE metadata server", 0),
    ("fd20:ce::254", "Google Cloud", open::DNS | open::NTP),
    // The fabric controller; it is also the resolver, and load balancer probes come from it.
    ("168.63.129.16", "Azure", open::DNS),
    ("100.100.100.200", "Alibaba Cloud", 0),
    ("fd00:c1::a9fe:a9fe", "OCI", 0),
    ("192.0.0.192", "OCI Classic", 0),
    ("169.254.0.23", "Tencent Cloud", 0),
    ("fe80::a9fe:a9fe", "OpenStack, Hetzner", 0),
    ("169.254.42.42", "Scaleway", 0),
    ("fd00:42::42", "Scaleway", 0),
];

/// The layers that the firewall stands in, by the words of flags, metrics and status, and their bits in the kernel's configuration.
pub const LAYERS: [(&str, u32); 5] = [
    ("from-pod", layers::FROM_POD),
    ("to-host", layers::TO_HOST),
    ("lo", layers::LO),
    ("socket-packets", layers::SOCKET_PACKETS),
    ("sockets", layers::SOCKETS),
];

/// The built-in catalogue.
#[must_use]
pub fn catalogue() -> Vec<MetadataEndpoint> {
    CATALOGUE
        .iter()
        .filter_map(|&(address, clouds, open)| {
            Some(MetadataEndpoint {
                address: address.parse().ok()?,
                clouds,
                open,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_catalogue_is_an_address() {
        assert_eq!(catalogue().len(), CATALOGUE.len());
    }

    #[test]
    fn what_is_link_local_but_no_metadata_service_is_not_in_it() {
        for other in [
            "169.254.20.10",
            "169.254.170.23",
            "fd00:ec2::23",
            "169.254.169.253",
        ] {
            let other: IpAddr = other.parse().unwrap();
            assert!(
                catalogue().iter().all(|endpoint| endpoint.address != other),
                "{other}"
            );
        }
    }
}
