//! The index: objects of the Kubernetes API to the model. Kubernetes types stop here.
//!
//! What the API server would default is defaulted here, and what it would refuse is refused, so that
//! manifests mean offline what they mean in a cluster.
//!
//! **Invariants.**
//! - The snapshot depends on the last event of each object only, not on the order among objects.
//! - An object that is invalid or cannot be decoded keeps its last good state. A policy that has none
//!   isolates the pods that it selects, if it can be told which they are.
//! - [`Index::is_synced`] is false until every kind was named in full, and while one is named anew.

mod check;
mod cluster_policy;
mod details;
mod follow;
mod keep;
mod metadata;
mod moments;
mod namespace;
mod node;
mod objects;
mod pod;
mod policy;
mod revert;
mod selector;
mod service;
mod shared;
mod tenant;
mod zone;
mod zone_policy;

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use self::{check::Findings, moments::Moments};
use crate::{
    api,
    model::{Diagnostic, Enforcement, Interner, MetadataFirewall, Snapshot},
    watch::{self, Broken, Event, Kind, Object, ObjectKey, Read, Revision, Revisions, Versions},
};

pub use details::{Details, Field, IamRoles};
pub use follow::{State, follow};
pub use keep::Keeper;
pub(crate) use pod::METADATA_REQUESTS;

/// The state of all objects.
#[derive(Debug, Default)]
pub struct Index {
    snapshot: Snapshot,
    interner: Interner,
    /// Which versions the objects are.
    revisions: Revisions,
    /// What is wrong, by object.
    findings: BTreeMap<ObjectKey, Vec<Diagnostic>>,
    /// Policies whose state is a substitute that isolates.
    substitutes: BTreeSet<ObjectKey>,
    /// What is wrong with the source.
    source: Vec<Diagnostic>,
    /// Objects named since `Init`, of the kinds that are being named.
    named: BTreeMap<Kind, BTreeSet<ObjectKey>>,
    /// Kinds that were named in full.
    synced: BTreeSet<Kind>,
    /// Those of them that were named as they were last known.
    recalled: BTreeSet<Kind>,
    /// When something ends by itself.
    moments: Moments,
}

/// Reads manifests once into a snapshot. Any problem is an error; all of them are named, sorted.
pub fn load(paths: &[PathBuf], options: watch::Options) -> Result<Snapshot, Vec<Diagnostic>> {
    load_with_details(paths, options).map(|(snapshot, _)| snapshot)
}

/// The same, with what no verdict depends on.
pub fn load_with_details(
    paths: &[PathBuf],
    options: watch::Options,
) -> Result<(Snapshot, Details), Vec<Diagnostic>> {
    let (reads, mut diagnostics) = watch::load_all(paths, options);
    let mut index = Index::default();
    let mut details = Details::default();
    for read in &reads {
        details.note(read);
        if let Err(found) = index.put(read) {
            diagnostics.extend(found);
        }
    }
    index.moments.collect(&index.snapshot);
    index.pass(moments::now());
    diagnostics.sort();
    if diagnostics.is_empty() {
        Ok((index.snapshot, details))
    } else {
        Err(diagnostics)
    }
}

// === impl Index ===

impl Index {
    /// Takes an event; true if that changed the snapshot or the diagnostics.
    pub fn apply(&mut self, event: Event) -> bool {
        let kind = match &event {
            Event::Init(kind) | Event::InitDone(kind) | Event::Recalled(kind) => Some(*kind),
            Event::Apply(read) => Some(read.key.kind),
            Event::Broken(broken) => Some(broken.key.kind),
            Event::Delete(key) => Some(key.kind),
            Event::Diagnostics(_) => None,
        };
        let changed = self.take(event);
        if changed && kind.is_some_and(moments::concern) {
            self.moments.collect(&self.snapshot);
            self.pass(0);
        }
        changed
    }

    /// Takes note of the time, in seconds since 1970; true if something has ended by it.
    pub fn pass(&mut self, now: i64) -> bool {
        let past = self.moments.past(now);
        std::mem::replace(&mut self.snapshot.past, past) != past
    }

    fn take(&mut self, event: Event) -> bool {
        match event {
            Event::Init(kind) => {
                self.named.insert(kind, BTreeSet::new());
                false
            }
            Event::InitDone(kind) => {
                self.recalled.remove(&kind);
                self.reset(kind)
            }
            Event::Recalled(kind) => {
                self.recalled.insert(kind);
                self.reset(kind)
            }
            Event::Apply(read) => {
                self.name(&read.key);
                self.read(&read)
            }
            Event::Broken(broken) => {
                self.name(&broken.key);
                let versions = self.versions(&broken.key, broken.revision.clone(), false);
                let Broken {
                    key,
                    remnant,
                    diagnostics,
                    ..
                } = *broken;
                let substitute = remnant
                    .as_deref()
                    .and_then(|policy| policy::substitute(&key, policy, &broken.origin));
                self.refuse(key, diagnostics, substitute) | versions
            }
            Event::Delete(key) => {
                if let Some(named) = self.named.get_mut(&key.kind) {
                    named.remove(&key);
                }
                self.delete(&key)
            }
            Event::Diagnostics(diagnostics) => {
                let changed = self.source != diagnostics;
                self.source = diagnostics;
                changed
            }
        }
    }

    /// The state of all objects; what is known of this machine itself is not in it.
    #[must_use]
    pub const fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// The versions of the objects that are in the snapshot, and of those that cannot be.
    #[must_use]
    pub const fn revisions(&self) -> &Revisions {
        &self.revisions
    }

    /// Everything that is wrong, sorted.
    #[must_use]
    pub fn diagnostics(&self) -> Vec<Diagnostic> {
        let mut all = self.source.clone();
        all.extend(self.findings.values().flatten().cloned());
        all.sort();
        all.dedup();
        all
    }

    /// True if every kind has been named in full and none is being named anew.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        self.named.is_empty() && Kind::ALL.iter().all(|kind| self.synced.contains(kind))
    }

    /// True if some of it is what was last known, of which the source itself has not told yet.
    #[must_use]
    pub fn is_recalled(&self) -> bool {
        !self.recalled.is_empty()
    }

    fn name(&mut self, key: &ObjectKey) {
        if let Some(named) = self.named.get_mut(&key.kind) {
            named.insert(key.clone());
        }
    }

    /// Removes what was not named since `Init`.
    fn reset(&mut self, kind: Kind) -> bool {
        self.synced.insert(kind);
        let Some(named) = self.named.remove(&kind) else {
            return false;
        };
        let mut known = objects::keys(&self.snapshot, kind);
        known.extend(self.findings.keys().filter(|key| key.kind == kind).cloned());
        known.extend(
            self.revisions
                .keys()
                .filter(|key| key.kind == kind)
                .cloned(),
        );
        known
            .difference(&named)
            .fold(false, |changed, key| self.delete(key) | changed)
    }

    /// Takes note of an object's newest version; true if that is news.
    fn versions(&mut self, key: &ObjectKey, latest: Option<Revision>, accepted: bool) -> bool {
        if !Versions::are_kept(key.kind) {
            return false;
        }
        let Some(latest) = latest else {
            return self.revisions.remove(key).is_some();
        };
        let accepted = if accepted {
            Some(latest.clone())
        } else {
            let before = self.revisions.get(key);
            before.and_then(|before| before.accepted.clone())
        };
        let now = Versions { latest, accepted };
        self.revisions.set(key.clone(), now)
    }

    fn read(&mut self, read: &Read) -> bool {
        let put = self.put(read);
        let latest = Revision::of(read.object.metadata());
        let versions = self.versions(&read.key, latest, put.is_ok());
        self.settle(read, put) | versions
    }

    fn settle(&mut self, read: &Read, put: Result<bool, Vec<Diagnostic>>) -> bool {
        match put {
            Ok(changed) => {
                let mended = self.findings.remove(&read.key).is_some();
                self.substitutes.remove(&read.key) | mended | changed
            }
            Err(found) => {
                let substitute = match &read.object {
                    Object::NetworkPolicy(policy) => {
                        policy::substitute(&read.key, policy, &read.origin)
                    }
                    _ => None,
                };
                let ended = self.end_audit(read);
                self.refuse(read.key.clone(), found, substitute) | ended
            }
        }
    }

    /// Ends an audit of the metadata firewall that an object asks for no longer, though the rest of the object cannot be used: its last
    /// good state would go on to let everything through. True if there was one.
    fn end_audit(&mut self, read: &Read) -> bool {
        let Object::MetadataFirewall(object) = &read.object else {
            return false;
        };
        let firewalls = &mut self.snapshot.firewalls;
        match firewalls.get(&read.key.name) {
            Some(kept)
                if kept.enforcement == Enforcement::Audit
                    && object.spec.enforcement != api::Enforcement::Audit =>
            {
                let ended = MetadataFirewall {
                    enforcement: Enforcement::Enforce,
                    ..kept.clone()
                };
                firewalls.set(read.key.name.clone(), ended)
            }
            _ => false,
        }
    }

    /// Puts a valid object in force; true if it was not in force before.
    fn put(&mut self, read: &Read) -> Result<bool, Vec<Diagnostic>> {
        let mut findings = Findings::new(read);
        let snapshot = &mut self.snapshot;
        let key = &read.key;
        check::identity(&mut findings);
        Ok(match &read.object {
            Object::Namespace(object) => {
                let namespace = namespace::convert(object, &mut findings);
                findings.none()?;
                snapshot.namespaces.set(key.name.clone(), namespace)
            }
            Object::Node(object) => {
                let node = node::convert(object, &mut findings);
                findings.none()?;
                snapshot.nodes.set(key.name.clone(), node)
            }
            Object::Pod(object) => {
                let mut pod = pod::convert(object, &mut findings);
                findings.none()?;
                self.interner.pod(&mut pod);
                snapshot.pods.set(pod.key.clone(), pod)
            }
            Object::Service(object) => {
                let service = service::convert(object, &mut findings);
                findings.none()?;
                snapshot
                    .services
                    .set((key.namespace.clone(), key.name.clone()), service)
            }
            Object::NetworkPolicy(object) => {
                let mut policy = policy::convert(object, &mut findings);
                findings.none()?;
                self.interner.policy(&mut policy);
                snapshot.policies.set(policy.key.clone(), policy)
            }
            Object::ClusterNetworkPolicy(object) => {
                let policy = cluster_policy::convert(object, &mut findings);
                findings.none()?;
                snapshot.cluster_policies.set(key.name.clone(), policy)
            }
            Object::SecurityZone(object) => {
                let zone = zone::convert(object, &mut findings);
                findings.none()?;
                snapshot.zones.set(key.name.clone(), zone)
            }
            Object::ZonePolicy(object) => {
                let policy = zone_policy::convert(object, &mut findings);
                findings.none()?;
                snapshot.zone_policies.set(key.name.clone(), policy)
            }
            Object::TenantIsolation(object) => {
                let isolation = tenant::convert(object, &mut findings);
                findings.none()?;
                snapshot.tenants.set(key.name.clone(), isolation)
            }
            Object::MetadataFirewall(object) => {
                let firewall = metadata::firewall(object, &mut findings);
                findings.none()?;
                snapshot.firewalls.set(key.name.clone(), firewall)
            }
            Object::MetadataAccess(object) => {
                let access = metadata::access(object, &mut findings);
                findings.none()?;
                snapshot.grants.set(key.name.clone(), access)
            }
        })
    }

    /// Leaves the last good state of an object in force, or isolates the pods of a policy without one.
    fn refuse(
        &mut self,
        key: ObjectKey,
        mut found: Vec<Diagnostic>,
        substitute: Option<crate::model::Policy>,
    ) -> bool {
        let mut changed = false;
        let in_force = if objects::has(&self.snapshot, &key) && !self.substitutes.contains(&key) {
            "not in force; its last good state stays so until this is mended".to_owned()
        } else if let Some(policy) = substitute {
            let message = policy::describe_substitute(&policy);
            changed |= self.snapshot.policies.set(policy.key.clone(), policy);
            self.substitutes.insert(key.clone());
            message
        } else if self.substitutes.contains(&key) {
            "not in force; the pods that it last selected stay isolated until this is mended"
                .to_owned()
        } else {
            "not in force, and no good state of it is known".to_owned()
        };
        if let Some(first) = found.first() {
            let origin = first.origin.clone();
            let object = key.to_string();
            found.push(Diagnostic {
                origin,
                object,
                field: String::new(),
                message: in_force,
            });
        }
        if self.findings.get(&key) != Some(&found) {
            self.findings.insert(key, found);
            changed = true;
        }
        changed
    }

    fn delete(&mut self, key: &ObjectKey) -> bool {
        let gone = objects::remove(&mut self.snapshot, key);
        let forgotten = self.findings.remove(key).is_some();
        self.substitutes.remove(key);
        gone | forgotten | self.revisions.remove(key).is_some()
    }
}
