//! Writes Events (`events.k8s.io/v1`, with a series once there is more than one).

use std::{
    fmt::{Display, Write as _},
    time::{Duration, SystemTime},
};

use jiff::Timestamp;
use k8s_openapi::{
    api::{
        core::v1::ObjectReference,
        events::v1::{Event, EventSeries},
    },
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{
    Api, Client, Error,
    api::{DynamicObject, ObjectMeta, Patch, PatchParams, PostParams},
};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::time::timeout;

use super::{
    ledger::{Telling, Told},
    note::Subject,
};
use crate::observe::told::{ToldMetrics, ToldResult};

/// How long the API server may take for one Event.
const PATIENCE: Duration = Duration::from_secs(10);

/// Who tells, as Events name him.
pub const CONTROLLER: &str = "ringfence.dev/agent";
/// Most bytes of an object's name in the name of an Event.
const NAME: usize = 200;
/// Most bytes of a node's name in an Event.
const INSTANCE: usize = 128;

/// The API server, as far as Events go.
pub(super) struct Server {
    client: Client,
    node: String,
    metrics: ToldMetrics,
    /// It was logged that Events are not taken; once, until one is.
    complained: bool,
}

// === impl Server ===

impl Server {
    pub fn new(client: Client, mut node: String, metrics: ToldMetrics) -> Self {
        node.truncate(INSTANCE);
        Self {
            client,
            node,
            metrics,
            complained: false,
        }
    }

    /// Writes an Event, or counts on in the one that is there.
    pub async fn tell(&mut self, telling: &Telling) -> Told {
        let written = async {
            match &telling.event {
                Some(name) => self.count(telling, name).await,
                None => self.create(telling).await,
            }
        };
        let result = match timeout(PATIENCE, written).await {
            Ok(result) => result,
            Err(_elapsed) => {
                self.failed(ToldResult::Failed, &"the API server does not answer");
                return Told::Failed;
            }
        };
        match result {
            Ok(told) => {
                if matches!(told, Told::Written(_)) {
                    self.metrics.told(ToldResult::Written);
                    self.complained = false;
                }
                told
            }
            Err(Error::Api(status)) if status.code == 403 => {
                self.failed(ToldResult::Refused, &status);
                Told::Failed
            }
            Err(error) => {
                self.failed(ToldResult::Failed, &error);
                Told::Failed
            }
        }
    }

    fn failed(&mut self, result: ToldResult, error: &dyn Display) {
        self.metrics.told(result);
        if !self.complained {
            self.complained = true;
            tracing::warn!(
                "Kubernetes Events are not written: {error}; enforcement does not depend on them. The agent's account needs create and \
                 patch on events (apiGroup \"events.k8s.io\"); --kube-event-interval 0 switches them off"
            );
        }
    }

    async fn create(&self, telling: &Telling) -> Result<Told, Error> {
        let note = &telling.note;
        let Some(object) = self.object(&note.subject).await? else {
            return Ok(Told::Gone);
        };
        let name = name(telling, object.uid.as_deref().unwrap_or_default());
        let event = Event {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                namespace: Some(note.subject.events().to_owned()),
                ..ObjectMeta::default()
            },
            regarding: Some(object),
            reason: Some(note.reason.as_str().to_owned()),
            action: Some(note.reason.action().to_owned()),
            type_: Some(note.reason.severity().to_owned()),
            note: Some(note.text.clone()),
            event_time: Some(time(telling.first)),
            reporting_controller: Some(CONTROLLER.to_owned()),
            reporting_instance: Some(self.node.clone()),
            series: series(telling),
            ..Event::default()
        };
        match self
            .events(&note.subject)
            .create(&PostParams::default(), &event)
            .await
        {
            // Another node has told it.
            Err(Error::Api(status)) if status.code == 409 => Ok(Told::Written(name)),
            // The namespace is going.
            Err(Error::Api(status)) if status.code == 404 => Ok(Told::Gone),
            result => result.map(|_| Told::Written(name)),
        }
    }

    async fn count(&self, telling: &Telling, name: &str) -> Result<Told, Error> {
        let series = json!({ "series": series(telling) });
        let events = self.events(&telling.note.subject);
        let patch = Patch::Merge(&series);
        match events.patch(name, &PatchParams::default(), &patch).await {
            Err(Error::Api(status)) if status.code == 404 => Ok(Told::Expired),
            result => result.map(|_| Told::Written(name.to_owned())),
        }
    }

    fn events(&self, subject: &Subject) -> Api<Event> {
        Api::namespaced(self.client.clone(), subject.events())
    }

    /// The object as it is now, for `kubectl describe` asks for Events by UID; `None` if it is gone.
    async fn object(&self, subject: &Subject) -> Result<Option<ObjectReference>, Error> {
        let (client, resource) = (self.client.clone(), subject.kind.resource());
        let objects: Api<DynamicObject> = if subject.kind.is_namespaced() {
            Api::namespaced_with(client, &subject.namespace, &resource)
        } else {
            Api::all_with(client, &resource)
        };
        let found = objects.get_metadata_opt(&subject.name).await?;
        let found = found.map(|object| object.metadata);
        Ok(found.map(|metadata| ObjectReference {
            api_version: Some(subject.kind.api_version().to_owned()),
            kind: Some(subject.kind.as_str().to_owned()),
            namespace: Some(subject.namespace.clone()).filter(|it| !it.is_empty()),
            name: Some(subject.name.clone()),
            uid: metadata.uid,
            resource_version: metadata.resource_version,
            ..ObjectReference::default()
        }))
    }
}

/// The Event's name: for what every node says the same, the same name.
fn name(telling: &Telling, uid: &str) -> String {
    let note = &telling.note;
    let mut hash = Sha256::new();
    for part in [uid, note.reason.as_str(), &note.about] {
        hash.update(part);
        hash.update([0]);
    }
    if !note.shared {
        hash.update(format!("{:?}", telling.first));
    }
    let mut name = note.subject.name.clone();
    name.truncate(NAME);
    let mut name = name.trim_end_matches(['.', '-']).to_owned();
    name.push('.');
    for byte in hash.finalize().iter().take(8) {
        // Writing into a string does not fail.
        let _: std::fmt::Result = write!(name, "{byte:02x}");
    }
    name
}

/// A series has at least two.
fn series(telling: &Telling) -> Option<EventSeries> {
    (telling.count > 1).then(|| EventSeries {
        count: telling.count,
        last_observed_time: time(telling.last),
    })
}

fn time(time: SystemTime) -> MicroTime {
    MicroTime(Timestamp::try_from(time).unwrap_or_default())
}
