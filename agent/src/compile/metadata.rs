//! The metadata firewall: what is denied, and which pods may reach it: those that ask, where asking counts, and those
//! that are granted it.

mod access;
mod denied;
mod host;

pub use access::{Access, Because, Grantor, grants_of, missing};
pub use denied::{Denied, Metadata};
pub use host::is_of_this_node;

pub(super) use access::{access, encapsulates, unresolved};
pub(super) use host::HostPods;

use crate::model::{Selector, Snapshot};

/// Whose annotations count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AnnotatedPods {
    /// Every pod's.
    #[default]
    All,
    /// Nobody's.
    None,
    /// Those of pods in these namespaces.
    Namespaces(Selector),
}

/// True if some pod's access may differ, whether or not anything is said about the pod or its namespace anew.
pub(super) fn may_differ(before: &Snapshot, now: &Snapshot) -> bool {
    before.grants != now.grants
        || before.firewalls != now.firewalls
        || before.past != now.past && !now.grants.is_empty()
}
