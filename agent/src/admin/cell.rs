//! One cell of a decision table, as the command line reads it.

use ipnet::IpNet;
use ringfence_common::{
    Direction,
    cell::{Tier, Verdict},
};
use serde::{Deserialize, Serialize};

use crate::dataplane::{CellView, PortRun};

/// `/v1/cells`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CellRow {
    /// `namespace/name` of the pod.
    pub endpoint: String,
    /// `ingress` or `egress`.
    pub direction: String,
    /// Number of the table.
    pub table: u32,
    /// Element of the map `CELLS`.
    pub element: u32,
    /// Class of the peers; 0: everybody who is in no other.
    pub class: u32,
    /// Addresses and networks in that class.
    pub peers: Vec<IpNet>,
    /// Ports, such as `443/tcp` or `1024-65535/udp`; `other`: protocols without ports.
    pub ports: Vec<String>,
    /// `allow` or `deny`.
    pub verdict: String,
    /// What it would be with everything in audit enforced.
    pub staged: String,
    /// The tier that decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<String>,
    /// The rule that decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
}

impl From<&CellView> for CellRow {
    fn from(view: &CellView) -> Self {
        Self {
            endpoint: view.endpoint.clone(),
            direction: match view.direction {
                Direction::Ingress => "ingress",
                Direction::Egress => "egress",
            }
            .to_owned(),
            table: view.table,
            element: view.element,
            class: view.class,
            peers: view.peers.clone(),
            ports: ports(&view.ports),
            verdict: verdict(view.live),
            staged: verdict(view.staged),
            tier: view.tier.map(tier),
            rule: view.rule.clone(),
        }
    }
}

/// A cell that nobody wrote lets nothing through.
fn verdict(verdict: Option<Verdict>) -> String {
    match verdict {
        Some(Verdict::Allow) => "allow",
        Some(Verdict::Deny) | None => "deny",
    }
    .to_owned()
}

/// As the kinds call it.
fn tier(tier: Tier) -> String {
    match tier {
        Tier::Origin => "origin",
        Tier::Metadata => "metadata firewall",
        Tier::ZoneDeny => "ZonePolicy Deny",
        Tier::ZoneIsolation => "SecurityZone isolation",
        Tier::TenantStrict => "TenantIsolation Strict",
        Tier::ClusterAdmin => "ClusterNetworkPolicy Admin",
        Tier::NetworkPolicy => "NetworkPolicy",
        Tier::TenantOverridable => "TenantIsolation Overridable",
        Tier::ClusterBaseline => "ClusterNetworkPolicy Baseline",
        Tier::Default => "default",
    }
    .to_owned()
}

fn ports(runs: &[PortRun]) -> Vec<String> {
    let name = |run: &PortRun| match (run.protocol, run.first, run.last) {
        (None, ..) => "other".to_owned(),
        (Some(protocol), 0, u16::MAX) => protocol.as_str().to_lowercase(),
        (Some(protocol), first, last) if first == last => {
            format!("{first}/{}", protocol.as_str().to_lowercase())
        }
        (Some(protocol), first, last) => {
            format!("{first}-{last}/{}", protocol.as_str().to_lowercase())
        }
    };
    runs.iter().map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Protocol;

    #[test]
    fn ports_read_as_they_are_written() {
        let run = |first, last| PortRun {
            protocol: Some(Protocol::Tcp),
            first,
            last,
        };
        let runs = [PortRun::OTHER, run(0, 0xffff), run(443, 443), run(0, 79)];
        assert_eq!(ports(&runs), ["other", "tcp", "443/tcp", "0-79/tcp"]);
    }
}
