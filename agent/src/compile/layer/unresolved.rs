//! What rules say in vain: names of zones that there are not.

use std::collections::BTreeSet;

use crate::model::{Diagnostic, Enforcement, Snapshot, ZonePeer, ZonePolicy};

/// Every name of a zone that a policy uses and that no zone has.
pub(in crate::compile) fn unresolved(snapshot: &Snapshot) -> Vec<Diagnostic> {
    let policies = snapshot.zone_policies.values();
    let counting = policies.filter(|policy| policy.enforcement != Enforcement::Disabled);
    counting
        .flat_map(|policy| {
            named(policy)
                .into_iter()
                .filter(|(_, name)| !snapshot.zones.contains_key(*name))
                .map(|(field, name)| Diagnostic {
                    origin: policy.origin.clone(),
                    object: format!("ZonePolicy/{}", policy.name),
                    field,
                    message: format!(
                        "there is no SecurityZone {name:?}: the name matches nobody, and the rest is in force; create the zone, \
                         or correct the name"
                    ),
                })
                .collect::<Vec<_>>()
        })
        .collect()
}

/// Names of zones, and the fields where they are.
fn named(policy: &ZonePolicy) -> BTreeSet<(String, &str)> {
    let mut found = BTreeSet::new();
    for (index, rule) in policy.rules.iter().enumerate() {
        let field = format!("spec.rules[{index}]");
        let mut sides = vec![
            (format!("{field}.from"), &rule.from),
            (format!("{field}.to"), &rule.to),
        ];
        for (index, except) in rule.except.iter().enumerate() {
            let field = format!("{field}.except[{index}]");
            sides.extend(except.from.as_ref().map(|it| (format!("{field}.from"), it)));
            sides.extend(except.to.as_ref().map(|it| (format!("{field}.to"), it)));
        }
        for (field, peers) in sides {
            for peer in peers {
                if let ZonePeer::Zone(name) = peer {
                    found.insert((field.clone(), name.as_str()));
                }
            }
        }
    }
    found
}
