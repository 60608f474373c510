//! Plans one after the other.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Bits, Full, Installed, Limits, Plan, Wanted, diff, endpoints::granted, memory::Memory, step,
};
use crate::compile::{Access, Desired};

/// What the maps hold, and how the last state lies in them.
#[derive(Debug, Default)]
pub struct Planner {
    installed: Installed,
    /// Of the last state that was put in force; `None` if it is not known how it lies.
    memory: Option<Memory>,
}

impl Planner {
    /// Begins with what was read from the maps.
    #[must_use]
    pub const fn new(installed: Installed) -> Self {
        Self {
            installed,
            memory: None,
        }
    }

    /// What the maps hold.
    #[must_use]
    pub const fn installed(&self) -> &Installed {
        &self.installed
    }

    /// True if cgroups with this access have the grants that the maps hold.
    #[must_use]
    pub fn holds_grants(&self, wanted: &BTreeMap<u64, Arc<Access>>, desired: &Desired) -> bool {
        granted(wanted, &Bits::of(&self.installed, &desired.metadata)) == self.installed.grants
    }

    /// Which bit of a grant is which endpoint's; `None` while it is not known how things lie.
    #[must_use]
    pub fn bits(&self) -> Option<Bits> {
        let memory = self.memory.as_ref()?;
        Some(Bits::of(&self.installed, &memory.desired.metadata))
    }

    pub(super) const fn memory(&self) -> Option<&Memory> {
        self.memory.as_ref()
    }

    /// Plans the way to `wanted`. Costs what differs from the last state that was put in force, if there is one.
    ///
    /// # Errors
    ///
    /// [`Full`] if it does not fit. Then nothing has been planned: it is all or nothing.
    pub fn plan(&self, wanted: Wanted<'_>, limits: &Limits) -> Result<Plan, Full> {
        let step = self
            .memory
            .as_ref()
            .and_then(|memory| step::step(&self.installed, memory, wanted, limits));
        step.unwrap_or_else(|| diff(&self.installed, wanted, limits))
    }

    /// The plan has been carried out, all of it.
    pub fn done(&mut self, plan: Plan) {
        self.installed = plan.after;
        self.memory = Some(plan.memory);
    }

    /// A plan has not been carried out to its end; this is what the maps hold.
    pub fn lost(&mut self, installed: Installed) {
        *self = Self::new(installed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        compile::{Compiler, Options},
        model::{Labels, Located, Peer, Pod, PodKey, Policy, Ports, Rule, Selector, Snapshot},
    };

    fn pod(name: &str, last: u8, app: &str) -> (PodKey, Pod) {
        let key = PodKey {
            namespace: "shop".to_owned(),
            name: name.to_owned(),
        };
        let pod = Pod {
            key: key.clone(),
            labels: Labels::from([("app".to_owned(), app.to_owned())]),
            addresses: vec![[10, 0, 0, last].into()],
            ..Pod::default()
        };
        (key, pod)
    }

    fn policy(app: &str) -> Policy {
        let selector = |app: &str| Selector {
            requirements: [crate::model::Requirement {
                key: "app".to_owned(),
                operator: crate::model::Operator::In([app.to_owned()].into()),
            }]
            .into(),
        };
        let rule = Rule {
            peers: Some(vec![Peer::Pods {
                namespaces: None,
                pods: selector(app),
            }]),
            ports: Ports::Any,
        };
        Policy {
            key: crate::model::PolicyKey {
                namespace: "shop".to_owned(),
                name: "db".to_owned(),
            },
            subject: selector("db"),
            ingress: Some(vec![rule]),
            egress: None,
            enforcement: crate::model::Enforcement::Enforce,
            origin: crate::model::Origin::default(),
        }
    }

    /// Going on from what is remembered is not only possible, it is the very plan that a look at everything makes.
    #[test]
    fn what_differs_makes_the_plan_that_everything_makes() {
        let mut snapshot: Snapshot = Snapshot::default();
        snapshot.pods.extend([
            pod("db", 1, "db"),
            pod("web", 2, "web"),
            pod("job", 3, "job"),
        ]);
        let located = Located {
            ifindex: 7,
            interface: "veth7".to_owned(),
            hardware_address: None,
            addresses: Vec::new(),
        };
        snapshot.local.insert(pod("db", 1, "db").0, located);
        let policy = |app| {
            let policy = policy(app);
            (policy.key.clone(), policy)
        };
        snapshot.policies.extend([policy("web")]);
        let events: [fn(&mut Snapshot); 5] = [
            |it| it.pods.extend([pod("job", 3, "web")]),
            |it| it.pods.extend([pod("new", 4, "web")]),
            |it| drop(it.pods.remove(&pod("web", 2, "").0)),
            |it| it.pods.extend([pod("web", 4, "job"), pod("new", 2, "web")]),
            |it| drop(it.local.remove(&pod("db", 1, "").0)),
        ];
        let mut compiler = Compiler::new(Options::default());
        let grants = BTreeMap::new();
        let limits = Limits::default();
        let (desired, _) = compiler.update(&snapshot);
        let wanted = Wanted {
            desired: &desired,
            grants: &grants,
        };
        let mut planner = Planner::default();
        planner.done(planner.plan(wanted, &limits).unwrap());
        for (number, event) in events.into_iter().enumerate() {
            event(&mut snapshot);
            let (desired, _) = compiler.update(&snapshot);
            let wanted = Wanted {
                desired: &desired,
                grants: &grants,
            };
            let memory = planner.memory.as_ref().unwrap();
            let step = step::step(&planner.installed, memory, wanted, &limits);
            let step = step.expect("nothing is renumbered").unwrap();
            let whole = diff(&planner.installed, wanted, &limits).unwrap();
            assert_ne!(whole.ops, [], "event {number}");
            assert_eq!(step.ops, whole.ops, "event {number}");
            assert_eq!(step.after, whole.after, "event {number}");
            planner.done(step);
        }
    }
}
