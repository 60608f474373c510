//! Tenants: namespaces that a label's value keeps together, and apart from others.

use super::{Canary, Enforcement, Expiry, Origin, Ports, Selector, Workloads};

/// A `TenantIsolation`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantIsolation {
    /// Name.
    pub name: String,
    /// Key of the namespaces' label whose value is the tenant. Namespaces without it, or with an empty value, together
    /// are one more tenant.
    pub label: String,
    /// Who may open what it closes.
    pub mode: TenantMode,
    /// Namespaces that every tenant shares.
    pub shared: Vec<Selector>,
    /// Single flows that are open.
    pub except: Vec<TenantException>,
    /// Whether it counts.
    pub enforcement: Enforcement,
    /// In audit: flows of which either end is one of these are enforced.
    pub canary: Option<Canary>,
    /// Where it was read.
    pub origin: Origin,
}

/// Who may open what a [`TenantIsolation`] closes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TenantMode {
    /// Nobody.
    #[default]
    Strict,
    /// Whoever writes policy for the destination.
    Overridable,
}

/// A flow between tenants that is open; what is absent does not narrow it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantException {
    /// Name, unique within its object.
    pub name: String,
    /// Who begins the flow.
    pub from: Option<Vec<Workloads>>,
    /// Whom it is for.
    pub to: Option<Vec<Workloads>>,
    /// Ports of the destination, without names.
    pub ports: Ports,
    /// From then on it is absent.
    pub expiry: Expiry,
}
