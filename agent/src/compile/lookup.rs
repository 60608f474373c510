//! Reads [`Desired`] as the kernel reads its maps.

use std::net::IpAddr;

use ipnet::IpNet;
use ringfence_common::Direction;

use super::{Desired, DesiredCell, Table, address::shortened, ruleset::Port};
use crate::model::PodKey;

impl Desired {
    /// What a pod's table says about a peer's address and the destination's (protocol, port), `None` for a
    /// protocol without ports. `None` if the pod is no endpoint or has no table in this direction.
    #[must_use]
    pub fn cell(
        &self,
        pod: &PodKey,
        direction: Direction,
        peer: IpAddr,
        port: Port,
    ) -> Option<DesiredCell> {
        let endpoint = self.endpoints.get(pod)?;
        let table = match direction {
            Direction::Ingress => endpoint.ingress,
            Direction::Egress => endpoint.egress,
        };
        self.tables.get(&table?)?.cell(self.signature(peer), port)
    }

    /// Number of an address's signature: that of its longest network.
    #[must_use]
    pub fn signature(&self, address: IpAddr) -> usize {
        let net = IpNet::from(address.to_canonical());
        let longest = (0..=net.prefix_len()).rev();
        longest
            .map(|length| shortened(net, length))
            .find_map(|it| self.addresses.get(&it))
            .map_or(0, |&it| it)
    }
}

impl Table {
    /// The cell of a signature and port.
    #[must_use]
    pub fn cell(&self, signature: usize, port: Port) -> Option<DesiredCell> {
        let row = self.rows.get(self.class(signature))?;
        row.get(self.column(port)).copied()
    }

    /// The column of a port.
    #[must_use]
    pub fn column(&self, port: Port) -> usize {
        let Some((protocol, number)) = port else {
            return 0;
        };
        let runs = &self.ports[protocol as usize];
        let after = runs.partition_point(|&(first, _)| first <= number);
        after.checked_sub(1).map_or(0, |run| runs[run].1)
    }
}
