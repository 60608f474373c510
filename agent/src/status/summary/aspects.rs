//! What is said of some kinds only.

use std::collections::BTreeSet;

use super::{
    super::condition::{Said, Truth},
    NOT_ACCEPTED, View,
};
use crate::{
    compile::{self, Census, Metadata},
    lint,
    model::{
        Enforcement, Expiry, IntraZone, Members, Openness, Snapshot, TenantIsolation, Zone,
        ZonePeer, ZonePolicy,
    },
    watch::{Kind, ObjectKey},
};

/// Where the cluster's own pods are.
const SYSTEM: &str = "kube-system";

/// Whether all that it names exists and counts.
pub(super) fn resolved(key: &ObjectKey, view: &View<'_>, usable: bool) -> Option<Said> {
    const KIND: &str = "ResolvedRefs";
    if !matches!(key.kind, Kind::ZonePolicy | Kind::MetadataAccess) {
        return None;
    }
    if !usable {
        return Some(Said::new(KIND, Truth::Unknown, NOT_ACCEPTED, ""));
    }
    let all = || Said::new(KIND, Truth::Yes, "ResolvedRefs", "");
    if let Some(grant) = view.snapshot.grants.get(&key.name)
        && key.kind == Kind::MetadataAccess
    {
        let missing = compile::missing(grant, &Metadata::of(view.snapshot));
        if missing.is_empty() {
            return Some(all());
        }
        let message = format!(
            "there is no metadata endpoint {}: the name opens nothing, and the rest is in force",
            missing.join(", ")
        );
        return Some(Said::new(KIND, Truth::No, "EndpointNotFound", message));
    }
    let Some(policy) = view.snapshot.zone_policies.get(&key.name) else {
        return Some(all());
    };
    let zones = &view.snapshot.zones;
    let named = zones_of(policy);
    let missing: Vec<&str> = named
        .iter()
        .copied()
        .filter(|it| !zones.contains_key(*it))
        .collect();
    if !missing.is_empty() {
        let message = format!(
            "there is no SecurityZone {}: the name matches nobody, and the rest is in force",
            missing.join(", ")
        );
        return Some(Said::new(KIND, Truth::No, "ZoneNotFound", message));
    }
    // What is enforced sees enforced zones, what is audited sees audited ones too.
    let idle = named.into_iter().filter(|name| {
        let zone = zones.get(*name).map(|zone| zone.enforcement);
        match policy.enforcement {
            Enforcement::Disabled => false,
            Enforcement::Enforce => zone != Some(Enforcement::Enforce),
            Enforcement::Audit => zone == Some(Enforcement::Disabled),
        }
    });
    let idle: Vec<&str> = idle.collect();
    if idle.is_empty() {
        return Some(all());
    }
    let message = format!(
        "SecurityZone {} does not count here, being audited or disabled: the name matches nobody, and the rest is in force",
        idle.join(", ")
    );
    Some(Said::new(KIND, Truth::No, "ZoneNotEnforced", message))
}

/// Whether it denies what it says that it denies.
pub(super) fn enforcing(key: &ObjectKey, view: &View<'_>, usable: bool, programmed: &Said) -> Said {
    let said = |truth, reason, message: &str| Said::new("Enforcing", truth, reason, message);
    let (enforcement, canary) = mode(key, view.snapshot);
    if !usable {
        return said(Truth::No, NOT_ACCEPTED, &programmed.message);
    }
    match enforcement {
        Enforcement::Disabled => return said(Truth::No, "Disabled", "it is as if it were absent"),
        Enforcement::Audit if canary => {
            return said(
                Truth::No,
                "Canary",
                "enforced on flows with an end that `canary` selects, audited elsewhere",
            );
        }
        Enforcement::Audit => {
            return said(
                Truth::No,
                "AuditMode",
                "nothing is denied; what would be is counted and reported",
            );
        }
        Enforcement::Enforce => {}
    }
    if is_over(key, view.snapshot) {
        return said(Truth::No, "Expired", "its `expirationTime` has come");
    }
    if programmed.truth != Truth::Yes {
        return said(programmed.truth, "NotProgrammed", &programmed.message);
    }
    let zone = view.snapshot.zones.get(&key.name);
    let zone = zone.filter(|_| key.kind == Kind::SecurityZone);
    if zone.is_some_and(isolates_nodes) && !view.host_enforced {
        return said(
            Truth::No,
            "HostEnforcementOff",
            "the zone's own isolation is not enforced at the nodes in it, for nodes are no subjects here: pods that talk with them are \
             judged, and all other members are",
        );
    }
    said(Truth::Yes, "Enforced", "")
}

/// How many are in a zone, and who is in another one too.
pub(super) fn membership(members: &Census) -> [Said; 2] {
    let populated = if members.is_populated() {
        let Census {
            pods,
            nodes,
            networks,
            ..
        } = members;
        let message = format!("{pods} pods, {nodes} nodes, {networks} networks");
        Said::new("Populated", Truth::Yes, "Members", message)
    } else {
        let message = "nobody is in it: rules that name it match nobody";
        Said::new("Populated", Truth::No, "NoMembers", message)
    };
    let overlapping = if members.shared == 0 {
        Said::new("Overlapping", Truth::No, "NotOverlapping", "")
    } else {
        let mut message = members.examples.join(", ");
        let more = members.shared.saturating_sub(members.examples.len());
        if more > 0 {
            message.push_str(&format!(" and {more} more"));
        }
        message.push_str(
            ": each zone's isolation holds for them, rules that deny match them by any of these, rules that allow by none; narrow the \
             selectors with NotIn or DoesNotExist",
        );
        Said::new("Overlapping", Truth::Yes, "SharedMembers", message)
    };
    [populated, overlapping]
}

/// Whether it, or a part of it, has ended by itself; of what never ends nothing is said but of grants.
pub(super) fn expired(key: &ObjectKey, view: &View<'_>) -> Option<Said> {
    const KIND: &str = "Expired";
    let past = view.snapshot.past;
    let whole = is_over(key, view.snapshot);
    let ends = ends(key, view.snapshot);
    if key.kind != Kind::MetadataAccess && ends.is_empty() {
        return None;
    }
    let over: Vec<&str> = ends
        .iter()
        .filter(|(_, expiry)| expiry.is_over(past))
        .map(|(name, _)| name.as_str())
        .collect();
    Some(if whole {
        Said::new(
            KIND,
            Truth::Yes,
            "Expired",
            "its `expirationTime` has come: it is absent",
        )
    } else if over.is_empty() {
        Said::new(KIND, Truth::No, "NotExpired", "")
    } else {
        let message = format!("absent since their `expirationTime`: {}", over.join(", "));
        Said::new(KIND, Truth::Yes, "RulesExpired", message)
    })
}

/// Whether each of a policy's rules that allow opens something.
pub(super) fn effective(key: &ObjectKey, view: &View<'_>) -> Option<Said> {
    const KIND: &str = "Effective";
    let policy = view.snapshot.zone_policies.get(&key.name);
    let policy = policy.filter(|_| key.kind == Kind::ZonePolicy)?;
    let vain = view.denials.contradictions(policy);
    Some(if vain.is_empty() {
        Said::new(KIND, Truth::Yes, "NotContradicted", "")
    } else {
        Said::new(KIND, Truth::No, "Contradicted", vain.join("; "))
    })
}

/// Rules that count.
pub(super) fn rules(key: &ObjectKey, view: &View<'_>) -> Option<usize> {
    let policy = view.snapshot.zone_policies.get(&key.name);
    let policy = policy.filter(|_| key.kind == Kind::ZonePolicy)?;
    let past = view.snapshot.past;
    let counting = policy
        .rules
        .iter()
        .filter(|rule| !rule.expiry.is_over(past));
    Some(counting.count())
}

/// What is right and yet worth a word.
pub(super) fn warning(key: &ObjectKey, snapshot: &Snapshot) -> String {
    match key.kind {
        Kind::SecurityZone => snapshot.zones.get(&key.name).and_then(lint::membership),
        Kind::TenantIsolation => snapshot
            .tenants
            .get(&key.name)
            .map(|it| system(it, snapshot)),
        _ => None,
    }
    .unwrap_or_default()
}

fn system(isolation: &TenantIsolation, snapshot: &Snapshot) -> String {
    let Some(system) = snapshot.namespaces.get(SYSTEM) else {
        return String::new();
    };
    let labelled = system
        .labels
        .get(&isolation.label)
        .is_some_and(|it| !it.is_empty());
    if labelled || isolation.shared.iter().any(|it| it.matches(&system.labels)) {
        return String::new();
    }
    format!(
        "{SYSTEM} has no label {} and is not shared: tenants cannot reach what runs there, DNS among it",
        isolation.label
    )
}

fn mode(key: &ObjectKey, snapshot: &Snapshot) -> (Enforcement, bool) {
    let name = &key.name;
    let found = match key.kind {
        Kind::SecurityZone => snapshot.zones.get(name).map(|it| (it.enforcement, false)),
        Kind::ZonePolicy => {
            let policy = snapshot.zone_policies.get(name);
            policy.map(|it| (it.enforcement, it.canary.is_some()))
        }
        Kind::TenantIsolation => {
            let isolation = snapshot.tenants.get(name);
            isolation.map(|it| (it.enforcement, it.canary.is_some()))
        }
        Kind::ClusterNetworkPolicy => {
            let policy = snapshot.cluster_policies.get(name);
            policy.map(|it| (it.enforcement, false))
        }
        Kind::MetadataFirewall => {
            let firewall = snapshot.firewalls.get(name);
            firewall.map(|it| (it.enforcement, false))
        }
        _ => None,
    };
    found.unwrap_or((Enforcement::Enforce, false))
}

fn isolates_nodes(zone: &Zone) -> bool {
    let isolates = zone.ingress == Openness::Isolated
        || zone.egress == Openness::Isolated
        || zone.intra_zone == IntraZone::Deny;
    let nodes = |members: &Members| matches!(members, Members::Nodes(_));
    isolates && zone.members.iter().any(nodes)
}

fn is_over(key: &ObjectKey, snapshot: &Snapshot) -> bool {
    let grant = snapshot.grants.get(&key.name);
    let grant = grant.filter(|_| key.kind == Kind::MetadataAccess);
    grant.is_some_and(|grant| grant.expiry.is_over(snapshot.past))
}

/// Parts that end by themselves, by name.
fn ends(key: &ObjectKey, snapshot: &Snapshot) -> Vec<(String, Expiry)> {
    let mut ends = Vec::new();
    match key.kind {
        Kind::ZonePolicy => {
            let policy = snapshot.zone_policies.get(&key.name);
            for rule in policy.iter().flat_map(|policy| &policy.rules) {
                ends.push((rule.name.clone(), rule.expiry));
                let except = rule.except.iter();
                ends.extend(except.map(|it| (format!("{}/{}", rule.name, it.name), it.expiry)));
            }
        }
        Kind::TenantIsolation => {
            let isolation = snapshot.tenants.get(&key.name);
            let except = isolation.iter().flat_map(|isolation| &isolation.except);
            ends.extend(except.map(|it| (it.name.clone(), it.expiry)));
        }
        _ => {}
    }
    ends.retain(|(_, expiry)| expiry.0.is_some());
    ends
}

fn zones_of(policy: &ZonePolicy) -> BTreeSet<&str> {
    let rules = policy.rules.iter();
    let sides = rules.flat_map(|rule| {
        let except = rule
            .except
            .iter()
            .flat_map(|it| [it.from.as_ref(), it.to.as_ref()]);
        [&rule.from, &rule.to].into_iter().chain(except.flatten())
    });
    let names = sides.flatten().filter_map(|peer| match peer {
        ZonePeer::Zone(name) => Some(name.as_str()),
        ZonePeer::Entity(_) => None,
    });
    names.collect()
}
