//! Tiers `ClusterAdmin` and `ClusterBaseline`: a cluster network policy's rules in the compiler's terms.

use std::sync::Arc;

use ringfence_common::{Direction, cell::Tier};

use super::{
    fact::{Fact, Facts, Scope},
    names::RuleNames,
    netpol::{any_of, counts, word},
    part::Part,
    policies::Compile,
    ports,
    ruleset::{Action, Rule},
};
use crate::model::{ClusterAction, ClusterPeer, ClusterPolicy, ClusterTier, Diagnostic, IpBlock};

impl Compile for ClusterPolicy {
    /// The rules of a direction; none if it has none.
    fn parts(
        &self,
        direction: Direction,
        facts: &mut Facts,
        names: &mut RuleNames,
        _diagnostics: &mut Vec<Diagnostic>,
    ) -> Vec<Part> {
        part(self, direction, facts, names).into_iter().collect()
    }
}

fn part(
    policy: &ClusterPolicy,
    direction: Direction,
    facts: &mut Facts,
    names: &mut RuleNames,
) -> Option<Part> {
    let counts = counts(policy.enforcement)?;
    let rules = match direction {
        Direction::Ingress => &policy.ingress,
        Direction::Egress => &policy.egress,
    };
    if rules.is_empty() {
        return None;
    }
    let object = format!("ClusterNetworkPolicy/{}", policy.name);
    let rules = rules.iter().enumerate().map(|(index, rule)| {
        let mut rest = format!("{}[{index}]", word(direction));
        if !rule.name.is_empty() {
            rest = format!("{rest} {}", rule.name);
        }
        Rule {
            peers: any_of(rule.peers.iter().map(fact), facts),
            only: [].into(),
            ports: Arc::new(ports::set(&rule.ports)),
            except: [].into(),
            action: match rule.action {
                ClusterAction::Accept => Action::Accept,
                ClusterAction::Deny => Action::Deny,
                ClusterAction::Pass => Action::Pass,
            },
            name: names.add(&object, &rest),
            counts,
        }
    });
    let rules = rules.collect();
    Some(Part {
        object,
        tier: match policy.tier {
            ClusterTier::Admin => Tier::ClusterAdmin,
            ClusterTier::Baseline => Tier::ClusterBaseline,
        },
        direction,
        rules,
        isolates: None,
    })
}

fn fact(peer: &ClusterPeer) -> Fact {
    match peer {
        ClusterPeer::Pods { namespaces, pods } => {
            Fact::pods(Scope::Selected(namespaces.clone()), pods.clone())
        }
        ClusterPeer::Nodes(selector) => Fact::Nodes(selector.clone()),
        &ClusterPeer::Network(cidr) => Fact::block(&IpBlock {
            cidr,
            except: Vec::new(),
        }),
    }
}
