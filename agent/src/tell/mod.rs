//! Kubernetes Events: what the owners of pods and policies should see where they look, in `kubectl describe`.
//!
//! ```text
//! flows ───────────────► note ─────┐
//! diagnostics, refusals ► trouble ─┴─► ledger: once, counted, no more than a rate ─► server
//! ```
//!
//! **Invariants.** Nothing here changes what is enforced, or waits on anything that does. One thing is one Event with a count,
//! written at most once in an interval; all Events of an agent together stay below a rate, and what is kept in mind below a number.
//! An API server that refuses or is away costs a line in the log and a count, nothing else.

mod ledger;
mod note;
mod server;
mod trouble;

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use tokio::sync::broadcast::error::RecvError;

pub use self::server::CONTROLLER;
use self::{ledger::Ledger, note::metadata_denied, server::Server, trouble::Troubles};
use crate::{
    admin::Shared,
    observe::{Query, flow::Flow},
    watch::Connection,
};

/// How often it is looked at what is due, and what lasts.
const TICK: Duration = Duration::from_secs(1);

/// Tells the API server for as long as the agent runs.
///
/// # Errors
///
/// There is no client for this connection, or a stage that it listens to has ended.
pub async fn follow(
    connection: Connection,
    shared: Arc<Shared>,
    interval: Duration,
) -> anyhow::Result<()> {
    let node = shared.config.node.clone().unwrap_or_default();
    let mut news = shared.recorder.subscribe(&Query::default()).news;
    let mut ledger = Ledger::new(interval);
    let mut troubles = Troubles::new(node.clone());
    let mut server = Server::new(connection.client()?, node, shared.lasting.told.clone());
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            flow = news.recv() => match flow {
                Ok(flow) => saw(&mut ledger, &flow),
                // Of a storm only the count is too low.
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => anyhow::bail!("nobody records flows any more"),
            },
            _ = tick.tick() => {
                let now = Instant::now();
                for note in troubles.look(&shared, now) {
                    ledger.saw(note, now, SystemTime::now());
                }
                // The recorder holds flows meanwhile.
                for telling in ledger.due(now) {
                    let told = server.tell(&telling).await;
                    ledger.told(&telling, told, Instant::now());
                }
            }
        }
    }
}

fn saw(ledger: &mut Ledger, flow: &Flow) {
    if let Some(note) = metadata_denied(flow) {
        ledger.saw(note, Instant::now(), SystemTime::now());
    }
}
