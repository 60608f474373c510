//! The kinds' schemas: what the derived ones lack, and what they have too much.

use std::sync::LazyLock;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt as _;
use serde_json::{Map, Value, json};

use super::{
    ClusterNetworkPolicy, MetadataAccess, MetadataFirewall, NodeZoneState, SecurityZone,
    TenantIsolation, ZonePolicy,
};

/// The definitions of this group's kinds, as they are installed.
///
/// # Panics
///
/// If a type of this module has no structural schema, which its tests would show.
#[must_use]
pub fn definitions() -> Vec<CustomResourceDefinition> {
    [
        SecurityZone::crd(),
        ZonePolicy::crd(),
        TenantIsolation::crd(),
        MetadataFirewall::crd(),
        MetadataAccess::crd(),
        NodeZoneState::crd(),
    ]
    .into_iter()
    .map(finished)
    .collect()
}

/// The definition of the kind that is not this group's, as far as it is read: a cluster has it from where it comes from.
///
/// # Panics
///
/// As [`definitions`].
#[must_use]
pub fn foreign() -> CustomResourceDefinition {
    finished(ClusterNetworkPolicy::crd())
}

/// The schema of an object of a kind; `None` for kinds that are not defined here.
#[must_use]
pub fn schema(kind: &str) -> Option<&'static Value> {
    static SCHEMAS: LazyLock<Vec<(String, Value)>> = LazyLock::new(|| {
        let all = definitions().into_iter().chain([foreign()]);
        all.map(|definition| {
            let kind = definition.spec.names.kind.clone();
            (kind, of(&definition))
        })
        .collect()
    });
    let found = SCHEMAS.iter().find(|(name, _)| name == kind);
    found.map(|(_, schema)| schema)
}

/// The schema of the definition's only version.
fn of(definition: &CustomResourceDefinition) -> Value {
    let version = definition.spec.versions.first();
    let schema = version.and_then(|version| version.schema.as_ref());
    let schema = schema.and_then(|schema| schema.open_api_v3_schema.as_ref());
    let mut schema = serde_json::to_value(schema).expect("a schema is a JSON value");
    // The type of a bound has room for a fraction only.
    mend(&mut schema);
    schema
}

/// A definition as JSON.
///
/// # Panics
///
/// If it is none, which no definition is.
#[must_use]
pub fn json(definition: &CustomResourceDefinition) -> Value {
    let mut value = serde_json::to_value(definition).expect("a definition is a JSON value");
    if let Some(schema) = value.pointer_mut("/spec/versions/0/schema/openAPIV3Schema") {
        mend(schema);
    }
    value
}

fn finished(definition: CustomResourceDefinition) -> CustomResourceDefinition {
    let mut value = serde_json::to_value(definition).expect("a definition is a JSON value");
    let schema = value.pointer_mut("/spec/versions/0/schema/openAPIV3Schema");
    if let Some(schema) = schema {
        mend(schema);
        // What every kind of Kubernetes says the same of these.
        let properties = schema
            .get_mut("properties")
            .and_then(Value::as_object_mut)
            .expect("of an object");
        for (name, words) in [
            ("apiVersion", "The version of this representation."),
            ("kind", "What the object is."),
        ] {
            properties.insert(
                name.to_owned(),
                json!({ "type": "string", "description": words }),
            );
        }
        properties.insert("metadata".to_owned(), json!({ "type": "object" }));
    }
    serde_json::from_value(value).expect("it was one")
}

/// Takes out what a schema has for Rust's sake, and adds what every list needs.
fn mend(schema: &mut Value) {
    let Value::Object(entries) = schema else {
        return;
    };
    // Absent and null are one to Rust; to the API server null is a value that patches cannot merge.
    entries.remove("nullable");
    if entries.get("default").is_some_and(Value::is_null) {
        entries.remove("default");
    }
    if let Some(Value::Array(values)) = entries.get_mut("enum") {
        values.retain(|value| !value.is_null());
    }
    // Widths of Rust's that Kubernetes does not know; the bounds say more.
    if let Some(format) = entries.get("format").and_then(Value::as_str)
        && !["int32", "int64", "date-time"].contains(&format)
    {
        entries.remove("format");
    }
    match entries.get("type").and_then(Value::as_str) {
        Some("array") if !entries.contains_key("x-kubernetes-list-type") => {
            entries.insert("x-kubernetes-list-type".to_owned(), "atomic".into());
        }
        Some("integer") => {
            for bound in ["minimum", "maximum"] {
                whole(entries, bound);
            }
        }
        _ => {}
    }
    if let Some(Value::Object(properties)) = entries.get_mut("properties") {
        properties.values_mut().for_each(mend);
    }
    for inner in ["items", "additionalProperties"] {
        if let Some(inner) = entries.get_mut(inner) {
            mend(inner);
        }
    }
}

/// Bounds are written as numbers with a fraction, of which people wonder.
fn whole(entries: &mut Map<String, Value>, bound: &str) {
    if let Some(number) = entries.get(bound).and_then(Value::as_f64)
        && number.fract() == 0.0
        && let Ok(number) = format!("{number:.0}").parse::<i64>()
    {
        entries.insert(bound.to_owned(), number.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goes through a schema; the path leads to each part.
    fn visit(schema: &Value, path: &str, see: &mut impl FnMut(&str, &Value)) {
        see(path, schema);
        if let Some(Value::Object(properties)) = schema.get("properties") {
            for (name, property) in properties {
                visit(property, &format!("{path}.{name}"), see);
            }
        }
        for inner in ["items", "additionalProperties"] {
            if let Some(inner) = schema.get(inner) {
                visit(inner, &format!("{path}[]"), see);
            }
        }
    }

    #[test]
    fn everything_that_users_write_is_bounded_and_nothing_is_nullable() {
        for definition in definitions() {
            let kind = definition.spec.names.kind.clone();
            let schema = of(&definition);
            let mut unbounded = Vec::new();
            visit(&schema["properties"]["spec"], &kind, &mut |path, part| {
                let has = |key: &str| part.get(key).is_some();
                assert!(
                    !has("nullable") && !has("anyOf") && !has("oneOf"),
                    "{path}: {part}"
                );
                let bounded = match part["type"].as_str() {
                    Some("string") => has("maxLength") || has("enum") || has("format"),
                    Some("array") => has("maxItems") && has("x-kubernetes-list-type"),
                    Some("object") => has("properties") || has("maxProperties"),
                    Some("integer") => has("minimum") && has("maximum"),
                    Some("boolean") => true,
                    _ => false,
                };
                if !bounded {
                    unbounded.push(format!("{path}: {part}"));
                }
                assert!(
                    part["default"].is_null() || part["type"] != "object",
                    "{path}: {part}"
                );
            });
            assert_eq!(unbounded, Vec::<String>::new());
        }
    }
}
