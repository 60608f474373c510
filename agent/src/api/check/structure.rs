//! Structure: fields, types, bounds, patterns, repetitions.

use std::{cell::RefCell, collections::BTreeMap};

use k8s_openapi::jiff::Timestamp;
use regex::Regex;
use serde_json::{Map, Value};

use super::Violation;
use crate::watch::nearest;

/// Removes fields that are null: to the API server they are absent, since no field of these kinds may be null.
pub(super) fn drop_nulls(schema: &Value, value: &mut Value) {
    match value {
        Value::Object(entries) => {
            let Some(properties) = schema.get("properties") else {
                return;
            };
            entries.retain(|name, value| !value.is_null() || properties.get(name).is_none());
            for (name, value) in entries {
                if let Some(property) = properties.get(name) {
                    drop_nulls(property, value);
                }
            }
        }
        Value::Array(items) => {
            if let Some(schema) = schema.get("items") {
                for item in items {
                    drop_nulls(schema, item);
                }
            }
        }
        _ => {}
    }
}

/// All that a schema's structure does not allow.
pub(super) fn check(schema: &Value, value: &Value) -> Vec<Violation> {
    let mut checker = Checker { found: Vec::new() };
    checker.value(schema, value, "");
    checker.found
}

struct Checker {
    found: Vec<Violation>,
}

impl Checker {
    fn report(&mut self, field: &str, message: impl Into<String>) {
        self.found.push(Violation {
            field: field.to_owned(),
            message: message.into(),
        });
    }

    fn value(&mut self, schema: &Value, value: &Value, field: &str) {
        match (schema["type"].as_str(), value) {
            (Some("object"), Value::Object(entries)) => self.object(schema, entries, field),
            (Some("array"), Value::Array(items)) => self.list(schema, items, field),
            (Some("string"), Value::String(text)) => self.string(schema, text, field),
            (Some("integer"), Value::Number(number)) if number.is_i64() || number.is_u64() => {
                self.integer(schema, value.as_i64().unwrap_or(i64::MAX), field);
            }
            (Some("boolean"), Value::Bool(_)) | (None, _) => {}
            (Some(wanted), _) => {
                let wanted = match wanted {
                    "object" => "a mapping is needed",
                    "array" => "a list is needed (each item begins with `- `)",
                    "string" => "a string is needed",
                    "boolean" => "true or false is needed",
                    _ => "a whole number is needed",
                };
                let quotes = match (wanted, value) {
                    ("a string is needed", Value::Number(_) | Value::Bool(_)) => {
                        ": put it in quotes"
                    }
                    _ => "",
                };
                self.report(field, format!("{wanted}, not {}{quotes}", describe(value)));
            }
        }
    }

    fn object(&mut self, schema: &Value, entries: &Map<String, Value>, field: &str) {
        let below = |name: &str| match field {
            "" => name.to_owned(),
            field => format!("{field}.{name}"),
        };
        if let Some(values) = schema.get("additionalProperties") {
            for (name, value) in entries {
                self.value(values, value, &below(name));
            }
        } else if let Some(Value::Object(properties)) = schema.get("properties") {
            let required = schema["required"].as_array().map(Vec::as_slice);
            for name in required
                .unwrap_or_default()
                .iter()
                .filter_map(Value::as_str)
            {
                if !entries.contains_key(name) {
                    self.report(field, format!("`{name}` is missing"));
                }
            }
            let known = || properties.keys().map(String::as_str);
            for (name, value) in entries {
                let Some(property) = properties.get(name) else {
                    let meant = nearest(name, known())
                        .map_or_else(String::new, |meant| format!("; did you mean `{meant}`?"));
                    let allowed: Vec<&str> = known().collect();
                    let message = format!(
                        "unknown field `{name}`{meant} (allowed here: {})",
                        allowed.join(", ")
                    );
                    self.report(&below(name), message);
                    continue;
                };
                self.value(property, value, &below(name));
            }
        }
        let names = || {
            let properties = schema["properties"].as_object();
            let names = properties.into_iter().flat_map(Map::keys);
            names
                .map(|name| format!("`{name}`"))
                .collect::<Vec<_>>()
                .join(", ")
        };
        let (least, most) = (
            limit(schema, "minProperties"),
            limit(schema, "maxProperties"),
        );
        if least == Some(1) && most == Some(1) && entries.len() != 1 {
            self.report(field, format!("must have exactly one of {}", names()));
        } else if least.is_some_and(|least| entries.len() < least) {
            self.report(field, format!("must not be empty; it may have {}", names()));
        } else if let Some(most) = most.filter(|&most| entries.len() > most) {
            self.report(
                field,
                format!("{} entries; at most {most} are allowed", entries.len()),
            );
        }
    }

    fn list(&mut self, schema: &Value, items: &[Value], field: &str) {
        let count = items.len();
        if limit(schema, "minItems").is_some_and(|least| count < least) {
            let message =
                "must not be empty: give an item, or leave the field out if that is allowed";
            self.report(field, message);
        }
        if let Some(most) = limit(schema, "maxItems").filter(|&most| count > most) {
            self.report(field, format!("{count} items; at most {most} are allowed"));
        }
        for (index, item) in items.iter().enumerate() {
            self.value(&schema["items"], item, &format!("{field}[{index}]"));
        }
        let keys = match schema["x-kubernetes-list-type"].as_str() {
            Some("set") => Vec::new(),
            Some("map") => {
                let keys = schema["x-kubernetes-list-map-keys"].as_array();
                keys.into_iter()
                    .flatten()
                    .filter_map(Value::as_str)
                    .collect()
            }
            _ => return,
        };
        let mut seen = BTreeMap::new();
        for (index, item) in items.iter().enumerate() {
            let key: Vec<String> = match keys.as_slice() {
                [] => vec![item.to_string()],
                keys => keys.iter().map(|key| item[*key].to_string()).collect(),
            };
            if let Some(first) = seen.get(&key) {
                let what = if keys.is_empty() { "" } else { keys[0] };
                let message = format!(
                    "{} stands here a second time (first as {field}[{first}]){}",
                    key.join(", "),
                    if keys.is_empty() {
                        String::new()
                    } else {
                        format!(": `{what}` must be unique")
                    }
                );
                self.report(&format!("{field}[{index}]"), message);
            } else {
                seen.insert(key, index);
            }
        }
    }

    fn string(&mut self, schema: &Value, text: &str, field: &str) {
        if let Some(allowed) = schema["enum"].as_array() {
            if !allowed.iter().any(|it| it == text) {
                let allowed: Vec<&str> = allowed.iter().filter_map(Value::as_str).collect();
                let meant = nearest(text, allowed.iter().copied())
                    .map_or_else(String::new, |meant| format!("; did you mean `{meant}`?"));
                let message = format!(
                    "unknown value \"{text}\"{meant} (allowed here: {})",
                    allowed.join(", ")
                );
                self.report(field, message);
            }
            return;
        }
        let length = text.chars().count();
        if limit(schema, "minLength").is_some_and(|least| length < least) {
            self.report(field, "must not be empty");
        } else if let Some(most) = limit(schema, "maxLength").filter(|&most| length > most) {
            self.report(
                field,
                format!("{length} characters; at most {most} are allowed"),
            );
        } else if let Some(pattern) = schema["pattern"].as_str()
            && !matches(pattern, text)
        {
            self.report(field, format!("\"{text}\" must match {pattern}"));
        }
        if schema["format"] == "date-time" && !is_moment(text) {
            let message = format!(
                "\"{text}\" is no moment; write it with date, time and zone, as in 2027-03-31T00:00:00Z"
            );
            self.report(field, message);
        }
    }

    fn integer(&mut self, schema: &Value, number: i64, field: &str) {
        let (least, most) = (schema["minimum"].as_i64(), schema["maximum"].as_i64());
        if least.is_some_and(|least| number < least) || most.is_some_and(|most| number > most) {
            let range = match (least, most) {
                (Some(least), Some(most)) => format!("{least} to {most}"),
                (Some(least), None) => format!("{least} and more"),
                (None, most) => format!("at most {}", most.unwrap_or(i64::MAX)),
            };
            self.report(
                field,
                format!("{number} is out of range; allowed are {range}"),
            );
        }
    }
}

/// RFC 3339 to the letter: what the library takes beyond it (a blank for the `T`, a leap second), the API server does not.
fn is_moment(text: &str) -> bool {
    const MOMENT: &str =
        r"^\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:[0-5]\d(\.\d+)?([Zz]|[+-]\d{2}:\d{2})$";
    matches(MOMENT, text) && text.to_uppercase().parse::<Timestamp>().is_ok()
}

fn limit(schema: &Value, name: &str) -> Option<usize> {
    schema[name]
        .as_u64()
        .and_then(|limit| usize::try_from(limit).ok())
}

fn matches(pattern: &str, text: &str) -> bool {
    thread_local! {
        static PATTERNS: RefCell<BTreeMap<String, Option<Regex>>> = const { RefCell::new(BTreeMap::new()) };
    }
    PATTERNS.with_borrow_mut(|patterns| {
        let pattern = patterns
            .entry(pattern.to_owned())
            .or_insert_with(|| Regex::new(pattern).ok());
        // A pattern that is none lets nothing through.
        pattern
            .as_ref()
            .is_some_and(|pattern| pattern.is_match(text))
    })
}

/// A value in a few words.
fn describe(value: &Value) -> String {
    match value {
        Value::Null => "nothing (null)".to_owned(),
        Value::Bool(value) => format!("the boolean {value}"),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) => format!("the string \"{text}\""),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a mapping".to_owned(),
    }
}
