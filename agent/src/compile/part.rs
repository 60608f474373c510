//! Parts of rulesets: what one object, or one layer, says to some subjects in one direction.

use ringfence_common::{Direction, cell::Tier};

use super::{
    counted::{Counted, Settled},
    fact::Facts,
    names::RuleNames,
    ruleset::{Counts, Rule},
};
use crate::model::Protocol;

/// Number of a part; none is given out twice.
pub(super) type PartId = usize;

/// One tier's rules of an object for a direction.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Part {
    /// The object, or what stands for several.
    pub(super) object: String,
    /// Where they stand.
    pub(super) tier: Tier,
    /// Ports' names are the subject's own in one direction, and the peer's in the other.
    pub(super) direction: Direction,
    /// The first that matches decides.
    pub(super) rules: Vec<Rule>,
    /// Verdicts for which what no rule of this tier allows is denied.
    pub(super) isolates: Option<Counts>,
}

impl Part {
    /// Ports that the rules name.
    pub(super) fn named_ports(&self) -> impl Iterator<Item = &(Protocol, String)> {
        self.rules.iter().flat_map(|rule| rule.ports.named())
    }

    /// Gives back the facts and names that its rules have.
    pub(super) fn release(&self, facts: &mut Facts, names: &mut RuleNames) {
        for rule in &self.rules {
            names.release(rule.name);
            let asked = rule.all_peers().flat_map(super::ruleset::Peers::facts);
            asked.for_each(|fact| facts.release(fact));
        }
    }
}

/// Parts, each once, as long as somebody has them.
#[derive(Debug, Default)]
pub(super) struct Parts {
    counted: Counted<Part>,
    /// Names of ports that rules for what goes out ask peers for.
    pub(super) asked_ports: Counted<(Protocol, String)>,
}

impl Parts {
    /// The part's number, used once more; the facts and names of its rules are its own from now on.
    pub(super) fn add(&mut self, part: Part, facts: &mut Facts, names: &mut RuleNames) -> PartId {
        if let Some(number) = self.counted.number(&part) {
            part.release(facts, names);
            self.counted.keep(number);
            return number;
        }
        if part.direction == Direction::Egress {
            for name in part.named_ports() {
                self.asked_ports.add(name.clone());
            }
        }
        self.counted.add(part)
    }

    /// One user less.
    pub(super) fn release(&mut self, id: PartId) {
        self.counted.release(id);
    }

    /// The part of this number.
    pub(super) fn get(&self, id: PartId) -> Option<&Part> {
        self.counted.get(id).map(|part| &**part)
    }

    /// Forgets what nobody has.
    pub(super) fn settle(&mut self, facts: &mut Facts, names: &mut RuleNames) {
        let Settled {
            dead, stillborn, ..
        } = self.counted.settle();
        for part in dead.iter().map(|(_, part)| part).chain(&stillborn) {
            part.release(facts, names);
            if part.direction == Direction::Egress {
                for name in part.named_ports() {
                    if let Some(number) = self.asked_ports.number(name) {
                        self.asked_ports.release(number);
                    }
                }
            }
        }
    }
}
