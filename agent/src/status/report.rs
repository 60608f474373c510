//! What this node has in force, for whoever sums up.
//!
//! **Invariant.** A report names what the kernel has taken, never what is only wanted. Nothing is said of what was recalled: of that
//! nobody knows which version it is.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{OwnerReference, Time};
use kube::{
    Api, Client, Error,
    api::{ObjectMeta, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

use super::PATIENCE;
use crate::{
    admin::Shared,
    api::{MOST_IN_FORCE, NodeZoneState, NodeZoneStateSpec, NodeZoneStateStatus, version_print},
    locate::Placed,
    run::kernel::Progress,
    watch::{Kind, ObjectKey, Revisions},
};

/// How often a report is renewed that says nothing new; with up to a quarter less, so that nodes do not do it together.
const RENEW: Duration = Duration::from_secs(32);
/// The least time between two reports.
const PAUSE: Duration = Duration::from_millis(500);
/// When it is tried again after it was not taken, at first and at last.
const RETRY: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(60)];
/// Most bytes of an error.
const ERROR: usize = 1000;

/// Reports for as long as the agent runs; `reported` is true from the first report on.
///
/// # Errors
///
/// The kernel thread has ended.
pub(super) async fn follow(
    client: Client,
    node: String,
    shared: Arc<Shared>,
    reported: watch::Sender<bool>,
) -> anyhow::Result<()> {
    let states = Api::<NodeZoneState>::all(client);
    let mut progress = shared.kernel.progress();
    progress.mark_changed();
    let mut last: Option<NodeZoneStateStatus> = None;
    let mut told: Option<Source> = None;
    let mut renew = Instant::now();
    let mut retry = RETRY[0];
    let mut complained = false;
    let every = RENEW - spread(&node) * RENEW / 1024;
    loop {
        tokio::select! {
            changed = progress.changed() => if changed.is_err() {
                anyhow::bail!("the kernel thread has ended");
            },
            () = tokio::time::sleep_until(renew) => {}
        }
        let now = {
            let progress = progress.borrow_and_update();
            let same = told.as_ref().is_some_and(|told| *told == source(&progress));
            // Most of what comes into force is about pods, and no news here.
            if same && Instant::now() < renew {
                continue;
            }
            told = Some(source(&progress));
            content(&progress)
        };
        let Some((now, of)) = now else {
            renew = Instant::now() + every;
            continue;
        };
        if last.as_ref() == Some(&now) && Instant::now() < renew {
            continue;
        }
        let written = write(&states, &node, &of, &now, last.as_ref());
        let written = timeout(PATIENCE, written).await;
        match written {
            Ok(Ok(())) => {
                shared.lasting.status.reported(true);
                reported.send_replace(true);
                (last, retry, complained) = (Some(now), RETRY[0], false);
                renew = Instant::now() + every;
                tokio::time::sleep(PAUSE).await;
            }
            failed => {
                let (error, undefined) = match failed {
                    Ok(Err(error)) => (error.to_string(), is_absent(&error)),
                    _ => ("the API server does not answer".to_owned(), false),
                };
                shared.lasting.status.reported(false);
                // Without its definition there are none of ours either, or they are about to come.
                if complained || undefined {
                    tracing::debug!("still no report of this node: {error}");
                } else {
                    complained = true;
                    tracing::warn!(
                        "what this node has in force is not reported, and counts as pending in the status of zones and policies: {error}; \
                         enforcement does not depend on it. The agent's account needs create on nodezonestates and patch on \
                         nodezonestates/status (apiGroup \"ringfence.dev\")"
                    );
                }
                // All of it goes again: the object may be another one.
                (last, told) = (None, None);
                tokio::time::sleep(retry).await;
                retry = (retry * 2).min(RETRY[1]);
                renew = Instant::now();
            }
        }
    }
}

/// All that a report depends on: comparing costs what differs.
type Source = (Option<(Revisions, bool)>, Option<String>);

fn source(progress: &Progress) -> Source {
    let of = progress.of.as_ref();
    let of = of.map(|of| (of.revisions.clone(), of.recalled));
    (of, progress.error.clone())
}

/// What there is to say, and what it was made of; `None` before anything is in force by the API server's own word.
fn content(progress: &Progress) -> Option<(NodeZoneStateStatus, Arc<Placed>)> {
    let of = progress.of.clone().filter(|of| !of.recalled)?;
    let (in_force, more) = prints(&of.revisions);
    let mut error = progress.error.clone();
    if more > 0 {
        let message = format!("{more} objects more than a report can name ({MOST_IN_FORCE})");
        error.get_or_insert(message);
    }
    let error = error.map(|mut error| {
        error.truncate(error.floor_char_boundary(ERROR));
        error
    });
    let status = NodeZoneStateStatus {
        renew_time: None,
        object_count: i32::try_from(in_force.len()).ok(),
        in_force: in_force.into_iter().collect(),
        error,
    };
    Some((status, of))
}

/// The versions that count, and how many are not among them for want of room.
fn prints(revisions: &Revisions) -> (BTreeSet<String>, usize) {
    let custom = revisions.iter().filter(|(key, _)| key.kind.is_custom());
    let mut all = custom.filter_map(|(key, versions)| {
        let revision = versions.accepted.as_ref()?;
        let kind = key.kind.as_str();
        Some(version_print(
            kind,
            &key.name,
            &revision.uid,
            revision.generation,
        ))
    });
    let named = all.by_ref().take(MOST_IN_FORCE).collect();
    (named, all.count())
}

/// What differs, with the time.
fn body(now: &NodeZoneStateStatus, last: Option<&NodeZoneStateStatus>) -> Value {
    let time = Time(Timestamp::now());
    let mut status = json!({ "renewTime": time });
    if last != Some(now) {
        status["inForce"] = json!(now.in_force);
        status["objectCount"] = json!(now.object_count);
        // Null takes it out.
        status["error"] = json!(now.error);
    }
    json!({ "status": status })
}

async fn write(
    states: &Api<NodeZoneState>,
    node: &str,
    of: &Placed,
    now: &NodeZoneStateStatus,
    last: Option<&NodeZoneStateStatus>,
) -> Result<(), Error> {
    let news = body(now, last);
    let patch = Patch::Merge(&news);
    let params = PatchParams::default();
    match states.patch_status(node, &params, &patch).await {
        Err(error) if is_absent(&error) => {}
        result => return result.map(drop),
    }
    let key = ObjectKey::new(Kind::Node, None, node);
    let owner = of.revisions.get(&key).map(|versions| OwnerReference {
        api_version: "v1".to_owned(),
        kind: "Node".to_owned(),
        name: node.to_owned(),
        uid: versions.latest.uid.to_string(),
        ..OwnerReference::default()
    });
    let state = NodeZoneState {
        metadata: ObjectMeta {
            name: Some(node.to_owned()),
            // With the node it goes.
            owner_references: owner.map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        spec: NodeZoneStateSpec {
            node_name: node.to_owned(),
        },
        status: None,
    };
    match states.create(&PostParams::default(), &state).await {
        Err(Error::Api(status)) if status.code == 409 => {}
        result => drop(result?),
    }
    // A new one has nothing of what was said before.
    let all = body(now, None);
    let patch = Patch::Merge(&all);
    states.patch_status(node, &params, &patch).await.map(drop)
}

fn is_absent(error: &Error) -> bool {
    matches!(error, Error::Api(status) if status.code == 404)
}

/// A number of this node's own, below 256.
fn spread(node: &str) -> u32 {
    node.bytes().fold(0, |sum: u32, byte| {
        sum.wrapping_mul(31).wrapping_add(byte.into())
    }) % 256
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::{Revision, Versions};

    fn versions(latest: i64, accepted: Option<i64>) -> Versions {
        let revision = |generation| Revision {
            uid: "u".into(),
            generation,
        };
        Versions {
            latest: revision(latest),
            accepted: accepted.map(revision),
        }
    }

    #[test]
    fn what_counts_is_named_and_what_cannot_be_used_is_not() {
        let mut revisions = Revisions::default();
        let mut put = |kind, name, versions| {
            revisions.insert(ObjectKey::new(kind, None, name), versions);
        };
        put(Kind::SecurityZone, "db", versions(3, Some(3)));
        put(Kind::ZonePolicy, "broken", versions(3, Some(2)));
        put(Kind::ZonePolicy, "never", versions(1, None));
        put(Kind::Node, "w1", versions(0, Some(0)));
        let wanted = [
            version_print("SecurityZone", "db", "u", 3),
            version_print("ZonePolicy", "broken", "u", 2),
        ];
        assert_eq!(prints(&revisions), (wanted.into(), 0));
    }

    #[test]
    fn a_report_has_a_bound_and_says_so() {
        let mut revisions = Revisions::default();
        for number in 0..MOST_IN_FORCE + 2 {
            let key = ObjectKey::new(Kind::SecurityZone, None, &format!("z{number}"));
            revisions.insert(key, versions(1, Some(1)));
        }
        let progress = Progress {
            of: Some(Arc::new(Placed {
                revisions,
                ..Placed::default()
            })),
            ..Progress::default()
        };
        let (status, _) = content(&progress).unwrap();
        assert_eq!(status.in_force.len(), MOST_IN_FORCE);
        assert!(status.error.unwrap().starts_with("2 objects more"));
        let recalled = Progress {
            of: Some(Arc::new(Placed {
                recalled: true,
                ..Placed::default()
            })),
            ..Progress::default()
        };
        assert!(content(&recalled).is_none());
    }

    #[test]
    fn a_renewal_says_the_time_only() {
        let now = NodeZoneStateStatus::default();
        let keys = |body: Value| -> Vec<String> {
            let status = body["status"].as_object().cloned().unwrap_or_default();
            status.keys().cloned().collect()
        };
        assert_eq!(keys(body(&now, Some(&now))), ["renewTime"]);
        let whole = ["error", "inForce", "objectCount", "renewTime"];
        let mut found = keys(body(&now, None));
        found.sort();
        assert_eq!(found, whole);
    }
}
