//! The Kubernetes API: one watch for each kind.
//!
//! ```text
//! client ─ follow ─► objects, trimmed ─ resource ─► events
//!            └────► health, diagnostics
//! ```
//!
//! **Invariants.**
//! - A kind is named anew only when all of it has been read: a list that breaks off changes nothing.
//! - What cannot be asked leaves the last state in force, says so, and is asked again, later and later.
//! - A kind that the cluster does not define has no objects: its definition is asked for, and again until it is
//!   there.
//! - Nothing goes back in time: lists are of the newest state, and a server that knows less than was seen already
//!   is asked for everything again. It is asked how far it is whenever a watch ended before its time.
//! - Only a word counts as hearing: an event, a bookmark, a list. A watch without any is not believed for long.

mod client;
mod custom;
mod follow;
mod outlet;
mod resource;
#[cfg(test)]
mod scripted;
mod trouble;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use anyhow::Context as _;
use kube::Client;
use tokio::{sync::mpsc, task::JoinSet};

pub use client::Connection;

use self::{
    custom::{Custom, Defined},
    follow::{SILENCE, follow},
    outlet::Outlet,
    resource::{Namespace, NetworkPolicy, Node, Pod, Resource, Service},
};
use super::{Batch, Health, Kind, Places, Source};

/// The source that reads a cluster and follows its changes.
#[derive(Debug)]
pub struct Kubernetes {
    connection: Connection,
    health: Arc<Health>,
    places: Places,
}

impl Kubernetes {
    /// A source that asks the API server there, and keeps `health` up to date.
    #[must_use]
    pub fn new(connection: Connection, health: Arc<Health>, places: Places) -> Self {
        health.expect(&Kind::ALL);
        Self {
            connection,
            health,
            places,
        }
    }
}

impl Source for Kubernetes {
    async fn run(self, batches: mpsc::Sender<Batch>) -> anyhow::Result<()> {
        let client = self.connection.client()?;
        let outlet = Outlet::new(batches, self.health, self.places);
        let mut watches = JoinSet::new();
        start::<Namespace>(&mut watches, &client, &outlet);
        start::<Node>(&mut watches, &client, &outlet);
        start::<Pod>(&mut watches, &client, &outlet);
        start::<Service>(&mut watches, &client, &outlet);
        start::<NetworkPolicy>(&mut watches, &client, &outlet);
        custom::<custom::ClusterNetworkPolicy>(&mut watches, &client, &outlet);
        custom::<custom::SecurityZone>(&mut watches, &client, &outlet);
        custom::<custom::ZonePolicy>(&mut watches, &client, &outlet);
        custom::<custom::TenantIsolation>(&mut watches, &client, &outlet);
        custom::<custom::MetadataFirewall>(&mut watches, &client, &outlet);
        custom::<custom::MetadataAccess>(&mut watches, &client, &outlet);
        // A watch ends when nobody listens any more, or never: its end is the source's.
        let ended = watches.join_next().await;
        ended.unwrap_or(Ok(())).context("a watch has died")
    }
}

fn start<R: Resource>(watches: &mut JoinSet<()>, client: &Client, outlet: &Outlet) {
    watches.spawn(follow::<R>(client.clone(), outlet.clone(), SILENCE));
}

fn custom<D: Defined>(watches: &mut JoinSet<()>, client: &Client, outlet: &Outlet) {
    start::<Custom<D>>(watches, client, outlet);
}
