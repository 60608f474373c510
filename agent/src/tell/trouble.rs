//! What is not in force, and what is again.
//!
//! **Invariants.** What lasts for a moment is not told: a pod is looked for before its network is there. What was never told is
//! never told to be settled.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::note::{Note, Reason, Subject};
use crate::{
    admin::Shared,
    model::{Diagnostic, Objects, Snapshot},
    watch::Kind,
};

/// How long something must last to be told.
const SETTLE: Duration = Duration::from_secs(5);
/// How often what lasts is told again: API servers forget Events.
const REMIND: Duration = Duration::from_secs(30 * 60);
/// Objects that are named when the kernel refuses a state.
const NAMED: usize = 20;
/// Most bytes of an Event's text.
const TEXT: usize = 1000;

/// Something that is wrong now.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Wrong {
    reason: Reason,
    text: String,
    /// Every node says the same.
    shared: bool,
}

#[derive(Debug)]
struct Lasting {
    wrong: Wrong,
    since: Instant,
    told: Option<Instant>,
    /// The object was told to be in trouble, now or before the text changed.
    known: bool,
}

/// What is wrong with pods and policies.
#[derive(Debug)]
pub(super) struct Troubles {
    node: String,
    lasting: BTreeMap<Subject, Lasting>,
}

// === impl Troubles ===

impl Troubles {
    pub const fn new(node: String) -> Self {
        Self {
            node,
            lasting: BTreeMap::new(),
        }
    }

    /// What is to be told now.
    pub fn look(&mut self, shared: &Shared, now: Instant) -> Vec<Note> {
        let placed = shared.placed.borrow().clone();
        let Some(placed) = placed else {
            return Vec::new();
        };
        let mut wrong = broken(&placed.diagnostics, &self.node);
        let refused = {
            let progress = shared.kernel.progress();
            let progress = progress.borrow();
            let before = progress.of.as_ref().map(|of| of.snapshot.clone());
            progress.error.clone().map(|error| (error, before))
        };
        if let Some((error, before)) = refused {
            let before = before.unwrap_or_default();
            for subject in changed(&before, &placed.snapshot) {
                let text = match subject.kind {
                    Kind::Pod => "the pod's latest state",
                    Kind::NetworkPolicy => "the policy's latest state",
                    _ => "its latest state",
                };
                let text = format!("On node {}: {text} is not in force: {error}", self.node);
                let reason = Reason::trouble(subject.kind);
                wrong.entry(subject).or_insert(Wrong {
                    reason,
                    text,
                    shared: false,
                });
            }
        }
        for (subject, nobody) in unresolved(&shared.compiled.borrow()) {
            wrong.entry(subject).or_insert(nobody);
        }
        self.compare(wrong, now)
    }

    fn compare(&mut self, wrong: BTreeMap<Subject, Wrong>, now: Instant) -> Vec<Note> {
        let mut notes = Vec::new();
        let node = &self.node;
        self.lasting.retain(|subject, lasting| {
            let lasts = wrong.contains_key(subject);
            if !lasts && lasting.known {
                notes.push(settled(subject, lasting.wrong.shared, node));
            }
            lasts
        });
        for (subject, wrong) in wrong {
            let lasting = self.lasting.entry(subject.clone()).or_insert(Lasting {
                wrong: wrong.clone(),
                since: now,
                told: None,
                known: false,
            });
            if lasting.wrong != wrong {
                // Of a pod that is not found the ways differ from try to try: that is one thing.
                if subject.kind != Kind::Pod {
                    lasting.since = now;
                    lasting.told = None;
                }
                lasting.wrong = wrong;
            }
            let due = match lasting.told {
                None => now >= lasting.since + SETTLE,
                Some(told) => now >= told + REMIND,
            };
            if due {
                lasting.told = Some(now);
                lasting.known = true;
                let about = match subject.kind {
                    Kind::Pod => String::new(),
                    _ => lasting.wrong.text.clone(),
                };
                notes.push(Note {
                    reason: lasting.wrong.reason,
                    subject,
                    about,
                    text: short(lasting.wrong.text.clone()),
                    shared: lasting.wrong.shared,
                });
            }
        }
        notes
    }
}

fn settled(subject: &Subject, shared: bool, node: &str) -> Note {
    let what = match subject.kind {
        Kind::Pod => "Policies are in force at this pod again",
        Kind::NetworkPolicy => "The policy is in force again",
        _ => "It is in force as it is written",
    };
    let text = if shared {
        what.to_owned()
    } else {
        format!("On node {node}: {what}")
    };
    Note {
        subject: subject.clone(),
        reason: Reason::settled(subject.kind),
        about: String::new(),
        text,
        shared,
    }
}

/// Objects of which it is said, of the whole object, what is in force instead.
fn broken(diagnostics: &[Diagnostic], node: &str) -> BTreeMap<Subject, Wrong> {
    let mut wrong = BTreeMap::new();
    for whole in diagnostics.iter().filter(|found| found.field.is_empty()) {
        let Some(subject) = Subject::parse(&whole.object) else {
            continue;
        };
        let why: Vec<String> = diagnostics
            .iter()
            .filter(|found| found.object == whole.object && !found.field.is_empty())
            .map(|found| format!("{}: {}", found.field, found.message))
            .collect();
        // A pod is this node's business alone; a policy is as broken everywhere.
        let shared = subject.kind != Kind::Pod;
        let reason = Reason::trouble(subject.kind);
        let mut text = whole.message.clone();
        if !why.is_empty() {
            text = format!("{text} ({})", why.join("; "));
        }
        if !shared {
            text = format!("On node {node}: {text}");
        }
        let entry = wrong.entry(subject).or_insert(Wrong {
            reason,
            text: String::new(),
            shared,
        });
        if !entry.text.is_empty() {
            entry.text.push_str("; ");
        }
        entry.text.push_str(&text);
    }
    wrong
}

/// Policies that are in force but for names that are nobody's: each agent compiles them, and finds the same.
fn unresolved(diagnostics: &[Diagnostic]) -> BTreeMap<Subject, Wrong> {
    let mut wrong: BTreeMap<Subject, Wrong> = BTreeMap::new();
    for found in diagnostics {
        let subject = Subject::parse(&found.object);
        let reason = subject.as_ref().and_then(|it| match it.kind {
            Kind::ZonePolicy => Some(Reason::ZoneNotFound),
            Kind::MetadataAccess => Some(Reason::EndpointNotFound),
            _ => None,
        });
        let (Some(subject), Some(reason)) = (subject, reason) else {
            continue;
        };
        let text = format!("{}: {}", found.field, found.message);
        wrong
            .entry(subject)
            .and_modify(|wrong| wrong.text = format!("{}; {text}", wrong.text))
            .or_insert(Wrong {
                reason,
                text,
                shared: true,
            });
    }
    wrong
}

/// Objects of the cluster's administrators, policies of pods of this node, and pods of this node, that differ.
fn changed(before: &Snapshot, now: &Snapshot) -> Vec<Subject> {
    let policies = before.policies.changed_keys(&now.policies);
    let policies = policies.into_iter().filter(|key| {
        let Some(policy) = now.policies.get(key) else {
            return false;
        };
        let mut subjects = now
            .local
            .keys()
            .filter(|pod| pod.namespace == key.namespace);
        subjects.any(|pod| {
            let pod = now.pods.get(pod);
            pod.is_some_and(|pod| policy.subject.matches(&pod.labels))
        })
    });
    let policies = policies.map(|key| Subject {
        kind: Kind::NetworkPolicy,
        namespace: key.namespace.clone(),
        name: key.name.clone(),
    });
    let local = before.local.changed_keys(&now.local);
    let pods = local.into_iter().filter(|key| now.local.get(key).is_some());
    let pods = pods.map(|key| Subject {
        kind: Kind::Pod,
        namespace: key.namespace.clone(),
        name: key.name.clone(),
    });
    let cluster = of_cluster(before, now);
    cluster
        .into_iter()
        .chain(policies)
        .chain(pods)
        .take(NAMED)
        .collect()
}

fn of_cluster(before: &Snapshot, now: &Snapshot) -> Vec<Subject> {
    fn differ<V: Eq>(
        kind: Kind,
        before: &Objects<String, V>,
        now: &Objects<String, V>,
    ) -> Vec<Subject> {
        let changed = before.changed_keys(now).into_iter();
        let changed = changed.filter(|name| now.contains_key(*name));
        let subjects = changed.map(|name| Subject {
            kind,
            namespace: String::new(),
            name: name.clone(),
        });
        subjects.collect()
    }
    [
        differ(
            Kind::ClusterNetworkPolicy,
            &before.cluster_policies,
            &now.cluster_policies,
        ),
        differ(Kind::SecurityZone, &before.zones, &now.zones),
        differ(Kind::ZonePolicy, &before.zone_policies, &now.zone_policies),
        differ(Kind::TenantIsolation, &before.tenants, &now.tenants),
        differ(Kind::MetadataFirewall, &before.firewalls, &now.firewalls),
        differ(Kind::MetadataAccess, &before.grants, &now.grants),
    ]
    .concat()
}

fn short(mut text: String) -> String {
    if text.len() > TEXT {
        let end = (0..=TEXT).rev().find(|&at| text.is_char_boundary(at));
        text.truncate(end.unwrap_or(0));
        text.push_str(" ...");
    }
    text
}

#[cfg(test)]
mod tests;
