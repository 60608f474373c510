//! The compiler: a [`crate::model::Snapshot`] to [`Desired`]. Pure, deterministic, total.

mod desired;

pub use desired::{Desired, DesiredCell, Endpoint, Signature, Table};
