//! Tenants: kept apart by the value of a label of their namespaces.

use std::collections::BTreeSet;

use ringfence_common::Direction;

use super::{
    Towards,
    draft::{self, Draft, Others},
    standing::Tenancy,
};
use crate::{
    compile::{
        fact::{Fact, Scope},
        ruleset::{Action, View},
    },
    model::{Operator, Ports, Requirement, Selector, TenantIsolation, TenantMode},
};

/// Every port.
const ANY: &Ports = &Ports::Any;

impl<'a> Towards<'a> {
    /// What nobody can open.
    pub(super) fn tenants(&self, direction: Direction, view: View) -> Vec<Draft<'a>> {
        self.apart(TenantMode::Strict, direction, view)
    }

    /// What the destination's policies could have opened.
    pub(super) fn overridable_tenants(&self, view: View) -> Vec<Draft<'a>> {
        self.apart(TenantMode::Overridable, Direction::Ingress, view)
    }

    fn apart(&self, mode: TenantMode, direction: Direction, view: View) -> Vec<Draft<'a>> {
        let tenants = self.layer.tenants.iter().zip(&self.standing.tenants);
        let drafts = tenants.filter_map(|(tenants, tenancy)| {
            if tenants.mode != mode || tenancy.shared {
                return None;
            }
            let canary = tenants.canary.as_ref();
            let only = draft::only(view, tenants.enforcement, canary, tenancy.canary)?;
            Some(Draft {
                others: Others::any_of([pods_in(other_tenants(&tenants.label, &tenancy.tenant))]),
                only,
                ports: ANY,
                except: self.except(tenants, tenancy, direction),
                action: Action::Deny,
                object: format!("TenantIsolation/{}", tenants.name),
                rest: "another tenant".to_owned(),
            })
        });
        drafts.collect()
    }

    fn except(
        &self,
        tenants: &'a TenantIsolation,
        tenancy: &Tenancy,
        direction: Direction,
    ) -> Vec<(Others, &'a Ports)> {
        let mut except = Vec::new();
        if !tenants.shared.is_empty() {
            let shared = tenants.shared.iter().cloned().map(pods_in);
            except.push((Others::any_of(shared), ANY));
        }
        for (it, &[may_begin, may_be_asked]) in tenants.except.iter().zip(&tenancy.except) {
            let (own, others) = match direction {
                Direction::Ingress => (may_be_asked, &it.from),
                Direction::Egress => (may_begin, &it.to),
            };
            if !own || self.layer.is_over(it.expiry) {
                continue;
            }
            let others = match others {
                Some(others) => Others::workloads(others),
                None => Others::All,
            };
            except.push((others, &it.ports));
        }
        except
    }
}

/// Namespaces of other tenants than this.
fn other_tenants(label: &str, tenant: &str) -> Selector {
    let requirement = |operator| Requirement {
        key: label.to_owned(),
        operator,
    };
    let another = requirement(Operator::NotIn([tenant.to_owned()].into()));
    if tenant.is_empty() {
        return Selector {
            requirements: [requirement(Operator::Exists), another].into(),
        };
    }
    Selector {
        requirements: [another].into(),
    }
}

/// Pods in these namespaces.
fn pods_in(namespaces: Selector) -> Fact {
    Fact::Pods {
        namespaces: Scope::Selected(namespaces),
        pods: Selector::default(),
        accounts: BTreeSet::new(),
    }
}
