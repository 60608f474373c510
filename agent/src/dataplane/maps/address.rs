//! Addresses and networks: each family has maps of its own.

use aya::maps::lpm_trie::Key;
use ipnet::IpNet;
use ringfence_common::identity::{Identity, IdentityWord};

use super::{Maps, drop_key, gone, not_written, put};
use crate::dataplane::KernelError;

impl Maps {
    pub(super) fn address(&mut self, net: &IpNet, identity: Identity) -> Result<(), KernelError> {
        let exact = net.prefix_len() == net.max_prefix_len();
        match net {
            IpNet::V4(net) if exact => {
                let key = net.addr().octets();
                put(
                    &mut self.addresses4,
                    "ADDRESSES4",
                    key,
                    IdentityWord::v4(&key, identity),
                )
            }
            IpNet::V6(net) if exact => {
                let key = net.addr().octets();
                put(
                    &mut self.addresses6,
                    "ADDRESSES6",
                    key,
                    IdentityWord::v6(&key, identity),
                )
            }
            IpNet::V4(net) => {
                let key = Key::new(net.prefix_len().into(), net.network().octets());
                self.networks4
                    .insert(&key, identity, 0)
                    .map_err(|error| not_written("NETWORKS4", &error))
            }
            IpNet::V6(net) => {
                let key = Key::new(net.prefix_len().into(), net.network().octets());
                self.networks6
                    .insert(&key, identity, 0)
                    .map_err(|error| not_written("NETWORKS6", &error))
            }
        }
    }

    pub(super) fn remove_address(&mut self, net: &IpNet) -> Result<(), KernelError> {
        let exact = net.prefix_len() == net.max_prefix_len();
        match net {
            IpNet::V4(net) if exact => {
                drop_key(&mut self.addresses4, "ADDRESSES4", &net.addr().octets())
            }
            IpNet::V6(net) if exact => {
                drop_key(&mut self.addresses6, "ADDRESSES6", &net.addr().octets())
            }
            IpNet::V4(net) => {
                let key = Key::new(net.prefix_len().into(), net.network().octets());
                gone("NETWORKS4", self.networks4.remove(&key))
            }
            IpNet::V6(net) => {
                let key = Key::new(net.prefix_len().into(), net.network().octets());
                gone("NETWORKS6", self.networks6.remove(&key))
            }
        }
    }
}
