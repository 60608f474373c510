//! A file's text as objects, good and broken.

mod identity;

use std::collections::BTreeMap;

use k8s_openapi::{
    api::networking::v1::NetworkPolicy, apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use super::{
    super::{
        object::{Broken, Kind, Object, ObjectKey, Read},
        revision::Revision,
        suggest::nearest,
    },
    checked::checked,
    decode::decode,
    tree::{self, Node, Position, Value},
};
use crate::model::{Diagnostic, Origin};

use identity::{broken, foreign, identify, kinds, typed};

/// What a file says.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Reading {
    pub items: Vec<Item>,
    /// What is wrong apart from those objects.
    pub diagnostics: Vec<Diagnostic>,
    /// There is more in the file than those objects, and it cannot be told what.
    pub incomplete: bool,
}

/// An object of a file.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Item {
    Good(Box<Read>),
    Broken(Box<Broken>),
}

/// Reads a file's text.
pub(super) fn read(file: &str, text: &str, ignore_other_kinds: bool) -> Reading {
    let mut reader = Reader {
        file,
        ignore_other_kinds,
        reading: Reading::default(),
    };
    match tree::parse(text) {
        // Somebody may be about to write it anew: the kernel reports that it was emptied only after.
        Ok(_) if text.is_empty() => {
            let message = if file == "-" {
                "standard input is empty; a comment says nothing on purpose"
            } else {
                "the file is empty; delete it, or leave a comment in it, if it is to say nothing"
            };
            reader.unidentified(Position { line: 1, column: 1 }, "", message);
        }
        Ok(documents) => documents.iter().for_each(|node| reader.object(node, None)),
        Err(unreadable) => reader.unidentified(unreadable.position, "", unreadable.message),
    }
    reader.reading
}

// === impl Item ===

impl Item {
    pub fn key(&self) -> &ObjectKey {
        match self {
            Self::Good(read) => &read.key,
            Self::Broken(broken) => &broken.key,
        }
    }

    pub fn origin(&self) -> &Origin {
        match self {
            Self::Good(read) => &read.origin,
            Self::Broken(broken) => &broken.origin,
        }
    }
}

// === impl Reader ===

struct Reader<'a> {
    file: &'a str,
    ignore_other_kinds: bool,
    reading: Reading,
}

impl Reader<'_> {
    fn origin(&self, position: Position) -> Origin {
        Origin {
            file: self.file.to_owned(),
            line: position.line,
        }
    }

    /// Something that may be an object, and no one can tell which.
    fn unidentified(&mut self, position: Position, field: &str, message: impl Into<String>) {
        let (origin, object) = (self.origin(position), String::new());
        let (field, message) = (field.to_owned(), message.into());
        self.reading.diagnostics.push(Diagnostic {
            origin,
            object,
            field,
            message,
        });
        self.reading.incomplete = true;
    }

    /// Reads an object or a list of them; items of a typed list may leave out their kind.
    fn object(&mut self, node: &Node, kind_of_list: Option<Kind>) {
        let Value::Mapping(entries) = &node.value else {
            return self.unidentified(
                node.position,
                "",
                "an object is needed here: a mapping with apiVersion, kind and metadata",
            );
        };
        // Two objects without a `---` between them look like one with its keys twice.
        for (index, (key, _)) in entries.iter().enumerate() {
            if let Some((first, _)) = entries[..index]
                .iter()
                .find(|(have, _)| have.text == key.text)
            {
                let message = format!(
                    "`{}` stands here a second time (first in line {}); keep one of them, or write \
                     `---` between two objects",
                    key.text, first.position.line
                );
                return self.unidentified(key.position, &key.text, message);
            }
        }
        let known: Vec<&str> = vec!["apiVersion", "kind", "metadata", "spec", "status", "items"];
        let text = |field: &str| match node.get(field) {
            Some(value) => value
                .text()
                .map(Some)
                .ok_or_else(|| (value.position, format!("`{field}` must be a string"))),
            None => Ok(None),
        };
        let (kind, version) = match (text("kind"), text("apiVersion")) {
            (Ok(kind), Ok(version)) => (kind, version),
            (Err((position, message)), _) | (_, Err((position, message))) => {
                return self.unidentified(position, "", message);
            }
        };
        let (kind, version) = match (kind, version, kind_of_list) {
            (Some(kind), Some(version), _) => (kind, version),
            (None, None, Some(kind)) => (kind.as_str(), kind.api_version()),
            (kind, ..) => {
                let missing = if kind.is_none() { "kind" } else { "apiVersion" };
                let slip = entries
                    .iter()
                    .map(|(key, _)| key.text.as_str())
                    .find(|key| {
                        !known.contains(key) && nearest(key, known.clone()) == Some(missing)
                    });
                let slip = slip.map_or_else(
                    || ".".to_owned(),
                    |slip| format!("; is `{slip}` meant to be it?"),
                );
                return self.unidentified(
                    node.position,
                    "",
                    format!(
                        "`{missing}` is missing{slip} The kinds that are read: {}",
                        kinds()
                    ),
                );
            }
        };
        let place = node.get("kind").map_or(node.position, |kind| kind.position);
        if kind == "List" && version == "v1" {
            return self.list(node, None);
        }
        if let Some(item) = kind.strip_suffix("List").and_then(Kind::by_name)
            && version == item.api_version()
        {
            return self.list(node, Some(item));
        }
        match Kind::by_name(kind) {
            Some(known) if known.api_version() == version => self.known(known, node),
            Some(_) if self.ignore_other_kinds && foreign(version) => {}
            Some(known) => {
                let place = node
                    .get("apiVersion")
                    .map_or(place, |version| version.position);
                self.unidentified(
                    place,
                    "apiVersion",
                    format!(
                        "{kind} of `{version}` is not read; the version that is: `{}`",
                        known.api_version()
                    ),
                );
            }
            None => {
                let meant = nearest(kind, Kind::ALL.map(Kind::as_str));
                if meant.is_none() && self.ignore_other_kinds {
                    return;
                }
                let hint = meant.map_or_else(
                    || "; --ignore-other-kinds passes over it.".to_owned(),
                    |meant| format!("; did you mean `{meant}`?"),
                );
                let message = format!(
                    "unknown kind `{kind}`{hint} The kinds that are read: {}",
                    kinds()
                );
                self.unidentified(place, "kind", message);
            }
        }
    }

    fn list(&mut self, node: &Node, kind: Option<Kind>) {
        if let Value::Mapping(entries) = &node.value {
            for (key, _) in entries {
                if !["apiVersion", "kind", "metadata", "items"].contains(&key.text.as_str()) {
                    let message = format!(
                        "unknown field `{}` of a list (allowed here: apiVersion, kind, metadata, items)",
                        key.text
                    );
                    self.unidentified(key.position, &key.text, message);
                }
            }
        }
        match node.get("items") {
            Some(Node {
                value: Value::List(items),
                ..
            }) => {
                items.iter().for_each(|item| self.object(item, kind));
            }
            Some(items) if items.is_null() => {}
            Some(items) => {
                self.unidentified(items.position, "items", "`items` must be a list of objects");
            }
            None => self.unidentified(node.position, "items", "`items` is missing from this list"),
        }
    }

    fn known(&mut self, kind: Kind, node: &Node) {
        let key = match identify(kind, node) {
            Ok(key) => key,
            Err((position, field, message)) => return self.unidentified(position, field, message),
        };
        let origin = self.origin(node.position);
        let decoded = match kind {
            Kind::Namespace => typed(node, Object::Namespace),
            Kind::Node => typed(node, Object::Node),
            Kind::Pod => typed(node, Object::Pod),
            Kind::Service => typed(node, Object::Service),
            Kind::NetworkPolicy => typed(node, Object::NetworkPolicy),
            Kind::ClusterNetworkPolicy
            | Kind::SecurityZone
            | Kind::ZonePolicy
            | Kind::TenantIsolation
            | Kind::MetadataFirewall
            | Kind::MetadataAccess => checked(kind, node),
        };
        self.reading.items.push(match decoded {
            Ok((object, lines)) => Item::Good(Box::new(Read {
                key,
                object,
                origin,
                lines,
            })),
            Err(problems) => Item::Broken(Box::new(broken(key, node, origin, problems))),
        });
    }
}

/// A policy of the API, decoded as strictly as one in a file, but for its metadata: the API server knows what
/// may stand there. What is said of it has no lines.
pub(super) fn policy(key: ObjectKey, metadata: ObjectMeta, value: &serde_json::Value) -> Item {
    let node = Node::of_json(value);
    let origin = Origin::default();
    match decode::<NetworkPolicy>(&node) {
        Ok((mut policy, _)) => {
            policy.metadata = metadata;
            Item::Good(Box::new(Read {
                key,
                object: Object::NetworkPolicy(Box::new(policy)),
                origin,
                lines: BTreeMap::new(),
            }))
        }
        Err(problems) => {
            let mut broken = broken(key, &node, origin, problems);
            broken.revision = Revision::of(&metadata);
            if let Some(remnant) = &mut broken.remnant {
                remnant.metadata = metadata;
            }
            for diagnostic in &mut broken.diagnostics {
                diagnostic.origin = Origin::default();
            }
            Item::Broken(Box::new(broken))
        }
    }
}

/// An object of a kind that a schema defines, as the API tells it, checked as one in a file is. What is said of it has no
/// lines.
pub(super) fn custom(key: ObjectKey, metadata: ObjectMeta, value: &serde_json::Value) -> Item {
    let mut node = Node::of_json(value);
    node.set(
        "metadata",
        Node::of_json(&serde_json::json!({ "name": key.name })),
    );
    let origin = Origin::default();
    match checked(key.kind, &node) {
        Ok((mut object, _)) => {
            *object.metadata_mut() = metadata;
            Item::Good(Box::new(Read {
                key,
                object,
                origin,
                lines: BTreeMap::new(),
            }))
        }
        Err(problems) => {
            let mut broken = broken(key, &node, origin, problems);
            broken.revision = Revision::of(&metadata);
            for diagnostic in &mut broken.diagnostics {
                diagnostic.origin = Origin::default();
            }
            Item::Broken(Box::new(broken))
        }
    }
}
