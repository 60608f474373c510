//! The table of objects that are refused (`tests/kinds/refused.yaml`): offline and by an API server, in the same words where
//! the two do not differ by nature.

use serde::Deserialize;
use serde_json::{Value, json};

const TABLE: &str = include_str!("../kinds/refused.yaml");

/// An object that is refused.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refused {
    /// Kind.
    pub kind: String,
    name: Option<String>,
    /// What is wrong with it is in here.
    pub spec: Value,
    /// Path of the field that is wrong.
    pub field: String,
    /// What both say, if they say the same.
    says: Option<String>,
    server: Option<String>,
    offline: Option<String>,
    /// Why the server takes it, if it does.
    pub why: Option<String>,
}

/// All of it.
///
/// # Panics
///
/// If the table is not what it should be.
#[must_use]
pub fn table() -> Vec<Refused> {
    serde_saphyr::from_str(TABLE).expect("the table is YAML")
}

impl Refused {
    /// The object.
    #[must_use]
    pub fn object(&self) -> Value {
        let version = match self.kind.as_str() {
            "ClusterNetworkPolicy" => "policy.networking.k8s.io/v1alpha2",
            _ => "ringfence.dev/v1alpha1",
        };
        json!({
            "apiVersion": version,
            "kind": self.kind,
            "metadata": { "name": self.name.as_deref().unwrap_or("a") },
            "spec": self.spec,
        })
    }

    /// What is said offline.
    ///
    /// # Panics
    ///
    /// If the table does not tell.
    #[must_use]
    pub fn offline(&self) -> &str {
        let says = self.says.as_deref().or(self.offline.as_deref());
        says.expect("the table says what is said offline")
    }

    /// What an API server says; `accepted` if it takes the object.
    ///
    /// # Panics
    ///
    /// If the table does not tell.
    #[must_use]
    pub fn server(&self) -> &str {
        let says = self.says.as_deref().or(self.server.as_deref());
        says.expect("the table says what the server says")
    }
}
