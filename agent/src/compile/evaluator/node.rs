//! The node itself as a subject.

use std::net::IpAddr;

use super::{Evaluator, Selected};
use crate::compile::{
    address::is_link_local,
    layer::{ByFamily, TowardsHost, family},
    policies::{DIRECTIONS, Source},
    rulesets::RulesetId,
    zones::InZones,
};

impl Evaluator {
    /// The node's rulesets; `None` if it is not judged at all.
    pub(in crate::compile) fn rulesets_of_host(&self) -> Option<[Option<RulesetId>; 2]> {
        let (_, selected) = self.of_host.as_ref()?;
        Some(selected.rulesets)
    }

    /// Gives the node what its zones say, if that has changed: `layer` says that zones say something else.
    pub(super) fn select_host(&mut self, layer: bool) {
        let Some(host) = self.host.take() else {
            return;
        };
        let zones = self.zones_of_host();
        if layer
            || self
                .of_host
                .as_ref()
                .is_none_or(|(before, _)| *before != zones)
        {
            let before = self.of_host.take();
            let standing = self.layer.standing_of_node(zones.clone());
            if let Some(standing) = standing {
                let towards = TowardsHost {
                    towards: self.layer.towards(&standing),
                    host: &host,
                };
                let compiled = self.policies.get(
                    &Source::Node(standing.clone()),
                    &towards,
                    &mut self.parts,
                    &mut self.facts,
                    &mut self.names,
                );
                let rulesets = DIRECTIONS.map(|direction| {
                    let parts = compiled.parts[direction as usize].clone();
                    self.rulesets
                        .add(parts, direction, &[], &self.parts, &mut self.names)
                });
                let policies = vec![compiled];
                self.of_host = Some((zones, Selected { policies, rulesets }));
            }
            if let Some((_, before)) = before {
                for ruleset in before.rulesets.into_iter().flatten() {
                    self.rulesets.release(ruleset);
                }
                for policy in before.policies {
                    let source = policy.source.clone();
                    drop(policy);
                    self.policies.drop_unused(&source);
                }
            }
        }
        self.host = Some(host);
    }

    /// The zones that the node is in, by family of its addresses: those whose nodes it is one of, else those of the addresses
    /// that its object names (all of its own, if none is named), for a packet to any of them reaches it.
    fn zones_of_host(&self) -> ByFamily {
        let mut zones = ByFamily::default();
        let own = || {
            self.snapshot
                .node_addresses
                .iter()
                .map(IpAddr::to_canonical)
        };
        let named = own().any(|address| self.nodes.is_named(address));
        for address in own() {
            let counts = !named || self.nodes.is_named(address);
            if !counts || address.is_loopback() || is_link_local(address) {
                continue;
            }
            let of_node = self.zones.of_node(self.nodes.labels(address));
            let now = of_node.or(&self.zones.of_net(address.into()));
            let family = &mut zones[family(address)];
            *family = Some(match family.take() {
                Some(others) => others.and(&now),
                None => now,
            });
        }
        if zones == ByFamily::default() {
            zones = ByFamily::default().map(|_| Some(InZones::default()));
        }
        zones
    }
}
