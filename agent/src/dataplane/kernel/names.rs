//! What numbers in events mean, also those of rules and endpoints that are gone: events name them late.

use std::collections::BTreeMap;

use ringfence_common::cell::RuleId;

use crate::diff::{Installed, Op};

/// What numbers in events mean.
#[derive(Debug, Default)]
pub struct Names {
    /// Rules.
    pub rules: BTreeMap<RuleId, String>,
    /// Endpoints.
    pub endpoints: BTreeMap<u32, String>,
    /// Endpoints by the id of their cgroup.
    pub cgroups: BTreeMap<u64, String>,
}

impl Names {
    pub(super) fn learn(&mut self, ops: &[Op]) {
        for op in ops {
            match op {
                Op::Rule(id, name) => {
                    self.rules.insert(*id, name.clone());
                }
                Op::Name(id, name) => {
                    self.endpoints.insert(*id, pod_of(name).to_owned());
                }
                _ => {}
            }
        }
    }

    pub(super) fn learn_all(&mut self, installed: &Installed) {
        self.rules
            .extend(installed.rules.iter().map(|(name, &id)| (id, name.clone())));
        self.endpoints.extend(
            installed
                .names
                .iter()
                .map(|(name, &id)| (id, pod_of(name).to_owned())),
        );
    }
}

/// The pod in an endpoint's name.
fn pod_of(name: &str) -> &str {
    name.split_once(' ').map_or(name, |(pod, _uid)| pod)
}
