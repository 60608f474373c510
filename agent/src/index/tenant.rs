//! What keeps tenants apart.

use super::{
    check::{self, Findings},
    selector,
    shared::{canary, enforcement, expiry, ports, workloads},
};
use crate::{
    api,
    model::{TenantException, TenantIsolation, TenantMode, Workloads},
};

pub(super) fn convert(
    object: &api::TenantIsolation,
    findings: &mut Findings<'_>,
) -> TenantIsolation {
    let spec = &object.spec;
    let label = &spec.namespace_label_key;
    findings.check("spec.namespaceLabelKey", check::label_key(label));
    let mut shared = Vec::new();
    for (index, namespaces) in spec.shared_namespaces.iter().enumerate() {
        let field = format!("spec.sharedNamespaces[{index}]");
        shared.push(selector::convert(namespaces, &field, findings));
    }
    let mut except = Vec::new();
    for (index, it) in spec.except.iter().flatten().enumerate() {
        except.push(exception(it, &format!("spec.except[{index}]"), findings));
    }
    TenantIsolation {
        name: findings.read.key.name.clone(),
        label: label.clone(),
        mode: match spec.mode {
            api::TenantMode::Strict => TenantMode::Strict,
            api::TenantMode::Overridable => TenantMode::Overridable,
        },
        shared,
        except,
        enforcement: enforcement(spec.enforcement),
        canary: canary(spec.canary.as_ref(), "spec.canary", findings),
        origin: findings.read.origin.clone(),
    }
}

fn exception(
    exception: &api::TenantException,
    field: &str,
    findings: &mut Findings<'_>,
) -> TenantException {
    let mut side = |list: &Option<Vec<api::Workloads>>, name| -> Option<Vec<Workloads>> {
        let list = list.as_ref()?.iter().enumerate();
        let list =
            list.map(|(index, it)| workloads(it, &format!("{field}.{name}[{index}]"), findings));
        Some(list.collect())
    };
    let (from, to) = (side(&exception.from, "from"), side(&exception.to, "to"));
    let at = format!("{field}.ports");
    TenantException {
        name: exception.name.clone(),
        from,
        to,
        ports: ports(exception.ports.as_deref(), &at, findings),
        expiry: expiry(exception.expiration_time.as_ref()),
    }
}
