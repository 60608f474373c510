//! Names of zones in rules.

use super::{Finding, Look, NOT_ENFORCED_ZONE, UNKNOWN_ZONE};
use crate::{
    model::{Enforcement, ZoneAction},
    watch::nearest,
};

pub(super) fn find(look: &Look<'_>) -> Vec<Finding> {
    let policies = look.snapshot.zone_policies.values();
    let policies = policies.filter(|policy| policy.enforcement != Enforcement::Disabled);
    let mut found = Vec::new();
    for policy in policies {
        let object = format!("ZonePolicy/{}", policy.name);
        let names = look.details.zone_names.get(&policy.name);
        for name in names.into_iter().flatten() {
            let zones = &look.snapshot.zones;
            let Some(zone) = zones.get(&name.says) else {
                let message = format!("unknown zone '{}'", name.says);
                let mut finding = look.finding(&UNKNOWN_ZONE, &object, &name.path, message);
                let meant = nearest(&name.says, zones.keys().map(String::as_str));
                finding.help = meant.map(|meant| format!("did you mean '{meant}'?"));
                found.push(finding);
                continue;
            };
            // An exception that nobody matches leaves more denied, not less.
            let is_denial = policy.rules.iter().enumerate().any(|(index, rule)| {
                let side = |side| {
                    name.path
                        .starts_with(&format!("spec.rules[{index}].{side}["))
                };
                rule.action == ZoneAction::Deny && (side("from") || side("to"))
            });
            let what = match zone.enforcement {
                Enforcement::Audit => "in audit",
                Enforcement::Disabled => "disabled",
                Enforcement::Enforce => continue,
            };
            if is_denial && policy.enforcement == Enforcement::Enforce {
                let message = format!("zone '{}' is {what}: this denies nothing of it", zone.name);
                found.push(look.finding(&NOT_ENFORCED_ZONE, &object, &name.path, message));
            }
        }
    }
    found
}
