//! Tier `NetworkPolicy`: a policy's rules in the compiler's terms.

use std::sync::Arc;

use ringfence_common::{Direction, cell::Tier};

use super::{
    address::canonical_net,
    fact::{Fact, FactId, Facts, Scope},
    names::RuleNames,
    part::Part,
    policies::Compile,
    ports,
    ruleset::{Action, Counts, Peers, Rule},
};
use crate::model::{Diagnostic, Enforcement, IpBlock, Peer, Policy, PolicyKey, PortSpec};

impl Compile for Policy {
    /// The rules of a direction; none if the policy does not isolate it.
    fn parts(
        &self,
        direction: Direction,
        facts: &mut Facts,
        names: &mut RuleNames,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Vec<Part> {
        let part = part(self, direction, facts, names, diagnostics);
        part.into_iter().collect()
    }
}

fn part(
    policy: &Policy,
    direction: Direction,
    facts: &mut Facts,
    names: &mut RuleNames,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Part> {
    let counts = counts(policy.enforcement)?;
    let key = &policy.key;
    let object = key.to_string();
    let rules = policy
        .rules(direction)?
        .iter()
        .enumerate()
        .map(|(index, rule)| {
            let field = format!("spec.{}[{index}]", word(direction));
            let mut report = |field: String, message: String| {
                diagnostics.push(Diagnostic {
                    origin: policy.origin.clone(),
                    object: object.clone(),
                    field,
                    message,
                });
            };
            let peers = match rule.peers.as_deref() {
                None | Some([]) => Peers::Everybody,
                Some(peers) => {
                    for (at, peer) in peers.iter().enumerate() {
                        let Peer::Block(block) = peer else { continue };
                        let side = if direction == Direction::Ingress {
                            "from"
                        } else {
                            "to"
                        };
                        check_block(block, |what| {
                            report(format!("{field}.{side}[{at}].ipBlock.except"), what);
                        });
                    }
                    any_of(peers.iter().map(|peer| fact(peer, key)), facts)
                }
            };
            for (at, port) in ports::listed(&rule.ports).iter().enumerate() {
                if let &PortSpec::Range(_, first, last) = port
                    && first > last
                {
                    report(
                        format!("{field}.ports[{at}].endPort"),
                        format!(
                            "endPort {last} is less than port {first}: this entry matches nothing; \
                         give an endPort from {first} to 65535"
                        ),
                    );
                }
            }
            Rule {
                peers,
                only: [].into(),
                ports: Arc::new(ports::set(&rule.ports)),
                except: [].into(),
                action: Action::Accept,
                name: names.add(&object, &format!("{}[{index}]", word(direction))),
                counts,
            }
        });
    let rules = rules.collect();
    Some(Part {
        object,
        tier: Tier::NetworkPolicy,
        direction,
        rules,
        isolates: Some(counts),
    })
}

/// Which verdicts count an object; `None` if none does.
pub(super) const fn counts(enforcement: Enforcement) -> Option<Counts> {
    match enforcement {
        Enforcement::Enforce => Some(Counts::Both),
        Enforcement::Audit => Some(Counts::Staged),
        Enforcement::Disabled => None,
    }
}

/// A direction as policies call it.
pub(super) const fn word(direction: Direction) -> &'static str {
    match direction {
        Direction::Ingress => "ingress",
        Direction::Egress => "egress",
    }
}

/// Those of whom any of these facts holds.
pub(super) fn any_of(of: impl Iterator<Item = Fact>, facts: &mut Facts) -> Peers {
    Peers::AnyOf(interned(of, facts).into())
}

/// The numbers of these facts: sorted, each once.
pub(super) fn interned(of: impl Iterator<Item = Fact>, facts: &mut Facts) -> Vec<FactId> {
    let mut any: Vec<FactId> = of.map(|fact| facts.intern(fact)).collect();
    any.sort_unstable();
    any.dedup_by(|one, other| {
        let same = one == other;
        if same {
            facts.release(*one);
        }
        same
    });
    any
}

fn fact(peer: &Peer, policy: &PolicyKey) -> Fact {
    match peer {
        Peer::Pods { namespaces, pods } => {
            let namespaces = match namespaces {
                Some(selector) => Scope::Selected(selector.clone()),
                None => Scope::Named(policy.namespace.clone()),
            };
            Fact::pods(namespaces, pods.clone())
        }
        Peer::Block(block) => Fact::block(block),
    }
}

fn check_block(block: &IpBlock, mut report: impl FnMut(String)) {
    for except in &block.except {
        let cidr = canonical_net(block.cidr);
        if !cidr.contains(&canonical_net(*except)) {
            report(format!(
                "{except} does not lie within {cidr}: only what overlaps is left out; \
                 name networks within {cidr}"
            ));
        }
    }
}
