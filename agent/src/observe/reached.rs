//! Who has reached metadata in an audit of the metadata firewall. An audit takes days and a job runs once a night, so this is remembered for
//! longer than flows are.
//!
//! **Invariant.** What is remembered is bounded, and what had to be forgotten is counted.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
};

use ringfence_common::event::Reason;

use super::flow::{Flow, FlowVerdict};

/// Pods and endpoints of theirs that are remembered.
const REMEMBERED: usize = 4096;

/// Who has reached what without a grant since the agent started.
#[derive(Debug, Default)]
pub struct Reached(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    known: BTreeMap<Who, Times>,
    forgotten: u64,
}

/// How often, and when last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Times {
    /// Flows.
    pub times: u64,
    /// When the last one began.
    pub last: String,
    /// The hook that told of it.
    pub hook: String,
    /// The address that it went to.
    pub address: IpAddr,
}

/// Who, by `namespace/name`, else by address; and the endpoint, unless it is none any more.
pub type Who = (String, Option<String>);

impl Reached {
    /// Takes a flow in, if it is one of these.
    pub fn note(&self, flow: &Flow) {
        let would_be_denied = flow.verdict == FlowVerdict::WouldDeny;
        if !would_be_denied || flow.reason != Reason::Metadata.as_str() {
            return;
        }
        let Some(address) = flow.dst.ip else { return };
        let endpoint = flow.metadata.as_ref().map(|it| it.endpoint.clone());
        let mut state = self.state();
        let times = state
            .known
            .entry((sender(flow), endpoint))
            .or_insert_with(|| Times {
                times: 0,
                last: String::new(),
                hook: String::new(),
                address,
            });
        times.times += 1;
        times.last.clone_from(&flow.time);
        times.hook.clone_from(&flow.hook);
        times.address = address;
        if state.known.len() > REMEMBERED {
            let oldest = state.known.iter().min_by(|a, b| a.1.last.cmp(&b.1.last));
            if let Some(oldest) = oldest.map(|(who, _)| who.clone()) {
                state.known.remove(&oldest);
                state.forgotten += 1;
            }
        }
    }

    /// All that is remembered, and how many had to be forgotten for want of room.
    #[must_use]
    pub fn all(&self) -> (BTreeMap<Who, Times>, u64) {
        let state = self.state();
        (state.known.clone(), state.forgotten)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Whoever panicked with the lock left whole entries.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The pod by its device or cgroup, else by its address, else that address: somebody whom nobody knows needs a grant all the same.
fn sender(flow: &Flow) -> String {
    if let Some(pod) = &flow.endpoint {
        return pod.clone();
    }
    match (&flow.src.namespace, &flow.src.pod, flow.src.ip) {
        (Some(namespace), Some(pod), _) => format!("{namespace}/{pod}"),
        (.., Some(address)) => address.to_string(),
        (.., None) => "unknown".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::flow::{FlowEnd, FlowMetadata, SCHEMA};

    fn flow(pod: Option<&str>, endpoint: &str, second: u32) -> Flow {
        let end = |address: [u8; 4]| FlowEnd {
            ip: Some(address.into()),
            ..FlowEnd::default()
        };
        Flow {
            schema: SCHEMA.to_owned(),
            time: format!("2026-11-22T00:00:{second:02}.000000Z"),
            node: String::new(),
            verdict: FlowVerdict::WouldDeny,
            direction: "egress".to_owned(),
            hook: "from_pod".to_owned(),
            reason: Reason::Metadata.as_str().to_owned(),
            step: None,
            rule: None,
            endpoint: pod.map(str::to_owned),
            src: end([10, 0, 0, 5]),
            dst: end([169, 254, 169, 254]),
            metadata: Some(FlowMetadata {
                endpoint: endpoint.to_owned(),
                clouds: None,
                translated: false,
            }),
            transport: "tcp".to_owned(),
            length: 60,
        }
    }

    #[test]
    fn flows_of_one_pod_to_one_endpoint_are_one_entry_and_others_are_none() {
        let reached = Reached::default();
        reached.note(&flow(Some("t/a"), "imds", 1));
        reached.note(&flow(Some("t/a"), "imds", 2));
        reached.note(&flow(None, "imds", 3));
        for verdict in [FlowVerdict::Denied, FlowVerdict::Allowed] {
            let mut other = flow(Some("t/b"), "imds", 4);
            other.verdict = verdict;
            reached.note(&other);
        }
        let mut other = flow(Some("t/b"), "imds", 4);
        other.reason = Reason::Policy.as_str().to_owned();
        reached.note(&other);
        let (known, forgotten) = reached.all();
        let imds = Some("imds".to_owned());
        let who: Vec<&Who> = known.keys().collect();
        assert_eq!(
            who,
            [
                &("10.0.0.5".to_owned(), imds.clone()),
                &("t/a".to_owned(), imds)
            ]
        );
        let times = &known[who[1]];
        assert_eq!((times.times, forgotten), (2, 0));
        assert!(times.last.contains(":02."), "{times:?}");
    }

    #[test]
    fn what_is_too_much_is_forgotten_from_the_oldest_on_and_counted() {
        let reached = Reached::default();
        reached.note(&flow(Some("t/oldest"), "imds", 0));
        for number in 0..REMEMBERED + 1 {
            reached.note(&flow(Some(&format!("t/{number}")), "imds", 1));
        }
        let (known, forgotten) = reached.all();
        assert_eq!((known.len(), forgotten), (REMEMBERED, 2));
        assert!(!known.keys().any(|(pod, _)| pod == "t/oldest"));
    }
}
