//! Tier `NetworkPolicy`: the policies' rules in the compiler's terms.

use std::sync::Arc;

use ringfence_common::{Direction, cell::Tier};

use super::{
    address::canonical_net,
    counted::Counted,
    fact::{Fact, FactId, Facts, Scope},
    ruleset::{Action, NameId, Peers, PortSet, Rule, Ruleset, TierRules, Unmatched},
};
use crate::model::{
    ContainerPort, Diagnostic, Enforcement, IpBlock, Peer, Policy, PolicyKey, PortSpec, Ports,
    Protocol,
};

/// Bytes of a rule's name at most: what a value of the kernel's map of names holds.
const NAME_BYTES: usize = 380;

/// Names of rules, by number.
#[derive(Debug, Default)]
pub(super) struct RuleNames {
    counted: Counted<String>,
}

impl RuleNames {
    fn add(&mut self, object: &PolicyKey, rest: &str) -> NameId {
        self.counted.add(limited(object.to_string(), rest))
    }

    /// One user of a name more.
    pub(super) fn keep(&mut self, id: NameId) {
        self.counted.keep(id);
    }

    /// One user of a name less.
    pub(super) fn release(&mut self, id: NameId) {
        self.counted.release(id);
    }

    /// Forgets what nobody uses.
    pub(super) fn settle(&mut self) {
        self.counted.settle();
    }

    /// The name of this number.
    pub(super) fn get(&self, id: NameId) -> Option<&str> {
        self.counted.get(id).map(|name| name.as_str())
    }
}

/// The object's name and the rest; of an object's name that is too long, the beginning.
fn limited(mut object: String, rest: &str) -> String {
    if object.len() + 1 + rest.len() > NAME_BYTES {
        const CUT: &str = "…";
        let room = NAME_BYTES.saturating_sub(1 + rest.len() + CUT.len());
        object.truncate(object.floor_char_boundary(room));
        object.push_str(CUT);
    }
    format!("{object} {rest}")
}

/// One direction of a policy.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PolicyRules {
    key: PolicyKey,
    audit: bool,
    rules: Vec<Rule>,
}

impl PolicyRules {
    /// The rules of a policy for a direction; `None` if it does not isolate it.
    pub(super) fn new(
        key: &PolicyKey,
        policy: &Policy,
        direction: Direction,
        facts: &mut Facts,
        names: &mut RuleNames,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Option<Self> {
        let audit = policy.enforcement == Enforcement::Audit;
        let rules = policy.rules(direction)?.iter().enumerate().map(|(index, rule)| {
            let field = format!("spec.{}[{index}]", word(direction));
            let mut report = |field: String, message: String| {
                diagnostics.push(Diagnostic {
                    origin: policy.origin.clone(),
                    object: key.to_string(),
                    field,
                    message,
                });
            };
            let peers = match rule.peers.as_deref() {
                None | Some([]) => Peers::Everybody,
                Some(peers) => {
                    for (at, peer) in peers.iter().enumerate() {
                        let Peer::Block(block) = peer else { continue };
                        let side = if direction == Direction::Ingress { "from" } else { "to" };
                        check_block(block, |what| {
                            report(format!("{field}.{side}[{at}].ipBlock.except"), what);
                        });
                    }
                    any_of(peers, key, facts)
                }
            };
            for (at, port) in ports(&rule.ports).iter().enumerate() {
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
                ports: Arc::new(port_set(&rule.ports)),
                action: Action::Accept,
                name: names.add(key, &format!("{}[{index}]", word(direction))),
                audit,
            }
        });
        Some(Self {
            key: key.clone(),
            audit,
            rules: rules.collect(),
        })
    }

    /// Gives back what [`Self::new`] has taken.
    pub(super) fn release(&self, facts: &mut Facts, names: &mut RuleNames) {
        for rule in &self.rules {
            names.release(rule.name);
            if let Peers::AnyOf(any) = &rule.peers {
                any.iter().for_each(|&fact| facts.release(fact));
            }
        }
    }

    /// Ports that the rules name.
    pub(super) fn named_ports(&self) -> impl Iterator<Item = &(Protocol, String)> {
        self.rules.iter().flat_map(|rule| rule.ports.named())
    }
}

/// What of a container's ports the rules can tell apart: names, protocols and numbers of those that are asked for.
pub(super) type ResolvedPorts = Vec<(Protocol, String, u16)>;

/// The ports of a pod that have a name which is asked for; sorted, each once.
///
/// A name that several containers use for one protocol stands for the ports of all of them.
pub(super) fn resolve<'a>(
    asked: impl Iterator<Item = &'a (Protocol, String)>,
    ports: &[ContainerPort],
) -> ResolvedPorts {
    let mut resolved: ResolvedPorts = asked
        .flat_map(|(protocol, name)| {
            ports
                .iter()
                .filter(move |port| {
                    port.protocol == *protocol && port.name.as_deref() == Some(name.as_str())
                })
                .map(|port| (*protocol, name.clone(), port.port))
        })
        .collect();
    resolved.sort_unstable();
    resolved.dedup();
    resolved
}

/// The ruleset of a subject that these policies select.
///
/// `own` are the subject's own ports, for a direction in which it is the destination.
pub(super) fn ruleset(
    policies: &[&PolicyRules],
    direction: Direction,
    own: &ResolvedPorts,
    names: &mut RuleNames,
) -> Ruleset {
    let mut rules = Vec::new();
    for rule in policies.iter().flat_map(|policy| &policy.rules) {
        let mut rule = rule.clone();
        if direction == Direction::Ingress && !rule.ports.named().is_empty() {
            rule.ports = Arc::new(with_own_ports(&rule.ports, own));
        }
        rules.push(rule);
    }
    let enforced: Vec<&PolicyRules> = policies.iter().copied().filter(|it| !it.audit).collect();
    let live = isolation(&enforced, direction, names);
    let staged = if enforced.len() == policies.len() {
        live
    } else {
        isolation(policies, direction, names)
    };
    // What is released is what was taken: one use for each.
    if enforced.len() == policies.len()
        && let Some(name) = staged
    {
        names.keep(name);
    }
    let unmatched = Unmatched { live, staged };
    Ruleset {
        tiers: vec![TierRules {
            tier: Tier::NetworkPolicy,
            rules,
            unmatched,
        }],
    }
}

/// Gives back what [`ruleset`] has taken.
pub(super) fn release(ruleset: &Ruleset, names: &mut RuleNames) {
    for tier in &ruleset.tiers {
        for name in [tier.unmatched.live, tier.unmatched.staged]
            .into_iter()
            .flatten()
        {
            names.release(name);
        }
    }
}

/// The name of the isolation by these policies; `None` if there are none.
fn isolation(
    policies: &[&PolicyRules],
    direction: Direction,
    names: &mut RuleNames,
) -> Option<NameId> {
    let first = policies.first()?;
    let rest = match policies.len() - 1 {
        0 => format!("{}: no rule matches", word(direction)),
        more => format!("{}: no rule matches (+{more} more)", word(direction)),
    };
    Some(names.add(&first.key, &rest))
}

const fn word(direction: Direction) -> &'static str {
    match direction {
        Direction::Ingress => "ingress",
        Direction::Egress => "egress",
    }
}

fn any_of(peers: &[Peer], policy: &PolicyKey, facts: &mut Facts) -> Peers {
    let mut any: Vec<FactId> = peers
        .iter()
        .map(|peer| {
            facts.intern(match peer {
                Peer::Pods { namespaces, pods } => Fact::Pods {
                    namespaces: match namespaces {
                        Some(selector) => Scope::Selected(selector.clone()),
                        None => Scope::Named(policy.namespace.clone()),
                    },
                    pods: pods.clone(),
                },
                Peer::Block(block) => Fact::block(block),
            })
        })
        .collect();
    any.sort_unstable();
    any.dedup_by(|one, other| {
        let same = one == other;
        if same {
            facts.release(*one);
        }
        same
    });
    Peers::AnyOf(any.into())
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

fn ports(ports: &Ports) -> &[PortSpec] {
    match ports {
        Ports::Any => &[],
        Ports::Of(of) => of,
    }
}

fn port_set(spec: &Ports) -> PortSet {
    let Ports::Of(of) = spec else {
        return PortSet::Any;
    };
    let mut ranges = Vec::new();
    let mut named = Vec::new();
    for port in of {
        match port {
            &PortSpec::All(protocol) => ranges.push((protocol, 0, u16::MAX)),
            &PortSpec::Range(protocol, first, last) => ranges.push((protocol, first, last)),
            PortSpec::Named(protocol, name) => named.push((*protocol, name.clone())),
        }
    }
    PortSet::of(&ranges, named)
}

/// The set with its names replaced by what they are on the subject; a name that is nothing there matches nothing.
fn with_own_ports(set: &PortSet, own: &ResolvedPorts) -> PortSet {
    let PortSet::Of { ranges, named } = set else {
        return PortSet::Any;
    };
    let mut all: Vec<(Protocol, u16, u16)> = Protocol::ALL
        .iter()
        .zip(ranges)
        .flat_map(|(&protocol, runs)| {
            runs.iter()
                .map(move |&(first, last)| (protocol, first, last))
        })
        .collect();
    let asked = |protocol: Protocol, name: &String| {
        named.iter().any(|(of, it)| *of == protocol && it == name)
    };
    all.extend(
        own.iter()
            .filter(|(protocol, name, _)| asked(*protocol, name))
            .map(|&(protocol, _, number)| (protocol, number, number)),
    );
    PortSet::of(&all, Vec::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_and_keep_the_rule() {
        let name =
            |length: usize| limited("ä".repeat(length), "ingress: no rule matches (+12 more)");
        assert_eq!(name(3), "äää ingress: no rule matches (+12 more)");
        let long = name(1000);
        assert!(
            long.len() <= NAME_BYTES && long.len() > NAME_BYTES - 3,
            "{}",
            long.len()
        );
        assert!(long.ends_with("ä… ingress: no rule matches (+12 more)"));
    }
}
