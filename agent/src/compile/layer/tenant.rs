//! Tenants: kept apart by the value of a label of their namespaces.

use ringfence_common::Direction;

use super::{
    Towards,
    draft::{self, Draft, EVERY_PORT, Others, any_pod, pods_in},
    standing::Tenancy,
};
use crate::{
    compile::ruleset::{Action, View},
    model::{Operator, Ports, Requirement, Selector, TenantIsolation, TenantMode},
};

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
            let mut only = draft::only(view, tenants.enforcement, canary, tenancy.canary)?;
            only.push(apart_from(&tenants.label, &tenancy.tenant));
            Some(Draft {
                others: Others::any_of([any_pod()]),
                only,
                ports: EVERY_PORT,
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
            except.push((Others::any_of(shared), EVERY_PORT));
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

/// Everybody but the pods of this tenant, of whom there are fewer than of all others. One fact for each tenant: an address that
/// several pods claim is of it if all of them are.
fn apart_from(label: &str, tenant: &str) -> Others {
    let requirement = Requirement {
        key: label.to_owned(),
        operator: if tenant.is_empty() {
            Operator::Blank
        } else {
            Operator::In([tenant.to_owned()].into())
        },
    };
    Others::without(pods_in(Selector {
        requirements: [requirement].into(),
    }))
}
