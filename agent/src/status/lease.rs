//! Who of all agents writes: whoever holds the Lease.
//!
//! Why not a library's: those at hand compare the holder's clock with one's own. Here only changes of the Lease are looked for, and
//! time is counted from when one was seen.
//!
//! **Invariant.** Two agents may for a moment both think that they hold it: what they write under it must bear that.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{
    Api, Client, Error,
    api::{ObjectMeta, PostParams},
};

/// Name of the Lease.
pub(super) const NAME: &str = "ringfence-status";
/// How long it holds without being renewed.
const TERM: Duration = Duration::from_secs(15);
/// How often it is renewed.
pub(super) const RENEW: Duration = Duration::from_secs(5);
/// A holder who could not renew it for so long holds it no longer, before others think so.
pub(super) const GIVE_UP: Duration = Duration::from_secs(10);
/// The most that others wait before they look again: all of them ask.
const SLOWEST: Duration = Duration::from_secs(60);
/// Nodes for which looking as often as renewing is no burden.
const FEW: usize = 50;

/// One agent's part in the election.
pub(super) struct Election {
    leases: Api<Lease>,
    holder: String,
    /// What was seen last of another one's, and since when it has been so.
    seen: Option<(LeaseSpec, Instant)>,
}

impl Election {
    pub fn new(client: Client, namespace: &str, holder: String) -> Self {
        Self {
            leases: Api::namespaced(client, namespace),
            holder,
            seen: None,
        }
    }

    /// Takes the Lease if it is free or one's own; true if it is one's own now.
    pub async fn hold(&mut self, now: Instant) -> Result<bool, Error> {
        let time = Timestamp::now();
        let Some(mut lease) = self.leases.get_opt(NAME).await? else {
            let lease = Lease {
                metadata: ObjectMeta {
                    name: Some(NAME.to_owned()),
                    ..ObjectMeta::default()
                },
                spec: Some(next(&LeaseSpec::default(), &self.holder, time)),
            };
            let created = self.leases.create(&PostParams::default(), &lease).await;
            return won(created);
        };
        let spec = lease.spec.take().unwrap_or_default();
        if !self.may_take(&spec, now) {
            return Ok(false);
        }
        lease.spec = Some(next(&spec, &self.holder, time));
        // The version that was read goes with it: whoever was quicker wins.
        let params = PostParams::default();
        won(self.leases.replace(NAME, &params, &lease).await)
    }

    fn may_take(&mut self, spec: &LeaseSpec, now: Instant) -> bool {
        let holder = spec.holder_identity.as_deref().unwrap_or_default();
        if holder.is_empty() || holder == self.holder {
            return true;
        }
        match &self.seen {
            Some((seen, since)) if seen == spec => now >= *since + TERM,
            _ => {
                self.seen = Some((spec.clone(), now));
                false
            }
        }
    }
}

/// How long to wait for the next look at another one's Lease, among so many nodes.
pub(super) fn pause(nodes: usize) -> Duration {
    let times = u32::try_from(nodes / FEW).unwrap_or(u32::MAX).max(1);
    RENEW.saturating_mul(times).min(SLOWEST)
}

fn won(result: Result<Lease, Error>) -> Result<bool, Error> {
    match result {
        Ok(_) => Ok(true),
        Err(Error::Api(status)) if status.code == 409 => Ok(false),
        Err(error) => Err(error),
    }
}

fn next(before: &LeaseSpec, holder: &str, time: Timestamp) -> LeaseSpec {
    let same = before.holder_identity.as_deref() == Some(holder);
    let transitions = before.lease_transitions.unwrap_or_default();
    LeaseSpec {
        holder_identity: Some(holder.to_owned()),
        lease_duration_seconds: Some(i32::try_from(TERM.as_secs()).unwrap_or(i32::MAX)),
        renew_time: Some(MicroTime(time)),
        acquire_time: match &before.acquire_time {
            Some(acquired) if same => Some(acquired.clone()),
            _ => Some(MicroTime(time)),
        },
        lease_transitions: Some(if same {
            transitions
        } else {
            transitions.saturating_add(1)
        }),
        ..before.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn election() -> Election {
        // Nobody is asked.
        let service = tower::service_fn(|_: hyper::http::Request<kube::client::Body>| async {
            Ok::<_, std::io::Error>(hyper::http::Response::new(kube::client::Body::empty()))
        });
        Election::new(Client::new(service, "default"), "default", "w1".to_owned())
    }

    #[tokio::test]
    async fn a_lease_is_taken_when_nobody_has_renewed_it_for_its_term() {
        let (mut election, start) = (election(), Instant::now());
        let time = Timestamp::UNIX_EPOCH;
        let first = next(&LeaseSpec::default(), "w2", time);
        assert!(
            !election.may_take(&first, start),
            "just seen, however old it says that it is"
        );
        assert!(!election.may_take(&first, start + TERM / 2));
        let renewed = next(&first, "w2", time + TERM);
        assert!(!election.may_take(&renewed, start + TERM));
        assert!(!election.may_take(&renewed, start + TERM + TERM / 2));
        assert!(election.may_take(&renewed, start + 2 * TERM));
        let free = LeaseSpec {
            holder_identity: Some(String::new()),
            ..renewed
        };
        assert!(election.may_take(&free, start + 2 * TERM));
    }

    #[test]
    fn only_another_holder_is_a_transition() {
        let time = Timestamp::UNIX_EPOCH;
        let first = next(&LeaseSpec::default(), "w1", time);
        let renewed = next(&first, "w1", time + TERM);
        let other = next(&renewed, "w2", time + TERM);
        assert_eq!(first.lease_transitions, renewed.lease_transitions);
        assert_eq!(first.acquire_time, renewed.acquire_time);
        assert_eq!(other.lease_transitions, Some(2));
        assert_ne!(other.acquire_time, first.acquire_time);
    }

    #[test]
    fn many_nodes_look_less_often() {
        assert_eq!(pause(3), RENEW);
        assert_eq!(pause(200), RENEW * 4);
        assert_eq!(pause(100_000), SLOWEST);
    }
}
