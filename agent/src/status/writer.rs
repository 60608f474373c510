//! Sums up and writes, for as long as this agent is the one that does.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use futures::StreamExt as _;
use kube::{
    Api, Client,
    runtime::{
        WatchStreamExt as _,
        watcher::{self, watcher},
    },
};
use serde_json::Value;
use tokio::time::MissedTickBehavior;

use super::{
    members::{self, Members},
    pace::{Pace, SETTLE},
    reports::Reports,
    shape::status,
    store::{GAP, Store},
    summary::{View, summarize},
};
use crate::{
    admin::Shared,
    api::NodeZoneState,
    lint::Denials,
    locate::World,
    model::{Diagnostic, PodKey},
    watch::{ObjectKey, Revision, Revisions},
};

/// How often it is looked whether there is something to say.
const TICK: Duration = Duration::from_millis(250);
/// How long what was put off waits, at most.
const LATER: Duration = Duration::from_secs(1);
/// How many times as long as summing up took is waited for the next time, and the most.
const REST: (u32, Duration) = (20, Duration::from_secs(10));
/// How often what the objects say is read anew: others may have written it.
const READ: Duration = Duration::from_secs(600);
/// A version that is so new may still be on its way.
const YOUNG: Duration = Duration::from_secs(5);
/// Most writes before it is looked again.
const ROUND: usize = 10;

/// What is kept of an object.
struct Track {
    latest: Revision,
    /// Since when that is the newest version.
    since: Instant,
    pace: Pace,
}

/// What is to be written.
struct Due {
    key: ObjectKey,
    uid: Arc<str>,
    status: Value,
    /// A condition has turned round.
    turned: bool,
}

/// The one that writes.
pub(super) struct Writer {
    shared: Arc<Shared>,
    store: Store,
    reports: Reports,
    tracks: HashMap<ObjectKey, Track>,
    members: Members,
    own: Option<PodKey>,
    /// Not before is everything looked at again.
    next: Instant,
}

impl Writer {
    pub fn new(client: Client, shared: Arc<Shared>, own: Option<PodKey>) -> Self {
        Self {
            store: Store::new(client, shared.lasting.status.clone()),
            shared,
            reports: Reports::default(),
            tracks: HashMap::new(),
            members: Members::default(),
            own,
            next: Instant::now(),
        }
    }

    /// Writes until somebody drops it.
    pub async fn run(mut self, client: Client) -> anyhow::Result<()> {
        const UNREAD: &str = "what the objects say cannot be read";
        self.store.read().await.context(UNREAD)?;
        let mut read = Instant::now();
        let states = Api::<NodeZoneState>::all(client);
        let events = watcher(states, watcher::Config::default()).default_backoff();
        let mut events = pin!(events);
        let mut complained = false;
        let mut worlds = self.shared.world.clone();
        let mut world = Arc::clone(&worlds.borrow_and_update());
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut dirty = true;
        let mut again: Option<Instant> = None;
        let mut silent = BTreeSet::new();
        loop {
            tokio::select! {
                event = events.next() => match event {
                    Some(Ok(event)) => dirty |= self.reports.hear(event),
                    Some(Err(error)) if complained => tracing::debug!("reports of nodes: {error}"),
                    Some(Err(error)) => {
                        complained = true;
                        tracing::warn!("the reports of nodes are not read, so no status is written: {error}");
                    }
                    None => anyhow::bail!("the watch of nodes' reports has ended"),
                },
                changed = worlds.changed() => {
                    changed.context("the source of objects has ended")?;
                    let now = Arc::clone(&worlds.borrow_and_update());
                    dirty |= differ(&world, &now);
                    // Pods come and go: of them only numbers depend.
                    again.get_or_insert(Instant::now() + members::PAUSE);
                    world = now;
                }
                _ = tick.tick() => {
                    let now = Instant::now();
                    if now >= read + READ {
                        self.store.read().await.context(UNREAD)?;
                        (read, dirty) = (now, true);
                    }
                    let quiet = self.reports.fleet.silent(now);
                    if quiet != silent.iter().map(String::as_str).collect() {
                        silent = quiet.into_iter().map(str::to_owned).collect();
                        dirty = true;
                    }
                    let due = dirty || again.is_some_and(|again| now >= again);
                    if self.reports.read && due && now >= self.next {
                        dirty = false;
                        again = self.round(&world).await?.then(|| Instant::now() + LATER);
                    }
                }
            }
        }
    }

    /// Looks at everything, and writes what is due; true if something was put off.
    async fn round(&mut self, world: &World) -> anyhow::Result<bool> {
        let Some(snapshot) = world.snapshot.clone().filter(|_| !world.recalled) else {
            return Ok(true);
        };
        let now = Instant::now();
        let fleet = Arc::make_mut(&mut self.reports.fleet);
        fleet.place(&snapshot, self.own.as_ref());
        let (members, stale) = self.members.of(&snapshot, now).await?;
        self.follow(&world.revisions, now);
        let keys: Vec<(ObjectKey, bool)> = self
            .tracks
            .iter()
            .map(|(key, track)| (key.clone(), now < track.since + YOUNG))
            .collect();
        let fleet = Arc::clone(&self.reports.fleet);
        // All agents are told the same by their DaemonSet.
        let host = self.shared.config.host.as_ref();
        let host_enforced = host.is_some_and(|host| !host.audit);
        let (revisions, diagnostics) = (world.revisions.clone(), world.diagnostics.clone());
        let summed = tokio::task::spawn_blocking(move || {
            let findings = by_object(diagnostics);
            let denials = Denials::of(&snapshot);
            let view = View {
                snapshot: &snapshot,
                findings: &findings,
                census: &members,
                nodes: &fleet.roll(now),
                denials: &denials,
                host_enforced,
            };
            let summed = keys.into_iter().filter_map(|(key, young)| {
                let summary = summarize(&key, revisions.get(&key)?, &view, young);
                Some((key, summary))
            });
            summed.collect::<Vec<_>>()
        })
        .await
        .context("what is said of objects cannot be summed up")?;
        let rest = (now.elapsed() * REST.0).min(REST.1);
        self.next = Instant::now() + rest;
        let mut due: Vec<Due> = Vec::new();
        let mut later = stale;
        for (key, summary) in summed {
            later |= !summary.is_everywhere();
            let Some(track) = self.tracks.get(&key) else {
                continue;
            };
            let uid = &track.latest.uid;
            let before = self.store.conditions(&key, uid);
            let (status, turned) = status(key.kind, track.latest.generation, &summary, &before);
            if self.store.says(&key, uid, &status) {
                continue;
            }
            // It may be everywhere in a moment: that is one write less.
            if now < track.since + SETTLE && !summary.is_everywhere() && summary.is_usable() {
                later = true;
                continue;
            }
            let uid = Arc::clone(uid);
            due.push(Due {
                key,
                uid,
                status,
                turned,
            });
        }
        due.sort_by_key(|due| !due.turned);
        let mut written = 0;
        for due in due {
            let Some(track) = self.tracks.get_mut(&due.key) else {
                continue;
            };
            if written >= ROUND || !track.pace.may(due.turned, Instant::now()) {
                later = true;
                continue;
            }
            written += 1;
            self.store.write(&due.key, &due.uid, due.status).await;
            tokio::time::sleep(GAP).await;
        }
        Ok(later)
    }

    /// Takes note of objects that are new, have changed, or are gone.
    fn follow(&mut self, revisions: &Revisions, now: Instant) {
        let custom = revisions.iter().filter(|(key, _)| key.kind.is_custom());
        let mut keys = BTreeSet::new();
        for (key, versions) in custom {
            keys.insert(key);
            let track = self.tracks.entry(key.clone()).or_insert_with(|| Track {
                latest: versions.latest.clone(),
                since: now,
                pace: Pace::default(),
            });
            if track.latest != versions.latest {
                track.latest = versions.latest.clone();
                track.since = now;
            }
        }
        self.tracks.retain(|key, _| keys.contains(key));
        self.store.keep(&keys);
    }
}

/// True if more than numbers may have to be said anew.
fn differ(before: &World, now: &World) -> bool {
    let past = |world: &World| world.snapshot.as_ref().map(|snapshot| snapshot.past);
    before.revisions != now.revisions
        || before.diagnostics != now.diagnostics
        || before.recalled != now.recalled
        || past(before) != past(now)
}

fn by_object(diagnostics: Vec<Diagnostic>) -> BTreeMap<String, Vec<Diagnostic>> {
    let mut found: BTreeMap<String, Vec<Diagnostic>> = BTreeMap::new();
    for diagnostic in diagnostics {
        found
            .entry(diagnostic.object.clone())
            .or_default()
            .push(diagnostic);
    }
    found
}
