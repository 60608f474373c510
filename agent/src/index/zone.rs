//! Security zones.

use ipnet::IpNet;

use super::{
    check::Findings,
    policy::exact_network,
    selector,
    shared::{enforcement, workloads},
};
use crate::{
    api::{self, SecurityZone},
    model::{IntraZone, Members, Openness, Zone},
};

pub(super) fn convert(object: &SecurityZone, findings: &mut Findings<'_>) -> Zone {
    let spec = &object.spec;
    let mut members = Vec::new();
    for (index, member) in spec.members.iter().enumerate() {
        let field = format!("spec.members[{index}]");
        if let Some(pods) = &member.workloads {
            let at = format!("{field}.workloads");
            members.push(Members::Workloads(workloads(pods, &at, findings)));
        }
        if let Some(it) = &member.networks {
            let at = format!("{field}.networks");
            let cidrs = networks(&it.cidrs, &format!("{at}.cidrs"), findings);
            let except = it.except.as_deref().unwrap_or_default();
            let except = networks(except, &format!("{at}.except"), findings);
            members.push(Members::Networks { cidrs, except });
        }
        if let Some(nodes) = &member.nodes {
            let at = format!("{field}.nodes");
            members.push(Members::Nodes(selector::convert(nodes, &at, findings)));
        }
    }
    Zone {
        name: findings.read.key.name.clone(),
        members,
        ingress: openness(spec.ingress),
        egress: openness(spec.egress),
        intra_zone: match spec.intra_zone_traffic {
            api::IntraZoneTraffic::Allow => IntraZone::Allow,
            api::IntraZoneTraffic::Deny => IntraZone::Deny,
        },
        enforcement: enforcement(spec.enforcement),
        origin: findings.read.origin.clone(),
    }
}

const fn openness(openness: api::Openness) -> Openness {
    match openness {
        api::Openness::Open => Openness::Open,
        api::Openness::Isolated => Openness::Isolated,
    }
}

fn networks(texts: &[String], field: &str, findings: &mut Findings<'_>) -> Vec<IpNet> {
    let mut networks = Vec::new();
    for (index, text) in texts.iter().enumerate() {
        networks.extend(findings.check(&format!("{field}[{index}]"), exact_network(text)));
    }
    networks.sort_unstable();
    networks.dedup();
    networks
}
