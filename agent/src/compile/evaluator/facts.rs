//! What rules ask about peers, and of whom it holds.

use std::{collections::BTreeSet, sync::Arc};

use ipnet::IpNet;

use super::{Evaluator, Stale, Touched};
use crate::{
    compile::{
        blocks,
        counted::Settled,
        fact::{Fact, FactId, Scope, bare_namespace, is_of_accounts},
        ports,
        world::{GroupId, Kind},
    },
    model::{Labels, Protocol},
};

/// As many new and gone facts about pods as are looked up one by one; if there are more, every pod is asked anew.
const FEW: usize = 32;

impl Evaluator {
    /// Files new facts and forgets those that nobody asks for; whom they are about is stale.
    pub(super) fn settle_facts(&mut self, stale: &mut Stale, touched: &mut Touched) {
        let Settled { born, dead, .. } = self.facts.settle();
        let born: Vec<(FactId, Arc<Fact>)> = born
            .into_iter()
            .filter_map(|id| Some((id, self.facts.shared(id)?)))
            .collect();
        for (id, fact) in &born {
            self.peers.insert(*id, fact);
            if let Fact::Block(block) = &**fact {
                self.blocks.insert(*id, block);
            }
        }
        for (id, fact) in &dead {
            self.peers.remove(*id, fact);
            if let Fact::Block(block) = &**fact {
                self.blocks.remove(*id, block);
            }
        }
        let changed: Vec<&Fact> = born.iter().chain(&dead).map(|(_, fact)| &**fact).collect();
        for (id, fact) in &dead {
            if let Fact::Nodes(_) = **fact {
                self.of_nodes.remove(id);
            }
        }
        for (id, fact) in &born {
            if let Fact::Nodes(selector) = &**fact {
                self.of_nodes.insert(*id, selector.clone());
            }
        }
        for fact in &changed {
            match fact {
                Fact::Block(block) => {
                    touched.nets.extend(blocks::named(block));
                    touched.blocks.push(block.cidr);
                }
                Fact::Nodes(_) => {
                    touched.nets.extend(self.nodes.addresses().map(IpNet::from));
                }
                Fact::Cluster => {
                    touched.nets.extend(self.nodes.addresses().map(IpNet::from));
                    let disputed = self.world.disputed();
                    touched.nets.extend(disputed.map(IpNet::from));
                    stale.facts.extend(self.world.groups().map(|(id, _)| id));
                }
                // Of whom zones are is told where they change.
                Fact::Pod
                | Fact::Encapsulates
                | Fact::Pods { .. }
                | Fact::Zone { .. }
                | Fact::Zoned(_)
                | Fact::Port { .. } => {}
            }
        }
        let of_pods: Vec<&Fact> = changed
            .into_iter()
            .filter(|fact| matches!(fact, Fact::Pods { .. }))
            .collect();
        if of_pods.len() > FEW {
            stale.facts.extend(self.world.groups().map(|(id, _)| id));
        } else {
            for fact in of_pods {
                stale.facts.extend(self.groups_with(fact));
            }
        }
        let Settled { born, dead, .. } = self.parts.asked_ports.settle();
        let names = born
            .iter()
            .filter_map(|&number| self.parts.asked_ports.get(number));
        let names: BTreeSet<&(Protocol, String)> = names
            .map(|name| &**name)
            .chain(dead.iter().map(|(_, name)| &**name))
            .collect();
        if !names.is_empty() {
            let groups = self.world.groups().filter(|(_, group)| {
                group.kind.ports.iter().any(|port| {
                    port.name.as_ref().is_some_and(|name| {
                        names
                            .iter()
                            .any(|it| it.0 == port.protocol && it.1 == *name)
                    })
                })
            });
            stale.facts.extend(groups.map(|(id, _)| id));
        }
    }

    /// Groups of which a fact about pods holds.
    fn groups_with(&self, fact: &Fact) -> Vec<GroupId> {
        let Fact::Pods {
            namespaces,
            pods,
            accounts,
        } = fact
        else {
            return Vec::new();
        };
        let names: Vec<&str> = match namespaces {
            Scope::Named(name) => vec![name],
            Scope::Selected(selector) => self
                .world
                .namespaces()
                .filter(|name| selector.matches(&self.labels_of(name)))
                .collect(),
        };
        names
            .into_iter()
            .flat_map(|name| self.world.groups_in(name))
            .filter(|&id| {
                self.world.group(id).is_some_and(|group| {
                    let Kind {
                        labels, account, ..
                    } = &*group.kind;
                    pods.matches(labels) && is_of_accounts(account, accounts)
                })
            })
            .collect()
    }

    /// Asks what holds of a group's pods, whatever their address.
    pub(super) fn ask(&mut self, id: GroupId, touched: &mut Touched) {
        let Some(group) = self.world.group(id) else {
            return;
        };
        let kind = &group.kind;
        let of_namespace = self.labels_of(&kind.namespace);
        let namespace = (kind.namespace.as_str(), &of_namespace);
        let mut facts = self
            .peers
            .matching(&self.facts, namespace, &kind.labels, &kind.account);
        let asked = kind.ports.iter().filter_map(|port| {
            let asked = (port.protocol, port.name.clone()?);
            self.parts.asked_ports.number(&asked).map(|_| asked)
        });
        let asked: BTreeSet<(Protocol, String)> = asked.collect();
        for (protocol, name, number) in ports::resolve(asked.iter(), &kind.ports) {
            facts.push(self.facts.intern(Fact::Port {
                protocol,
                name,
                number,
            }));
        }
        facts.push(self.pod);
        let firewall = self.snapshot.firewalls.values().next();
        if firewall.is_some_and(|it| it.lets_encapsulate(&of_namespace, &kind.labels)) {
            facts.push(self.encapsulates);
        }
        facts.extend(self.facts.number(&Fact::Cluster));
        facts.sort_unstable();
        let before = self.pod_facts.insert(id, facts);
        if before.as_ref() != self.pod_facts.get(&id) {
            let addresses = group.addresses.iter().copied();
            touched.nets.extend(addresses.map(IpNet::from));
        }
        self.release_ports(before.as_deref().unwrap_or_default());
    }

    pub(super) fn forget(&mut self, id: GroupId) {
        let facts = self.pod_facts.remove(&id).unwrap_or_default();
        self.release_ports(&facts);
        self.in_zones.remove(&id);
        self.overlapping.remove(&id);
        self.world.forget(id);
    }

    fn release_ports(&mut self, facts: &[FactId]) {
        for &fact in facts {
            if matches!(self.facts.get(fact), Some(Fact::Port { .. })) {
                self.facts.release(fact);
            }
        }
    }

    pub(super) fn labels_of(&self, namespace: &str) -> Labels {
        match self.snapshot.namespaces.get(namespace) {
            Some(namespace) => namespace.labels.clone(),
            None => bare_namespace(namespace),
        }
    }
}
