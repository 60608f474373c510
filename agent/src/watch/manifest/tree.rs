//! YAML (and so JSON) text as trees that know where each part stands.
//!
//! One parser makes both the values and their positions, so the line that a message names is the
//! line that was read. Nothing is interpreted here: a scalar keeps its text, and what it means is
//! decided where the wanted type is known.

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span, Tag};
use serde_json::Value as Json;

/// Collections within collections, at most.
const MAX_DEPTH: usize = 64;
/// Nodes that aliases may add to one text, at most: a few lines of YAML can name billions.
const MAX_ALIASED: usize = 100_000;

/// A place in a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Position {
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
}

/// A value and its place.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub position: Position,
    pub value: Value,
    /// How many nodes it is made of, itself included.
    size: usize,
}

/// A value.
#[derive(Clone, Debug)]
pub(super) enum Value {
    /// A scalar's text; `plain` if it is neither quoted nor a block, so that it may be a number, a
    /// boolean or nothing.
    Scalar {
        text: String,
        plain: bool,
    },
    List(Vec<Node>),
    /// Entries in the text's order; a key that stands there twice is there twice.
    Mapping(Vec<(Key, Node)>),
}

/// A key of a mapping.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub position: Position,
    pub text: String,
    /// Not a string but what YAML reads as a number, a boolean or nothing.
    pub odd: bool,
}

/// Why a text has no trees.
#[derive(Clone, Debug)]
pub(super) struct Unreadable {
    pub position: Position,
    pub message: String,
}

/// What a plain scalar says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Plain<'a> {
    Null,
    Boolean(bool),
    Integer(i64),
    Float(f64),
    /// A number that some readers take for octal, some for decimal.
    Ambiguous,
    Text(&'a str),
}

/// Reads all documents of a text; empty ones are left out.
pub(super) fn parse(text: &str) -> Result<Vec<Node>, Unreadable> {
    let mut builder = Builder::default();
    let mut parser = Parser::new_from_str(text.strip_prefix('\u{feff}').unwrap_or(text));
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|error| syntax(&error))?;
        builder.take(event, span)?;
    }
    Ok(builder.documents)
}

/// What a plain scalar says, by the core schema of YAML 1.2.
pub(super) fn plain(text: &str) -> Plain<'_> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Plain::Null,
        "true" | "True" | "TRUE" => return Plain::Boolean(true),
        "false" | "False" | "FALSE" => return Plain::Boolean(false),
        _ => {}
    }
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.starts_with("0x") || digits.starts_with("0o") {
        let radix = if digits.starts_with("0x") { 16 } else { 8 };
        return i64::from_str_radix(&digits[2..], radix).map_or(Plain::Text(text), Plain::Integer);
    }
    if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        if digits.len() > 1 && digits.starts_with('0') {
            return Plain::Ambiguous;
        }
        // A number too large for any field is refused as a float would be.
        return text
            .parse()
            .map_or(Plain::Float(f64::INFINITY), Plain::Integer);
    }
    let numeric = |byte: u8| byte.is_ascii_digit() || b"+-.eE".contains(&byte);
    if digits.starts_with(|first: char| first.is_ascii_digit() || first == '.')
        && text.bytes().all(numeric)
        && let Ok(number) = text.parse()
    {
        return Plain::Float(number);
    }
    match digits {
        ".inf" | ".Inf" | ".INF" | ".nan" | ".NaN" | ".NAN" => Plain::Float(f64::INFINITY),
        _ => Plain::Text(text),
    }
}

// === impl Node ===

impl Node {
    /// The value of a key; `None` if this is no mapping or has no such key.
    pub fn get(&self, key: &str) -> Option<&Self> {
        let Value::Mapping(entries) = &self.value else {
            return None;
        };
        entries
            .iter()
            .find(|(have, _)| have.text == key)
            .map(|(_, value)| value)
    }

    /// The text, if this is a string.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar { text, plain: false } => Some(text),
            Value::Scalar { text, plain: true } if matches!(plain(text), Plain::Text(_)) => {
                Some(text)
            }
            _ => None,
        }
    }

    /// The tree of a JSON value; it has no positions.
    pub fn of_json(value: &Json) -> Self {
        let scalar = |text: String, plain| (Value::Scalar { text, plain }, 0);
        let (value, size) = match value {
            Json::Null => scalar("null".to_owned(), true),
            Json::Bool(value) => scalar(value.to_string(), true),
            Json::Number(number) => scalar(number.to_string(), true),
            Json::String(text) => scalar(text.clone(), false),
            Json::Array(items) => {
                let items: Vec<Self> = items.iter().map(Self::of_json).collect();
                let size = items.iter().map(|item| item.size).sum();
                (Value::List(items), size)
            }
            Json::Object(entries) => {
                let key = |text: &String| Key {
                    position: Position::default(),
                    text: text.clone(),
                    odd: false,
                };
                let entries = entries.iter();
                let entries: Vec<(Key, Self)> = entries
                    .map(|(name, value)| (key(name), Self::of_json(value)))
                    .collect();
                let size = entries.iter().map(|(_, value)| value.size).sum();
                (Value::Mapping(entries), size)
            }
        };
        Self {
            position: Position::default(),
            value,
            size: size + 1,
        }
    }

    /// Puts an entry into a mapping.
    pub fn set(&mut self, name: &str, value: Self) {
        if let Value::Mapping(entries) = &mut self.value {
            entries.retain(|(key, _)| key.text != name);
            let key = Key {
                position: value.position,
                text: name.to_owned(),
                odd: false,
            };
            entries.push((key, value));
        }
    }

    /// True for `null`, `~` or no value at all.
    pub fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, plain: true } if plain(text) == Plain::Null)
    }
}

// === impl Builder ===

/// Collections that are not closed yet, and the documents that are complete.
#[derive(Default)]
struct Builder {
    documents: Vec<Node>,
    open: Vec<Open>,
    /// By number of the anchor; the parser counts them from 1 through the whole text.
    anchors: Vec<Option<Node>>,
    aliased: usize,
}

struct Open {
    position: Position,
    anchor: usize,
    size: usize,
    value: Value,
    /// Key of the mapping whose value comes next.
    key: Option<Key>,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Unreadable> {
        let position = Position {
            line: span.start.line(),
            column: span.start.col() + 1,
        };
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let quoted = style != ScalarStyle::Plain || is_string(tag.as_deref(), position)?;
                let value = Value::Scalar {
                    text: text.into_owned(),
                    plain: !quoted,
                };
                self.put(
                    Node {
                        position,
                        value,
                        size: 1,
                    },
                    anchor,
                )
            }
            Event::SequenceStart(anchor, tag) => {
                is_string(tag.as_deref(), position)?;
                self.open(position, anchor, Value::List(Vec::new()))
            }
            Event::MappingStart(anchor, tag) => {
                is_string(tag.as_deref(), position)?;
                self.open(position, anchor, Value::Mapping(Vec::new()))
            }
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(Open {
                    position,
                    anchor,
                    size,
                    value,
                    ..
                }) => self.put(
                    Node {
                        position,
                        value,
                        size,
                    },
                    anchor,
                ),
                None => Ok(()),
            },
            Event::Alias(anchor) => {
                let Some(mut node) = self.anchors.get(anchor).cloned().flatten() else {
                    return Err(Unreadable {
                        position,
                        message: "an alias stands inside of what it names; write it out".into(),
                    });
                };
                self.aliased += node.size;
                if self.aliased > MAX_ALIASED {
                    return Err(Unreadable {
                        position,
                        message: format!(
                            "aliases make more than {MAX_ALIASED} values here; write them out"
                        ),
                    });
                }
                node.position = position;
                self.put(node, 0)
            }
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => Ok(()),
        }
    }

    fn open(&mut self, position: Position, anchor: usize, value: Value) -> Result<(), Unreadable> {
        if self.open.len() >= MAX_DEPTH {
            return Err(Unreadable {
                position,
                message: format!("nested deeper than {MAX_DEPTH} levels; no object is so deep"),
            });
        }
        self.open.push(Open {
            position,
            anchor,
            size: 1,
            value,
            key: None,
        });
        Ok(())
    }

    fn put(&mut self, node: Node, anchor: usize) -> Result<(), Unreadable> {
        if anchor > 0 {
            if self.anchors.len() <= anchor {
                self.anchors.resize(anchor + 1, None);
            }
            self.anchors[anchor] = Some(node.clone());
        }
        let Some(open) = self.open.last_mut() else {
            if !node.is_null() {
                self.documents.push(node);
            }
            return Ok(());
        };
        open.size += node.size;
        match (&mut open.value, open.key.take()) {
            (Value::List(items), _) => items.push(node),
            (Value::Mapping(entries), Some(key)) => entries.push((key, node)),
            (Value::Mapping(_), None) => {
                let Value::Scalar {
                    text,
                    plain: unquoted,
                } = node.value
                else {
                    return Err(Unreadable {
                        position: node.position,
                        message: "a key must be a string, not a list or a mapping; \
                                  a template (`{{ }}`) has to be rendered first"
                            .into(),
                    });
                };
                let odd = unquoted && !matches!(plain(&text), Plain::Text(_));
                open.key = Some(Key {
                    position: node.position,
                    text,
                    odd,
                });
            }
            (Value::Scalar { .. }, _) => {}
        }
        Ok(())
    }
}

/// True for `!!str`, false for no tag or one that changes nothing; all others are refused.
fn is_string(tag: Option<&Tag>, position: Position) -> Result<bool, Unreadable> {
    let Some(tag) = tag else { return Ok(false) };
    match tag.suffix.as_str() {
        "str" if tag.is_yaml_core_schema() => Ok(true),
        "" if tag.handle == "!" => Ok(true),
        "map" | "seq" if tag.is_yaml_core_schema() => Ok(false),
        _ => Err(Unreadable {
            position,
            message: format!("the tag {tag} has no meaning here; leave it out"),
        }),
    }
}

fn syntax(error: &ScanError) -> Unreadable {
    let marker = error.marker();
    Unreadable {
        position: Position {
            line: marker.line(),
            column: marker.col() + 1,
        },
        message: format!("not YAML: {}", error.info()),
    }
}
