//! Nodes.

use k8s_openapi::api::core::v1;

use super::check::{self, Findings};
use crate::model::Node;

pub(super) fn convert(object: &v1::Node, findings: &mut Findings<'_>) -> Node {
    let mut addresses = Vec::new();
    let status = object.status.as_ref();
    for (index, entry) in status
        .and_then(|status| status.addresses.as_ref())
        .into_iter()
        .flatten()
        .enumerate()
    {
        // The others are names.
        if ["InternalIP", "ExternalIP"].contains(&entry.type_.as_str()) {
            let field = format!("status.addresses[{index}].address");
            addresses.extend(findings.check(&field, check::address(&entry.address)));
        }
    }
    Node {
        name: findings.read.key.name.clone(),
        labels: check::labels(&object.metadata),
        addresses,
        origin: findings.read.origin.clone(),
    }
}
