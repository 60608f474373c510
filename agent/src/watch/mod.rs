//! Sources: where Kubernetes objects come from.
//!
//! A source delivers batches of [`Event`]s through a channel; what is in one batch belongs together
//! and is seen as one change. Sources are interchangeable: whoever reads the events cannot tell
//! manifests from the Kubernetes API.
//!
//! **Invariants.**
//! - Between `Init` and `InitDone` of a kind, every object of it that exists is applied or reported
//!   as broken; what is not named there is gone, also if no `Delete` was ever seen.
//! - An object that cannot be decoded is [`Event::Broken`], never absent and never deleted.
//! - `InitDone` means that nothing is missing. A source that cannot tell what exists says what is
//!   wrong and stays silent about the kind.

mod health;
pub mod kept;
mod kubernetes;
mod manifest;
mod object;
mod places;
mod recall;
mod revision;
mod suggest;

use tokio::sync::mpsc;

pub use health::{Health, KindHealth};
pub use kubernetes::{Connection, Kubernetes};
pub use manifest::{Excerpts, Manifests, Options, load, load_all};
pub use object::{Broken, Kind, Object, ObjectKey, Read};
pub use places::Places;
pub use recall::Recalling;
pub use revision::{Revision, Revisions, Versions};
pub(crate) use suggest::nearest;

use crate::model::Diagnostic;

/// What has become of an object, or of all objects of a kind.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// All objects of this kind follow, up to `InitDone`.
    Init(Kind),
    /// The object exists and is so.
    Apply(Box<Read>),
    /// The object exists and cannot be decoded.
    Broken(Box<Broken>),
    /// The object is gone.
    Delete(ObjectKey),
    /// All objects of this kind have been named since `Init`.
    InitDone(Kind),
    /// As `InitDone`, but as they were last known: whoever knows better has not told of this kind yet.
    Recalled(Kind),
    /// What is wrong with the source, apart from objects; replaces what was said before.
    Diagnostics(Vec<Diagnostic>),
}

/// Events that belong together.
pub type Batch = Vec<Event>;

/// Where objects come from.
pub trait Source: Send + 'static {
    /// Delivers what exists, then what changes, until the receiver is gone. An error means that
    /// nothing will be delivered any more.
    fn run(
        self,
        batches: mpsc::Sender<Batch>,
    ) -> impl Future<Output = anyhow::Result<()>> + Send + 'static;
}
