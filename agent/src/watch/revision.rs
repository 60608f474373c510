//! Which version of an object is meant: what a cluster counts of it.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{Kind, ObjectKey};
use crate::model::Objects;

/// One version of one incarnation of an object: the next object of the same name has another UID.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision {
    /// UID.
    pub uid: Arc<str>,
    /// Generation; 0 for kinds that count none.
    pub generation: i64,
}

/// What is known of an object's versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versions {
    /// The newest.
    pub latest: Revision,
    /// The newest that can be used; that is the one that counts.
    pub accepted: Option<Revision>,
}

/// The versions of objects: of nodes, and of the kinds that have a status. What has none (a manifest, what was recalled) is
/// not there.
pub type Revisions = Objects<ObjectKey, Versions>;

impl Revision {
    /// The version that this metadata is of; `None` if it does not say.
    #[must_use]
    pub fn of(metadata: &ObjectMeta) -> Option<Self> {
        let uid = metadata.uid.as_deref().filter(|uid| !uid.is_empty())?;
        Some(Self {
            uid: uid.into(),
            generation: metadata.generation.unwrap_or_default(),
        })
    }
}

impl Versions {
    /// True for kinds whose versions are kept.
    #[must_use]
    pub const fn are_kept(kind: Kind) -> bool {
        kind.is_custom() || matches!(kind, Kind::Node)
    }
}
