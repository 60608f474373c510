//! Objects of kinds that a schema defines: the same schema that the API server has checks them here.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Map, Number, Value as Json};

use super::{
    super::object::{Kind, Object},
    decode::{Problem, decode},
    tree::{Node, Plain, Position, Value, plain},
};
use crate::api;

/// Decodes an object, with its defaults; the lines of its fields come with it.
pub(super) fn checked(
    kind: Kind,
    node: &Node,
) -> Result<(Object, BTreeMap<String, usize>), Vec<Problem>> {
    let mut reader = Reader::default();
    let mut value = reader.json(node, "", node.position);
    // What may stand there is the same for all kinds.
    if let Some(Err(found)) = node.get("metadata").map(decode::<ObjectMeta>) {
        reader
            .problems
            .extend(found.into_iter().map(|problem| Problem {
                field: format!("metadata.{}", problem.field),
                ..problem
            }));
    }
    // A list's items may leave them out.
    for (field, text) in [("apiVersion", kind.api_version()), ("kind", kind.as_str())] {
        if value.get(field).is_none() {
            value[field] = text.into();
        }
    }
    let Reader {
        positions,
        mut problems,
    } = reader;
    if problems.is_empty() {
        match api::check(kind.as_str(), value) {
            Ok(checked) => match Object::from_json(kind, &checked.to_string()) {
                Ok(object) => {
                    let lines = positions.into_iter();
                    let lines = lines.map(|(field, position)| (field, position.line));
                    return Ok((object, lines.collect()));
                }
                Err(error) => problems.push(Problem {
                    position: node.position,
                    field: String::new(),
                    message: error.to_string(),
                }),
            },
            Err(found) => problems.extend(found.into_iter().map(|violation| Problem {
                position: nearest_position(&positions, &violation.field).unwrap_or(node.position),
                field: violation.field,
                message: violation.message,
            })),
        }
    }
    Err(problems)
}

/// Where a field stands, or the nearest one around it.
fn nearest_position(positions: &BTreeMap<String, Position>, field: &str) -> Option<Position> {
    let mut path = field;
    loop {
        if let Some(position) = positions.get(path) {
            return Some(*position);
        }
        path = &path[..path.rfind(['.', '['])?];
    }
}

#[derive(Default)]
struct Reader {
    positions: BTreeMap<String, Position>,
    problems: Vec<Problem>,
}

impl Reader {
    fn problem(&mut self, position: Position, field: &str, message: String) {
        self.problems.push(Problem {
            position,
            field: field.to_owned(),
            message,
        });
    }

    fn json(&mut self, node: &Node, path: &str, position: Position) -> Json {
        if !path.is_empty() {
            self.positions.insert(path.to_owned(), position);
        }
        match &node.value {
            Value::List(items) => {
                let items = items.iter().enumerate();
                let items = items.map(|(index, item)| {
                    self.json(item, &format!("{path}[{index}]"), item.position)
                });
                Json::Array(items.collect())
            }
            Value::Mapping(entries) => {
                let mut object = Map::new();
                for (key, value) in entries {
                    let below = match path {
                        "" => key.text.clone(),
                        path => format!("{path}.{}", key.text),
                    };
                    if let Some(first) = self
                        .positions
                        .get(&below)
                        .filter(|_| object.contains_key(&key.text))
                    {
                        let message = format!(
                            "`{}` stands here a second time (first in line {}); keep one of them",
                            key.text, first.line
                        );
                        self.problem(key.position, &below, message);
                        continue;
                    }
                    if key.odd {
                        let message =
                            format!("the key {} must be a string: put it in quotes", key.text);
                        self.problem(key.position, &below, message);
                        continue;
                    }
                    let value = self.json(value, &below, key.position);
                    object.insert(key.text.clone(), value);
                }
                Json::Object(object)
            }
            Value::Scalar { text, plain: false } => Json::String(text.clone()),
            Value::Scalar { text, plain: true } => match plain(text) {
                Plain::Null => Json::Null,
                Plain::Boolean(value) => Json::Bool(value),
                Plain::Integer(number) => Json::Number(number.into()),
                Plain::Float(number) => match Number::from_f64(number) {
                    Some(number) => Json::Number(number),
                    None => {
                        self.problem(position, path, format!("{text} is no number that fits"));
                        Json::Null
                    }
                },
                Plain::Ambiguous => {
                    let message = format!(
                        "{text}, which some read as octal and some as decimal: write it without the \
                         zero, or in quotes"
                    );
                    self.problem(position, path, message);
                    Json::Null
                }
                Plain::Text(text) => Json::String(text.to_owned()),
            },
        }
    }
}
