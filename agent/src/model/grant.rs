//! What may reach the metadata service besides pods that ask by annotation: all of its endpoints.

use super::{Expiry, Origin, Workloads};

/// A `MetadataAccess`: a grant that is kept outside the namespaces that it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetadataAccess {
    /// Name.
    pub name: String,
    /// Pods that it is for: whom any of these names.
    pub subjects: Vec<Workloads>,
    /// The pod must name this grant in its annotation, too.
    pub annotation_required: bool,
    /// From then on it is absent.
    pub expiry: Expiry,
    /// Where it was read.
    pub origin: Origin,
}
