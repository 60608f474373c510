//! Namespaces.

use k8s_openapi::api::core::v1;

use super::check::{self, Findings};
use crate::model::Namespace;

/// The label that carries a namespace's name.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

pub(super) fn convert(object: &v1::Namespace, findings: &mut Findings<'_>) -> Namespace {
    let name = findings.read.key.name.clone();
    let mut labels = check::labels(&object.metadata);
    // The API server sets it, whatever the manifest says.
    labels.insert(NAME_LABEL.to_owned(), name.clone());
    Namespace {
        name,
        labels,
        origin: findings.read.origin.clone(),
    }
}
