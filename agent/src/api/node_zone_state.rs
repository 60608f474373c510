//! `NodeZoneState`: what a node's kernel has, as that node's agent says.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Most versions that one report has; of objects beyond that it says that they are not in force.
pub const MOST_IN_FORCE: usize = 4096;

/// Which node a report is about.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, CustomResource, KubeSchema, Serialize, Deserialize,
)]
#[kube(
    group = "ringfence.dev",
    version = "v1alpha1",
    kind = "NodeZoneState",
    plural = "nodezonestates",
    shortname = "nzs",
    category = "ringfence",
    status = "NodeZoneStateStatus",
    derive = "PartialEq",
    doc = "What the kernel of a node has in force. Written by the agent of that node, and by nobody else; it goes when the node does. What all nodes say of an object is summed up in the status of that object.",
    printcolumn = r#"{"name":"Objects","type":"integer","jsonPath":".status.objectCount"}"#,
    printcolumn = r#"{"name":"Error","type":"string","jsonPath":".status.error"}"#,
    printcolumn = r#"{"name":"Reported","type":"date","jsonPath":".status.renewTime"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct NodeZoneStateSpec {
    /// Name of the node.
    #[schemars(length(min = 1, max = 253))]
    pub node_name: String,
}

/// What the kernel of the node has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeZoneStateStatus {
    /// When the agent last said so. A report that is not renewed for 90 seconds counts no longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renew_time: Option<Time>,
    /// The objects' versions that are in the kernel: of each the first 16 hexadecimal digits of the SHA-256 of its kind, name,
    /// UID and generation, with a line feed behind each. So a report about thousands of objects is small.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4096), inner(length(max = 16)))]
    pub in_force: Vec<String>,
    /// How many objects are in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object_count: Option<i32>,
    /// Why the newest state is not in force, if it is not; the one before is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub error: Option<String>,
}

/// How a report names one version of one object.
#[must_use]
pub fn version_print(kind: &str, name: &str, uid: &str, generation: i64) -> String {
    let mut hash = Sha256::new();
    for part in [kind, name, uid, &generation.to_string()] {
        hash.update(part);
        hash.update("\n");
    }
    let hash = hash.finalize();
    hash.iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_named_as_the_definition_says() {
        // printf 'SecurityZone\ndb\nu\n3\n' | sha256sum
        let print = version_print("SecurityZone", "db", "u", 3);
        assert_eq!(print, "3230db2fc0d099e4");
        for other in [
            version_print("ZonePolicy", "db", "u", 3),
            version_print("SecurityZone", "db2", "u", 3),
            version_print("SecurityZone", "db", "v", 3),
            version_print("SecurityZone", "db", "u", 4),
        ] {
            assert_ne!(other, print);
        }
    }
}
