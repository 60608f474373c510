//! What the API server would say to an object, without one: nulls go, then structure, then defaults, then the definition's
//! own rules.
//!
//! **Invariant.** The steps and their order are the API server's: nothing of an object's rules is asked before its
//! structure is right and its defaults are filled in.

mod structure;

use std::{
    collections::BTreeMap,
    sync::{LazyLock, Mutex, PoisonError},
};

use kube_cel::{CompiledSchema, Validator, apply_defaults, compile_schema};
use serde_json::Value;

use super::schema::schema;

/// Something that a kind's definition does not allow.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    /// Path of the field, as in `spec.rules[0].from[1].zoneNames`; empty for the whole object.
    pub field: String,
    /// What is wrong, and what is allowed.
    pub message: String,
}

/// What evaluates rules, and the rules of the kinds that were asked about.
struct Engine {
    validator: Validator,
    rules: BTreeMap<String, CompiledSchema>,
}

/// Checks an object of a kind that is defined here, but for its metadata beyond the name; gives it with its defaults.
///
/// # Errors
///
/// All that its definition does not allow, in the object's order.
pub fn check(kind: &str, mut object: Value) -> Result<Value, Vec<Violation>> {
    let Some(schema) = schema(kind) else {
        return Ok(object);
    };
    structure::drop_nulls(schema, &mut object);
    let found = structure::check(schema, &object);
    if !found.is_empty() {
        return Err(found);
    }
    let object = apply_defaults(schema, &object);
    static ENGINE: LazyLock<Mutex<Engine>> = LazyLock::new(|| {
        Mutex::new(Engine {
            validator: Validator::new(),
            rules: BTreeMap::new(),
        })
    });
    // Nothing of it can be half-done: a kind's rules are put there whole.
    let mut engine = ENGINE.lock().unwrap_or_else(PoisonError::into_inner);
    let Engine { validator, rules } = &mut *engine;
    let rules = rules
        .entry(kind.to_owned())
        .or_insert_with(|| compile_schema(schema));
    match validator.validate_compiled(rules, &object, None) {
        Ok(()) => Ok(object),
        Err(found) => Err(found
            .into_iter()
            .map(|found| Violation {
                field: found.field_path,
                message: found.message,
            })
            .collect()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::definitions;

    #[test]
    fn every_rule_of_every_kind_can_be_evaluated_here() {
        fn errors(rules: &CompiledSchema, found: &mut Vec<String>) {
            found.extend(rules.compilation_errors().iter().map(ToString::to_string));
            rules.properties.values().for_each(|it| errors(it, found));
            rules.items.iter().for_each(|it| errors(it, found));
            let values = &rules.additional_properties;
            values.iter().for_each(|it| errors(it, found));
        }
        let kinds = definitions().into_iter().map(|it| it.spec.names.kind);
        for kind in kinds.chain(["ClusterNetworkPolicy".to_owned()]) {
            let mut found = Vec::new();
            errors(&compile_schema(schema(&kind).unwrap()), &mut found);
            assert_eq!(found, Vec::<String>::new(), "{kind}");
        }
    }

    #[test]
    fn defaults_are_in_the_object() {
        let zone = json!({
            "apiVersion": "ringfence.dev/v1alpha1",
            "kind": "SecurityZone",
            "metadata": { "name": "a" },
            "spec": { "members": [], "egress": null },
        });
        let zone = check("SecurityZone", zone).unwrap();
        let spec = json!({
            "members": [],
            "ingress": "Open",
            "egress": "Open",
            "intraZoneTraffic": "Allow",
            "enforcement": "Enforce",
        });
        assert_eq!(zone["spec"], spec);
    }
}
