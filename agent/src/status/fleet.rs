//! The nodes that should have what is in force, and what they say that they have.
//!
//! A node should if its agent has ever reported, or if a pod of the agents' DaemonSet is bound to it.
//!
//! **Invariant.** A node whose report is old, or that is no node any more, has nothing: what nobody confirms does not count.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    time::{Duration, Instant, SystemTime},
};

use jiff::Timestamp;

use crate::{
    api::{NodeZoneState, NodeZoneStateStatus},
    model::{PodKey, Snapshot},
};

/// How long a report counts.
pub(super) const STALE: Duration = Duration::from_secs(90);
/// As many nodes are named in a message.
const SHOWN: usize = 5;

/// A node's report.
#[derive(Clone, Debug)]
pub(super) struct Report {
    in_force: HashSet<String>,
    error: Option<String>,
    /// When it said so first or again, by this node's clock.
    heard: Option<Instant>,
    time: Option<Timestamp>,
}

/// All nodes.
#[derive(Clone, Debug, Default)]
pub(super) struct Fleet {
    reports: BTreeMap<String, Report>,
    /// Nodes with a pod of the agents'.
    scheduled: BTreeSet<String>,
    /// Nodes that exist.
    nodes: BTreeSet<String>,
}

/// How many nodes have something.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Realized {
    /// Nodes that should.
    pub desired: usize,
    /// Nodes that do.
    pub realized: usize,
    /// The names of the others, some of them, in one text.
    pub waiting: String,
    /// The first of them that has tried in vain, and why.
    pub failed: Option<(String, String)>,
}

impl Fleet {
    /// Takes a report; true if it says something new. `fresh` if it was seen to come.
    pub fn take(&mut self, state: &NodeZoneState, fresh: bool, now: Instant) -> bool {
        let name = state.metadata.name.clone().unwrap_or_default();
        let status = state.status.clone().unwrap_or_default();
        let NodeZoneStateStatus {
            renew_time,
            in_force,
            error,
            ..
        } = status;
        let time = renew_time.map(|time| time.0);
        let before = self.reports.get(&name);
        let heard = match before {
            Some(before) if before.time == time => before.heard,
            Some(_) => Some(now),
            None if fresh => Some(now),
            // Of one that was there already it is not known when it came, but by its own clock.
            None => time.and_then(|time| now.checked_sub(age(time))),
        };
        let report = Report {
            in_force: in_force.into_iter().collect(),
            error,
            heard,
            time,
        };
        let same = before.is_some_and(|before| {
            before.in_force == report.in_force
                && before.error == report.error
                && is_fresh(before, now) == is_fresh(&report, now)
        });
        self.reports.insert(name, report);
        !same
    }

    /// Forgets a report.
    pub fn forget(&mut self, name: &str) {
        self.reports.remove(name);
    }

    /// Forgets all reports but these.
    pub fn keep(&mut self, names: &BTreeSet<String>) {
        self.reports.retain(|name, _| names.contains(name));
    }

    /// Takes which nodes there are, and which have a pod like this one: of the same controller.
    pub fn place(&mut self, snapshot: &Snapshot, own: Option<&PodKey>) {
        self.nodes = snapshot.nodes.keys().cloned().collect();
        let own = own.and_then(|own| snapshot.pods.get(own));
        let owner = own.and_then(|own| own.owner.clone());
        let agents = snapshot.pods.values().filter(|pod| {
            let same = |own: &crate::model::Pod| own.key.namespace == pod.key.namespace;
            pod.owner.is_some() && pod.owner == owner && own.is_some_and(same) && pod.is_running()
        });
        let nodes = agents.filter_map(|pod| pod.node.as_deref());
        self.scheduled = nodes.map(str::to_owned).collect();
    }

    /// Nodes whose report has become too old.
    pub fn silent(&self, now: Instant) -> BTreeSet<&str> {
        let silent = self.reports.iter().filter(|(_, it)| !is_fresh(it, now));
        silent.map(|(name, _)| name.as_str()).collect()
    }

    /// The nodes that should have what is in force, as they are now.
    pub fn roll(&self, now: Instant) -> Roll<'_> {
        let desired: BTreeSet<&String> = self.reports.keys().chain(&self.scheduled).collect();
        let rows = desired.into_iter().map(|name| {
            let report = self.reports.get(name);
            let missing = match report {
                _ if !self.nodes.contains(name) => Some(" (no such node)"),
                None => Some(" (no report yet)"),
                Some(report) if !is_fresh(report, now) => Some(" (silent)"),
                Some(_) => None,
            };
            (name.as_str(), missing, report)
        });
        Roll(rows.collect())
    }
}

/// The nodes that should have what is in force: their names, what is wrong with their reports, and these.
pub(super) struct Roll<'a>(Vec<(&'a str, Option<&'static str>, Option<&'a Report>)>);

impl Roll<'_> {
    /// Which nodes have a version, by its print.
    pub fn realized(&self, print: &str) -> Realized {
        let mut realized = Realized {
            desired: self.0.len(),
            ..Realized::default()
        };
        let mut waiting = Vec::new();
        let mut more = 0;
        for (name, missing, report) in &self.0 {
            let report = report.filter(|_| missing.is_none());
            if report.is_some_and(|report| report.in_force.contains(print)) {
                realized.realized += 1;
                continue;
            }
            let error = report.and_then(|report| report.error.as_ref());
            if let Some(error) = error.filter(|_| realized.failed.is_none()) {
                realized.failed = Some(((*name).to_owned(), error.clone()));
            }
            if waiting.len() < SHOWN {
                waiting.push(format!("{name}{}", missing.unwrap_or_default()));
            } else {
                more += 1;
            }
        }
        realized.waiting = waiting.join(", ");
        if more > 0 {
            realized.waiting.push_str(&format!(" and {more} more"));
        }
        realized
    }
}

fn is_fresh(report: &Report, now: Instant) -> bool {
    report.heard.is_some_and(|heard| now < heard + STALE)
}

fn age(time: Timestamp) -> Duration {
    let time = SystemTime::from(time);
    SystemTime::now().duration_since(time).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;
    use crate::model::{Node, Owner, Pod};

    fn state(name: &str, seconds: i64, in_force: &[&str], error: Option<&str>) -> NodeZoneState {
        let mut state = NodeZoneState::new(name, crate::api::NodeZoneStateSpec::default());
        let now = Timestamp::now() + Duration::from_secs(0);
        let time = Timestamp::from_second(now.as_second() + seconds).unwrap();
        state.status = Some(NodeZoneStateStatus {
            renew_time: Some(Time(time)),
            in_force: in_force.iter().map(|&it| it.to_owned()).collect(),
            object_count: None,
            error: error.map(str::to_owned),
        });
        state
    }

    fn nodes(names: &[&str]) -> Snapshot {
        let mut snapshot = Snapshot::default();
        for name in names {
            let node = Node {
                name: (*name).to_owned(),
                ..Node::default()
            };
            snapshot.nodes.insert((*name).to_owned(), node);
        }
        snapshot
    }

    #[test]
    fn every_node_that_reports_or_has_an_agent_should_have_it() {
        let mut snapshot = nodes(&["w1", "w2", "w3", "w4"]);
        let agents = Owner {
            kind: "DaemonSet".to_owned(),
            name: "ringfence".to_owned(),
        };
        for (namespace, name, node) in [("r", "a", "w1"), ("r", "b", "w3"), ("other", "c", "w4")] {
            let key = PodKey {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
            };
            let pod = Pod {
                key: key.clone(),
                node: Some(node.into()),
                owner: Some(Arc::new(agents.clone())),
                ..Pod::default()
            };
            snapshot.pods.insert(key, pod);
        }
        let own = PodKey {
            namespace: "r".to_owned(),
            name: "a".to_owned(),
        };
        let (mut fleet, now) = (Fleet::default(), Instant::now());
        fleet.place(&snapshot, Some(&own));
        assert!(fleet.take(&state("w1", 0, &["x"], None), false, now));
        assert!(fleet.take(&state("w2", 0, &[], None), false, now));
        let realized = fleet.roll(now).realized("x");
        assert_eq!((realized.desired, realized.realized), (3, 1));
        assert_eq!(realized.waiting, "w2, w3 (no report yet)");
        // Without a pod of its own only who reports counts.
        fleet.place(&snapshot, None);
        assert_eq!(fleet.roll(now).realized("x").desired, 2);
    }

    #[test]
    fn an_old_report_and_a_node_that_is_gone_have_nothing() {
        let (mut fleet, now) = (Fleet::default(), Instant::now());
        fleet.place(&nodes(&["w1", "w2"]), None);
        fleet.take(&state("w1", 0, &["x"], None), false, now);
        fleet.take(&state("w2", 0, &["x"], None), false, now);
        fleet.take(&state("gone", 0, &["x"], None), false, now);
        assert_eq!(fleet.roll(now).realized("x").waiting, "gone (no such node)");
        fleet.forget("gone");
        let later = now + STALE + Duration::from_secs(1);
        let renewed = fleet.take(&state("w2", 91, &["x"], None), false, later);
        assert!(renewed, "it was silent");
        let realized = fleet.roll(later).realized("x");
        assert_eq!((realized.desired, realized.realized), (2, 1));
        assert_eq!(realized.waiting, "w1 (silent)");
        assert_eq!(fleet.silent(later), ["w1"].into());
        assert!(
            !fleet.take(&state("w2", 120, &["x"], None), false, later),
            "no news"
        );
        // One that was old when it was first seen, and one that was seen to come, whatever its clock says.
        fleet.take(&state("w3", -500, &["x"], None), false, now);
        fleet.take(&state("w4", -500, &["x"], None), true, now);
        assert_eq!(fleet.silent(now), ["w3"].into());
    }

    #[test]
    fn who_has_tried_in_vain_is_named_and_five_of_many() {
        let (mut fleet, now) = (Fleet::default(), Instant::now());
        let names: Vec<String> = (1..=7).map(|it| format!("w{it}")).collect();
        let all: Vec<&str> = names.iter().map(String::as_str).collect();
        fleet.place(&nodes(&all), None);
        for name in &all {
            let error = (*name == "w3").then_some("full");
            fleet.take(&state(name, 0, &[], error), false, now);
        }
        let realized = fleet.roll(now).realized("x");
        assert_eq!(realized.waiting, "w1, w2, w3, w4, w5 and 2 more");
        let failed = realized.failed.unwrap();
        assert_eq!(failed, ("w3".to_owned(), "full".to_owned()));
    }
}
