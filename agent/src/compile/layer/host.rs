//! The node itself: zones and their policies, and what none of them closes.
//!
//! Tenants, and the policies of applications and of the cluster, are about pods.

use std::sync::Arc;

use ringfence_common::{Direction, cell::Tier};

use super::{
    Towards,
    draft::{Draft, Others, everybody_in},
};
use crate::{
    compile::{
        fact::{Fact, Facts},
        names::RuleNames,
        part::Part,
        policies::Compile,
        ports,
        ruleset::{Action, Counts, Rule},
        zones::VIEWS,
    },
    model::{Diagnostic, Failsafe, FailsafePeers, Host, Selector},
};

/// What zones say to the node itself.
pub(in crate::compile) struct TowardsHost<'a> {
    /// What they say to whoever stands so.
    pub(in crate::compile) towards: Towards<'a>,
    /// How the node is judged.
    pub(in crate::compile) host: &'a Host,
}

impl Compile for TowardsHost<'_> {
    fn parts(
        &self,
        direction: Direction,
        facts: &mut Facts,
        names: &mut RuleNames,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Vec<Part> {
        let said = self.towards.parts(direction, facts, names, diagnostics);
        let (mut parts, others): (Vec<Part>, Vec<Part>) = said
            .into_iter()
            .partition(|part| matches!(part.tier, Tier::ZoneDeny | Tier::ZoneIsolation));
        others.iter().for_each(|part| part.release(facts, names));
        if parts.is_empty() {
            return parts;
        }
        let mut rules = self.acknowledged(direction, facts, names);
        let of_node = self.host.failsafe.iter();
        let of_node = of_node.filter(|failsafe| failsafe.direction == direction);
        rules.extend(of_node.map(|failsafe| accept(failsafe, facts, names)));
        parts.insert(
            0,
            Part {
                object: "node".to_owned(),
                tier: Tier::Origin,
                direction,
                rules,
                isolates: None,
            },
        );
        if self.host.audit {
            for part in &mut parts {
                stage(part, facts, names);
            }
        }
        parts
    }
}

impl TowardsHost<'_> {
    /// Denials that close even what else nobody closes, on those ports.
    fn acknowledged(
        &self,
        direction: Direction,
        facts: &mut Facts,
        names: &mut RuleNames,
    ) -> Vec<Rule> {
        let yielding: Vec<&Failsafe> = self
            .host
            .failsafe
            .iter()
            .filter(|it| it.yields && it.direction == direction)
            .collect();
        if yielding.is_empty() {
            return Vec::new();
        }
        let [live, staged] = VIEWS.map(|view| self.towards.acknowledged(direction, view));
        let mut put = |drafts: &[Draft<'_>], counts| {
            let mut rules = Vec::new();
            for draft in drafts {
                for failsafe in &yielding {
                    let both = ports::set(draft.ports).and(&ports::set(&failsafe.ports));
                    if let Some(both) = both {
                        let mut rule = draft.rule(counts, facts, names);
                        rule.ports = Arc::new(both);
                        rules.push(rule);
                    }
                }
            }
            rules
        };
        if live == staged {
            return put(&live, Counts::Both);
        }
        let mut rules = put(&live, Counts::Live);
        rules.extend(put(&staged, Counts::Staged));
        rules
    }
}

/// Has a part count for the staged verdict only.
fn stage(part: &mut Part, facts: &mut Facts, names: &mut RuleNames) {
    let rules = std::mem::take(&mut part.rules);
    let (live, mut staged): (Vec<Rule>, Vec<Rule>) = rules
        .into_iter()
        .partition(|rule| rule.counts == Counts::Live);
    part.rules = live;
    part.release(facts, names);
    for rule in &mut staged {
        rule.counts = Counts::Staged;
    }
    part.rules = staged;
}

fn accept(failsafe: &Failsafe, facts: &mut Facts, names: &mut RuleNames) -> Rule {
    let others = match failsafe.peers {
        FailsafePeers::Any => Others::All,
        FailsafePeers::Nodes => Others::any_of([Fact::Nodes(Selector::default())]),
        FailsafePeers::Cluster => Others::any_of([Fact::Cluster]),
        FailsafePeers::Network(network) => Others::any_of([everybody_in(network)]),
    };
    let draft = Draft {
        others,
        only: Vec::new(),
        ports: &failsafe.ports,
        except: Vec::new(),
        action: Action::Accept,
        object: "failsafe".to_owned(),
        rest: failsafe.name.clone(),
    };
    draft.rule(Counts::Both, facts, names)
}
