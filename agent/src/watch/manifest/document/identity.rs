//! Who an object is: kind, namespace and name, and what is kept of one that cannot be read.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::networking::v1::{NetworkPolicy, NetworkPolicySpec},
    apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta},
};
use serde::de::DeserializeOwned;

use crate::{
    model::{Diagnostic, Origin},
    watch::{
        manifest::{
            decode::{Problem, decode},
            tree::{Node, Position, Value},
        },
        object::{Broken, Kind, Object, ObjectKey},
        suggest::nearest,
    },
};

pub(super) fn broken(
    key: ObjectKey,
    node: &Node,
    origin: Origin,
    problems: Vec<Problem>,
) -> Broken {
    let diagnostics = problems
        .into_iter()
        .map(|problem| Diagnostic {
            origin: Origin {
                line: problem.position.line,
                ..origin.clone()
            },
            object: key.to_string(),
            field: problem.field,
            message: problem.message,
        })
        .collect();
    let remnant = (key.kind == Kind::NetworkPolicy)
        .then(|| remnant(&key, node))
        .flatten();
    Broken {
        key,
        origin,
        revision: None,
        remnant,
        diagnostics,
    }
}

/// The kinds that are read, for messages.
pub(super) fn kinds() -> String {
    let mut groups: Vec<(&str, Vec<&str>)> = Vec::new();
    for kind in Kind::ALL {
        match groups.last_mut() {
            Some((version, names)) if *version == kind.api_version() => names.push(kind.as_str()),
            _ => groups.push((kind.api_version(), vec![kind.as_str()])),
        }
    }
    let groups = groups.iter();
    let groups = groups.map(|(version, names)| format!("{} ({version})", names.join(", ")));
    let groups: Vec<String> = groups.collect();
    format!("{}, and lists of them", groups.join(", "))
}

/// True for a version that never was one of the kinds': another project's `NetworkPolicy`, say.
pub(super) fn foreign(version: &str) -> bool {
    const GROUPS: [&str; 4] = [
        "extensions",
        "networking.k8s.io",
        "policy.networking.k8s.io",
        "ringfence.dev",
    ];
    version
        .split_once('/')
        .is_some_and(|(group, _)| !GROUPS.contains(&group) && nearest(group, GROUPS).is_none())
}

/// Which object this is. Where that is in doubt, it is none that is known.
pub(super) fn identify(
    kind: Kind,
    node: &Node,
) -> Result<ObjectKey, (Position, &'static str, String)> {
    let Some(metadata) = node.get("metadata") else {
        let message = "`metadata` is missing; an object needs a name".to_owned();
        return Err((node.position, "metadata", message));
    };
    let Value::Mapping(entries) = &metadata.value else {
        let message = "`metadata` must be a mapping with a name".to_owned();
        return Err((metadata.position, "metadata", message));
    };
    let one = |field: &'static str, path: &'static str| {
        let mut found = entries.iter().filter(|(key, _)| key.text == field);
        let (Some((_, value)), second) = (found.next(), found.next()) else {
            return Ok(None);
        };
        if let Some((key, _)) = second {
            let message = format!("`{field}` stands here a second time; keep one of them");
            return Err((key.position, path, message));
        }
        match value.text() {
            Some(text) => Ok(Some(text)),
            None if value.is_null() && field == "namespace" => Ok(None),
            None => {
                let message = format!("`{field}` must be a string: put it in quotes");
                Err((value.position, path, message))
            }
        }
    };
    let namespace = one("namespace", "metadata.namespace")?;
    match one("name", "metadata.name")? {
        None | Some("") => {
            let message = "`name` is missing (generateName gives none without an API server)";
            Err((metadata.position, "metadata.name", message.to_owned()))
        }
        Some(name) => Ok(ObjectKey::new(kind, namespace, name)),
    }
}

pub(super) fn typed<T: DeserializeOwned>(
    node: &Node,
    wrap: fn(Box<T>) -> Object,
) -> Result<(Object, BTreeMap<String, usize>), Vec<Problem>> {
    decode(node).map(|(object, lines)| (wrap(Box::new(object)), lines))
}

/// What says whom a broken policy is about; nothing if that is not certain.
pub(super) fn remnant(key: &ObjectKey, node: &Node) -> Option<Box<NetworkPolicy>> {
    let known = node
        .get("metadata")
        .and_then(|metadata| decode::<ObjectMeta>(metadata).ok());
    let metadata = known.map_or_else(
        || ObjectMeta {
            name: Some(key.name.clone()),
            namespace: Some(key.namespace.clone()),
            ..ObjectMeta::default()
        },
        |(metadata, _)| metadata,
    );
    let spec = node.get("spec")?;
    let Value::Mapping(entries) = &spec.value else {
        return None;
    };
    let twice = |field| entries.iter().filter(|(key, _)| key.text == field).count() > 1;
    if twice("podSelector") {
        return None;
    }
    // Without a podSelector it is either about every pod, or the field is misspelt.
    let (pod_selector, _) = decode::<LabelSelector>(spec.get("podSelector")?).ok()?;
    let types = spec.get("policyTypes").filter(|_| !twice("policyTypes"));
    let types = types
        .and_then(|types| decode::<Vec<String>>(types).ok())
        .map(|(types, _)| types);
    // Its rules may have been meant for either direction.
    let types = types.unwrap_or_else(|| vec!["Ingress".to_owned(), "Egress".to_owned()]);
    Some(Box::new(NetworkPolicy {
        metadata,
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(pod_selector),
            policy_types: Some(types),
            ..NetworkPolicySpec::default()
        }),
    }))
}
