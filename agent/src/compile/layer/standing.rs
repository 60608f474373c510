//! How a subject stands with zones and tenants: all that they ask of it.

use std::net::IpAddr;

use super::Layer;
use crate::{
    compile::{
        ruleset::View,
        zones::{InZones, ZoneNames, is_one_of},
    },
    model::{Canary, Labels, Workloads},
};

/// A subject's zones by family of its addresses; `None` for a family that it has no address of.
pub(in crate::compile) type ByFamily = [Option<InZones>; 2];

/// A subject, as far as zones and tenants are concerned.
pub(in crate::compile) struct Subject<'a> {
    /// Its zones.
    pub(in crate::compile) zones: ByFamily,
    /// Labels of its namespace.
    pub(in crate::compile) namespace: &'a Labels,
    /// Its labels.
    pub(in crate::compile) labels: &'a Labels,
    /// Its service account.
    pub(in crate::compile) account: &'a str,
}

/// How a subject stands: whoever stands alike gets the same rules.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::compile) struct Standing {
    pub(super) zones: ByFamily,
    /// For each policy: its canary is about the subject.
    pub(super) canaries: Vec<bool>,
    pub(super) tenants: Vec<Tenancy>,
}

/// How a subject stands with one `TenantIsolation`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Tenancy {
    /// Its tenant; empty for those without one.
    pub(super) tenant: String,
    /// Its namespace is everybody's.
    pub(super) shared: bool,
    pub(super) canary: bool,
    /// For each exception: the subject may begin the flow, and may be whom it is for.
    pub(super) except: Vec<[bool; 2]>,
}

/// The place of an address's family.
pub(in crate::compile) const fn family(address: IpAddr) -> usize {
    match address {
        IpAddr::V4(_) => 0,
        IpAddr::V6(_) => 1,
    }
}

impl Standing {
    /// The subject's zones as a verdict counts them, by family if that makes a difference.
    pub(super) fn zones(&self, view: View) -> Vec<(Option<usize>, &ZoneNames)> {
        let of = |family: usize| self.zones[family].as_ref().map(|it| it.of(view));
        match (of(0), of(1)) {
            (Some(v4), Some(v6)) if v4 != v6 => vec![(Some(0), v4), (Some(1), v6)],
            (Some(same), _) | (None, Some(same)) => vec![(None, same)],
            (None, None) => Vec::new(),
        }
    }
}

impl Layer {
    /// How a node in these zones stands; `None` if nothing is said to anybody.
    pub(in crate::compile) fn standing_of_node(&self, zones: ByFamily) -> Option<Standing> {
        let nothing = self.zones.is_empty() && self.policies.is_empty();
        (!nothing).then(|| Standing {
            zones,
            // These are pods.
            canaries: vec![false; self.policies.len()],
            tenants: Vec::new(),
        })
    }

    /// How a subject stands; `None` if nothing is said to anybody.
    pub(in crate::compile) fn standing(&self, subject: Subject<'_>) -> Option<Standing> {
        if self.zones.is_empty() && self.policies.is_empty() && self.tenants.is_empty() {
            return None;
        }
        let Subject {
            zones,
            namespace,
            labels,
            account,
        } = subject;
        let canary = |canary: Option<&Canary>| {
            canary.is_some_and(|it| it.namespaces.matches(namespace) && it.pods.matches(labels))
        };
        let one_of = |of: Option<&[Workloads]>| {
            of.is_none_or(|of| {
                of.iter()
                    .any(|it| is_one_of(it, namespace, labels, account))
            })
        };
        let tenants = self.tenants.iter().map(|tenants| Tenancy {
            tenant: namespace.get(&tenants.label).unwrap_or_default().to_owned(),
            shared: tenants.shared.iter().any(|it| it.matches(namespace)),
            canary: canary(tenants.canary.as_ref()),
            except: tenants
                .except
                .iter()
                .map(|it| [one_of(it.from.as_deref()), one_of(it.to.as_deref())])
                .collect(),
        });
        Some(Standing {
            zones,
            canaries: self
                .policies
                .iter()
                .map(|policy| canary(policy.canary.as_ref()))
                .collect(),
            tenants: tenants.collect(),
        })
    }
}
