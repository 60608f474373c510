//! Who can change who is in a zone.

use std::collections::BTreeSet;

use super::{FOREIGN_LABEL, Finding, Look};
use crate::model::{Enforcement, Members, Selector, TenantIsolation, Zone};

/// Labels that only who may update zones may write (where the chart's guard rail is on).
const OURS: &str = "ringfence.dev/";
/// The label of a namespace that nobody may change.
const NAME: &str = "kubernetes.io/metadata.name";

pub(super) fn find(look: &Look<'_>) -> Vec<Finding> {
    let zones = look.snapshot.zones.values();
    let zones = zones.filter(|zone| zone.enforcement != Enforcement::Disabled);
    let zones = zones.flat_map(|zone| {
        let members = zone.members.iter().enumerate();
        members.filter_map(|(index, members)| {
            let (field, who) = told(members)?;
            let object = format!("SecurityZone/{}", zone.name);
            let field = format!("spec.members[{index}].{field}");
            let message = format!("{who} decides who is in zone {}", zone.name);
            Some(look.finding(&FOREIGN_LABEL, &object, &field, message))
        })
    });
    let tenants = look.snapshot.tenants.values();
    let tenants = tenants.filter(|tenants| tenants.enforcement != Enforcement::Disabled);
    let tenants = tenants.filter_map(|tenants| {
        let object = format!("TenantIsolation/{}", tenants.name);
        let message = tenancy(tenants)?;
        Some(look.finding(&FOREIGN_LABEL, &object, "spec.namespaceLabelKey", message))
    });
    zones.chain(tenants).collect()
}

/// Who can change who is in a zone, beside those who may update zones; `None`: nobody.
#[must_use]
pub fn membership(zone: &Zone) -> Option<String> {
    let who: BTreeSet<String> = zone
        .members
        .iter()
        .filter_map(told)
        .map(|(_, who)| who)
        .collect();
    let who: Vec<String> = who.into_iter().collect();
    (!who.is_empty()).then(|| {
        format!(
            "beside those who may update zones, {} decides who is in this zone",
            who.join(", and ")
        )
    })
}

/// The field that gives it away, and to whom.
fn told(members: &Members) -> Option<(&'static str, String)> {
    match members {
        Members::Workloads(workloads) => {
            let namespaces = foreign(&workloads.namespaces);
            let pods = foreign(&workloads.pods);
            let mut who = Vec::new();
            if !namespaces.is_empty() {
                who.push(format!(
                    "whoever may update namespaces (by the label {})",
                    list(&namespaces)
                ));
            }
            if !pods.is_empty() {
                who.push(format!(
                    "whoever may create or update pods in its namespaces (by the label {})",
                    list(&pods)
                ));
            }
            let field = match namespaces.is_empty() {
                true => "workloads.podSelector",
                false => "workloads.namespaceSelector",
            };
            (!who.is_empty()).then(|| (field, who.join(", and ")))
        }
        Members::Nodes(selector) => {
            let nodes = foreign(selector);
            (!nodes.is_empty()).then(|| {
                let who = format!("whoever may update nodes (by the label {})", list(&nodes));
                ("nodes", who)
            })
        }
        Members::Networks { .. } => None,
    }
}

fn tenancy(tenants: &TenantIsolation) -> Option<String> {
    let mut labels: BTreeSet<&str> = tenants.shared.iter().flat_map(foreign).collect();
    if !is_ours(&tenants.label) {
        labels.insert(&tenants.label);
    }
    (!labels.is_empty()).then(|| {
        format!(
            "whoever may update namespaces (by the label {}) decides which tenant a namespace is of",
            list(&labels)
        )
    })
}

fn foreign(selector: &Selector) -> BTreeSet<&str> {
    let keys = selector.requirements.iter().map(|it| it.key.as_str());
    keys.filter(|key| !is_ours(key)).collect()
}

fn is_ours(key: &str) -> bool {
    key.starts_with(OURS) || key == NAME
}

fn list(labels: &BTreeSet<&str>) -> String {
    labels.iter().copied().collect::<Vec<_>>().join(", ")
}
