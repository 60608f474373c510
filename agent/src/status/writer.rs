//! Sums up and writes, for as long as this agent is the one that does.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use futures::StreamExt as _;
use jiff::Timestamp;
use kube::{
    Api, Client,
    runtime::{
        WatchStreamExt as _,
        watcher::{self, watcher},
    },
};
use serde_json::{Value, json};
use tokio::time::MissedTickBehavior;

use super::{
    condition::differ,
    fleet::Fleet,
    host_enforced,
    pace::{Pace, SETTLE},
    store::{GAP, Store},
    summary::{Summary, View, summarize},
};
use crate::{
    admin::Shared,
    api::NodeZoneState,
    compile::{Membership, census},
    locate::World,
    model::{Diagnostic, PodKey, Snapshot},
    watch::{Kind, ObjectKey, Revision, Revisions},
};

/// How often it is looked whether there is something to say.
const TICK: Duration = Duration::from_millis(250);
/// How long what was put off waits, at most.
const LATER: Duration = Duration::from_secs(1);
/// The least time between two counts of who is in which zone, while no zone changes.
const CENSUS: Duration = Duration::from_secs(10);
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

/// Who is in which zone, and of which state that was counted.
struct Counted {
    of: Arc<Snapshot>,
    at: Instant,
    members: Arc<BTreeMap<String, Membership>>,
}

/// The one that writes.
pub(super) struct Writer {
    shared: Arc<Shared>,
    store: Store,
    fleet: Arc<Fleet>,
    tracks: HashMap<ObjectKey, Track>,
    counted: Option<Counted>,
    own: Option<PodKey>,
}

impl Writer {
    pub fn new(client: Client, shared: Arc<Shared>, own: Option<PodKey>) -> Self {
        Self {
            store: Store::new(client, shared.lasting.status.clone()),
            shared,
            fleet: Arc::default(),
            tracks: HashMap::new(),
            counted: None,
            own,
        }
    }

    /// Writes until somebody drops it.
    pub async fn run(mut self, client: Client) -> anyhow::Result<()> {
        self.store
            .read()
            .await
            .context("what the objects say cannot be read")?;
        let mut read = Instant::now();
        let states = Api::<NodeZoneState>::all(client);
        let reports = watcher(states, watcher::Config::default()).default_backoff();
        let mut reports = pin!(reports);
        let mut listed = None;
        let mut complained = false;
        let mut world = self.shared.world.clone();
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut dirty, mut again) = (true, None);
        let mut silent = BTreeSet::new();
        loop {
            tokio::select! {
                report = reports.next() => match report {
                    Some(Ok(event)) => dirty |= self.hear(event, &mut listed),
                    Some(Err(error)) if complained => tracing::debug!("reports of nodes: {error}"),
                    Some(Err(error)) => {
                        complained = true;
                        tracing::warn!("the reports of nodes are not read, so no status is written: {error}");
                    }
                    None => anyhow::bail!("the watch of nodes' reports has ended"),
                },
                changed = world.changed() => {
                    changed.context("the source of objects has ended")?;
                    dirty = true;
                }
                _ = tick.tick() => {
                    let now = Instant::now();
                    if now >= read + READ {
                        self.store.read().await.context("what the objects say cannot be read")?;
                        (read, dirty) = (now, true);
                    }
                    let quiet = self.fleet.silent(now);
                    if quiet != silent.iter().map(String::as_str).collect() {
                        silent = quiet.into_iter().map(str::to_owned).collect();
                        dirty = true;
                    }
                    // Until all reports were read once nobody knows who lacks something.
                    let known = !matches!(listed, None | Some(Listing::Begun(_)));
                    if known && (dirty || again.is_some_and(|again| now >= again)) {
                        let state = Arc::clone(&world.borrow_and_update());
                        dirty = false;
                        again = self.round(&state).await?.then(|| Instant::now() + LATER);
                    }
                }
            }
        }
    }

    fn hear(&mut self, event: watcher::Event<NodeZoneState>, listed: &mut Option<Listing>) -> bool {
        let fleet = Arc::make_mut(&mut self.fleet);
        let now = Instant::now();
        match event {
            watcher::Event::Apply(state) => fleet.take(&state, now),
            watcher::Event::Delete(state) => {
                fleet.forget(state.metadata.name.as_deref().unwrap_or_default());
                true
            }
            watcher::Event::Init => {
                // Those of before count meanwhile.
                if listed.is_none() {
                    *listed = Some(Listing::Begun(BTreeSet::new()));
                } else {
                    *listed = Some(Listing::Anew(BTreeSet::new()));
                }
                false
            }
            watcher::Event::InitApply(state) => {
                if let Some(Listing::Begun(names) | Listing::Anew(names)) = listed {
                    names.extend(state.metadata.name.clone());
                }
                fleet.take(&state, now)
            }
            watcher::Event::InitDone => {
                if let Some(Listing::Begun(names) | Listing::Anew(names)) = listed.take() {
                    fleet.keep(&names);
                }
                *listed = Some(Listing::Done);
                true
            }
        }
    }

    /// Looks at everything, and writes what is due; true if something was put off.
    async fn round(&mut self, world: &World) -> anyhow::Result<bool> {
        let Some(snapshot) = world.snapshot.clone().filter(|_| !world.recalled) else {
            return Ok(true);
        };
        let now = Instant::now();
        let fleet = Arc::make_mut(&mut self.fleet);
        fleet.place(&snapshot, self.own.as_ref());
        let (members, stale) = self.members(&snapshot, now).await?;
        self.follow(&world.revisions, now);
        let keys: Vec<(ObjectKey, bool)> = self
            .tracks
            .iter()
            .map(|(key, track)| (key.clone(), now < track.since + YOUNG))
            .collect();
        let fleet = Arc::clone(&self.fleet);
        let (revisions, diagnostics) = (world.revisions.clone(), world.diagnostics.clone());
        let summed = tokio::task::spawn_blocking(move || {
            let findings = by_object(diagnostics);
            let view = View {
                snapshot: &snapshot,
                findings: &findings,
                census: &members,
                fleet: &fleet,
                host_enforced: host_enforced(),
                now,
            };
            let summed = keys.into_iter().filter_map(|(key, young)| {
                let summary = summarize(&key, revisions.get(&key)?, &view, young);
                Some((key, summary))
            });
            summed.collect::<Vec<_>>()
        })
        .await
        .context("what is said of objects cannot be summed up")?;
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

    /// Counts who is in which zone, if that may have changed and was not just counted; true if it is to be counted again.
    async fn members(
        &mut self,
        snapshot: &Arc<Snapshot>,
        now: Instant,
    ) -> anyhow::Result<(Arc<BTreeMap<String, Membership>>, bool)> {
        if let Some(counted) = &self.counted {
            let of = &counted.of;
            let zones = of.zones == snapshot.zones;
            let same = zones
                && of.pods == snapshot.pods
                && of.namespaces == snapshot.namespaces
                && of.nodes == snapshot.nodes;
            if same || zones && now < counted.at + CENSUS {
                return Ok((Arc::clone(&counted.members), !same));
            }
        }
        let of = Arc::clone(snapshot);
        let members = tokio::task::spawn_blocking(move || census(&of));
        let members = Arc::new(members.await.context("members cannot be counted")?);
        self.counted = Some(Counted {
            of: Arc::clone(snapshot),
            at: now,
            members: Arc::clone(&members),
        });
        Ok((members, false))
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

/// How far the list of reports is.
enum Listing {
    Begun(BTreeSet<String>),
    Anew(BTreeSet<String>),
    Done,
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

/// A summary as the kind's status has it; true if a condition has turned round.
fn status(
    kind: Kind,
    generation: i64,
    summary: &Summary,
    before: &[k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition],
) -> (Value, bool) {
    // The API server keeps whole seconds.
    let now = Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default();
    let said = summary.said.iter();
    let conditions: Vec<_> = said
        .map(|said| said.condition(generation, before, now))
        .collect();
    let turned = differ(before, &conditions);
    let mut status = json!({ "conditions": conditions });
    // The definition of this one has nothing else.
    if kind == Kind::ClusterNetworkPolicy {
        return (status, turned);
    }
    let (desired, realized) = (summary.realized.desired, summary.realized.realized);
    status["observedGeneration"] = json!(generation);
    status["desiredNodeCount"] = json!(desired);
    status["realizedNodeCount"] = json!(realized);
    match &summary.members {
        Some(members) => {
            status["podCount"] = json!(members.pods);
            status["nodeCount"] = json!(members.nodes);
            status["networkCount"] = json!(members.networks);
        }
        None => status["nodes"] = json!(format!("{realized}/{desired}")),
    }
    if let Some(rules) = summary.rules {
        status["ruleCount"] = json!(rules);
    }
    (status, turned)
}
