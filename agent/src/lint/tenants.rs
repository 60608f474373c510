//! Tenants, and what all of them need.

use super::{Finding, Look, SYSTEM_APART, selectors::namespace_labels};
use crate::model::Enforcement;

const SYSTEM: &str = "kube-system";

pub(super) fn find(look: &Look<'_>) -> Vec<Finding> {
    let tenants = look.snapshot.tenants.values();
    let labels = namespace_labels(look.snapshot, SYSTEM);
    let apart = tenants.filter(|tenants| {
        let tenant = labels.get(&tenants.label).unwrap_or_default();
        tenants.enforcement != Enforcement::Disabled
            && tenant.is_empty()
            && !tenants.shared.iter().any(|it| it.matches(&labels))
    });
    let found = apart.map(|tenants| {
        let here = match look.snapshot.namespaces.contains_key(SYSTEM) {
            true => "",
            false => " (which is not in these manifests)",
        };
        let message = format!(
            "{SYSTEM}{here} has no label {} and is not shared: tenants cannot reach name resolution there",
            tenants.label
        );
        let object = format!("TenantIsolation/{}", tenants.name);
        look.finding(&SYSTEM_APART, &object, "spec.sharedNamespaces", message)
    });
    found.collect()
}
