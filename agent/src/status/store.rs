//! What the objects' status says now, and writing it.
//!
//! **Invariant.** A status is written for the incarnation that it is about: server-side apply names the UID.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{
    Api, Client, Error,
    api::{DynamicObject, ListParams, Patch, PatchParams},
};
use serde_json::{Map, Value, json};
use tokio::time::timeout;

use super::PATIENCE;
use crate::{
    observe::status::StatusMetrics,
    watch::{Kind, ObjectKey},
};

/// Who writes, as managed fields name him.
const MANAGER: &str = "ringfence";
/// Objects in a page of a list.
const PAGE: u32 = 500;

/// A status as it is.
#[derive(Clone, Debug, Default)]
pub(super) struct Written {
    uid: String,
    status: Value,
}

/// The API server, as far as objects' status goes.
pub(super) struct Store {
    client: Client,
    metrics: StatusMetrics,
    written: BTreeMap<ObjectKey, Written>,
    /// It was logged that a status is not taken; once, until one is.
    complained: bool,
}

impl Store {
    pub const fn new(client: Client, metrics: StatusMetrics) -> Self {
        Self {
            client,
            metrics,
            written: BTreeMap::new(),
            complained: false,
        }
    }

    /// Reads what the objects say now: others may have written it.
    pub async fn read(&mut self) -> Result<(), Error> {
        let mut written = BTreeMap::new();
        for kind in Kind::ALL.into_iter().filter(|kind| kind.is_custom()) {
            let api = self.api(kind);
            let mut params = ListParams::default().limit(PAGE);
            loop {
                let list = match api.list(&params).await {
                    // The cluster does not define it.
                    Err(Error::Api(status)) if status.code == 404 => break,
                    list => list?,
                };
                for object in list.items {
                    let name = object.metadata.name.unwrap_or_default();
                    let entry = Written {
                        uid: object.metadata.uid.unwrap_or_default(),
                        status: object.data["status"].clone(),
                    };
                    written.insert(ObjectKey::new(kind, None, &name), entry);
                }
                params.continue_token = list.metadata.continue_.filter(|token| !token.is_empty());
                if params.continue_token.is_none() {
                    break;
                }
            }
        }
        self.written = written;
        Ok(())
    }

    /// Forgets all objects but these.
    pub fn keep(&mut self, keys: &BTreeSet<&ObjectKey>) {
        self.written.retain(|key, _| keys.contains(key));
    }

    /// The conditions of this incarnation.
    pub fn conditions(&self, key: &ObjectKey, uid: &str) -> Vec<Condition> {
        let status = self.status(key, uid);
        let conditions = status.and_then(|status| status.get("conditions"));
        let conditions = conditions.and_then(|it| serde_json::from_value(it.clone()).ok());
        conditions.unwrap_or_default()
    }

    /// True if this is what it says already, as far as we say anything.
    pub fn says(&self, key: &ObjectKey, uid: &str, status: &Value) -> bool {
        let before = self.status(key, uid);
        before.is_some_and(|before| ours(before, status) == ours(status, status))
    }

    fn status(&self, key: &ObjectKey, uid: &str) -> Option<&Value> {
        let written = self.written.get(key).filter(|it| it.uid == uid)?;
        Some(&written.status)
    }

    /// Writes a status; what it costs if that fails is a line in the log.
    pub async fn write(&mut self, key: &ObjectKey, uid: &str, status: Value) {
        let body = json!({
            "apiVersion": key.kind.api_version(),
            "kind": key.kind.as_str(),
            "metadata": { "name": key.name, "uid": uid },
            "status": status,
        });
        let params = PatchParams::apply(MANAGER).force();
        let api = self.api(key.kind);
        let patch = Patch::Apply(&body);
        let patched = timeout(PATIENCE, api.patch_status(&key.name, &params, &patch));
        let error = match patched.await {
            Ok(Ok(_)) => {
                self.metrics.wrote(true);
                self.complained = false;
                let uid = uid.to_owned();
                self.written.insert(key.clone(), Written { uid, status });
                return;
            }
            // It is gone, or another one of that name is there: the next look will see it.
            Ok(Err(Error::Api(status))) if [404, 409].contains(&status.code) => {
                tracing::debug!("no status of {key}: {status}");
                self.metrics.wrote(false);
                return;
            }
            Ok(Err(error)) => error.to_string(),
            Err(_elapsed) => "the API server does not answer".to_owned(),
        };
        self.metrics.wrote(false);
        if !self.complained {
            self.complained = true;
            tracing::warn!(
                "the status of {key} is not written: {error}; enforcement does not depend on it. The agent's account needs patch on the \
                 status subresources of its kinds (apiGroups \"ringfence.dev\" and \"policy.networking.k8s.io\")"
            );
        }
    }

    fn api(&self, kind: Kind) -> Api<DynamicObject> {
        Api::all_with(self.client.clone(), &kind.resource())
    }
}

/// The part of a status that `like` has too, with its conditions by type: their order is nobody's.
fn ours(status: &Value, like: &Value) -> Map<String, Value> {
    let types = |status: &Value| -> BTreeMap<String, Value> {
        let conditions = status["conditions"].as_array().into_iter().flatten();
        let named = conditions.map(|it| (it["type"].as_str().unwrap_or_default().to_owned(), it));
        named.map(|(name, it)| (name, it.clone())).collect()
    };
    let mine = types(like);
    let mut found = Map::new();
    for field in like
        .as_object()
        .into_iter()
        .flatten()
        .map(|(field, _)| field)
    {
        let value = match field.as_str() {
            "conditions" => {
                let mut theirs = types(status);
                theirs.retain(|name, _| mine.contains_key(name));
                json!(theirs)
            }
            _ => status[field].clone(),
        };
        found.insert(field.clone(), value);
    }
    found
}

/// How long to wait between two writes: no more than ten in a second, over all objects.
pub(super) const GAP: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_we_say_ourselves_is_compared() {
        let mine = json!({ "nodes": "1/1", "conditions": [{ "type": "Ready", "status": "True" }] });
        let there = json!({
            "nodes": "1/1", "more": 1,
            "conditions": [{ "type": "Theirs", "status": "False" }, { "type": "Ready", "status": "True" }],
        });
        assert_eq!(ours(&there, &mine), ours(&mine, &mine));
        let other =
            json!({ "nodes": "1/1", "conditions": [{ "type": "Ready", "status": "False" }] });
        assert_ne!(ours(&other, &mine), ours(&mine, &mine));
        assert_ne!(ours(&Value::Null, &mine), ours(&mine, &mine));
    }
}
