//! What is said of zones, policies and tenants in their own status: whether they are accepted, and in whose kernel they are.
//!
//! ```text
//! kernel thread ─► report: NodeZoneState of this node ──────┐ every agent
//! ----------------------------------------------------------│-------------------------
//! reports of all nodes ─► fleet ──┐                         ▼
//! objects, who is in zones ───────┴─► summary ─► writer ─► status of the object    whoever holds the Lease
//! ```
//!
//! **Invariants.** Nothing here changes what is enforced, or waits on anything that does. Writes are bounded: one object in ten
//! seconds, but for what turns round, and ten objects in a second. An API server that refuses or is away costs a line in the log
//! and a count, nothing else.

mod condition;
mod fleet;
mod lease;
mod members;
mod pace;
mod report;
mod reports;
mod shape;
mod store;
mod summary;
mod writer;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use kube::Client;
use tokio::{sync::watch, time::timeout};

use self::{lease::Election, writer::Writer};
use crate::{admin::Shared, model::PodKey, watch::Connection};

/// How long the API server may take for one answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Reports for as long as the agent runs, and writes for all while it is this agent's turn.
///
/// # Errors
///
/// There is no client for this connection, or a stage that it listens to has ended.
pub async fn follow(
    connection: Connection,
    shared: Arc<Shared>,
    own: Option<PodKey>,
) -> anyhow::Result<()> {
    let client = connection.client()?;
    let node = shared.config.node.clone().unwrap_or_default();
    let (sender, reported) = watch::channel(false);
    let report = report::follow(client.clone(), node, Arc::clone(&shared), sender);
    tokio::select! {
        ended = report => ended,
        ended = lead(client, shared, own, reported) => ended,
    }
}

/// Stands for election, once this node's reports are taken: without the kinds there is nothing to write.
async fn lead(
    client: Client,
    shared: Arc<Shared>,
    own: Option<PodKey>,
    mut reported: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    if reported.wait_for(|reported| *reported).await.is_err() {
        anyhow::bail!("this node reports no more");
    }
    let namespace = own.as_ref().map(|own| own.namespace.clone());
    let namespace = namespace.unwrap_or_else(|| client.default_namespace().to_owned());
    let node = shared.config.node.clone().unwrap_or_default();
    let mut election = Election::new(client.clone(), &namespace, node);
    let mut complained = false;
    loop {
        if hold(&mut election, &mut complained).await == Some(true) {
            tracing::info!(lease = %format!("{namespace}/{}", lease::NAME), "this agent writes the status of zones and policies");
            shared.lasting.status.leads(true);
            let writer = Writer::new(client.clone(), Arc::clone(&shared), own.clone());
            tokio::select! {
                () = keep(&mut election, &mut complained) => {}
                ended = writer.run(client.clone()) => if let Err(error) = ended {
                    tracing::warn!("the status of zones and policies is not written: {error:#}; trying again");
                },
            }
            shared.lasting.status.leads(false);
            tokio::time::sleep(lease::RENEW).await;
        } else {
            let nodes = shared
                .world
                .borrow()
                .snapshot
                .as_ref()
                .map(|it| it.nodes.len());
            tokio::time::sleep(lease::pause(nodes.unwrap_or_default())).await;
        }
    }
}

/// Renews the Lease until it is somebody else's, or could not be renewed for too long.
async fn keep(election: &mut Election, complained: &mut bool) {
    let mut held = Instant::now();
    while held.elapsed() < lease::GIVE_UP {
        tokio::time::sleep(lease::RENEW).await;
        let now = Instant::now();
        match hold(election, complained).await {
            Some(true) => held = now,
            Some(false) => break,
            None => {}
        }
    }
    tracing::info!("another agent writes the status of zones and policies from now on");
}

/// Whether the Lease is this agent's; `None` if nobody can tell.
async fn hold(election: &mut Election, complained: &mut bool) -> Option<bool> {
    let error = match timeout(lease::RENEW, election.hold(Instant::now())).await {
        Ok(Ok(held)) => {
            *complained = false;
            return Some(held);
        }
        Ok(Err(error)) => error.to_string(),
        Err(_elapsed) => "the API server does not answer".to_owned(),
    };
    if !*complained {
        *complained = true;
        tracing::warn!(
            "it cannot be told which agent writes the status of zones and policies: {error}; enforcement does not depend on it. The \
             agent's account needs create on leases and get and update on the Lease {} (apiGroup \"coordination.k8s.io\")",
            lease::NAME
        );
    }
    None
}
