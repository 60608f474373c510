//! A tree as a typed object, strictly.
//!
//! The Kubernetes types skip fields that they do not know: they ask for something to be ignored.
//! Nothing is: every such request is a problem, as is a key that stands twice in a mapping.

use std::{cell::RefCell, collections::BTreeMap, fmt};

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, Error as _, IntoDeserializer as _, MapAccess,
    SeqAccess, Visitor, value::StrDeserializer,
};

use super::{
    super::suggest::nearest,
    tree::{Key, Node, Plain, Position, Value, plain},
};

/// Something wrong at one place of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub position: Position,
    /// Path of the field; empty for the whole object.
    pub field: String,
    pub message: String,
}

/// Decodes a tree; the lines of its fields come with it.
pub(super) fn decode<T: for<'de> Deserialize<'de>>(
    node: &Node,
) -> Result<(T, BTreeMap<String, usize>), Vec<Problem>> {
    let sink = RefCell::new(Sink::default());
    let de = De {
        node,
        path: &Path::Root,
        position: node.position,
        known: &[],
        sink: &sink,
    };
    let decoded = T::deserialize(de);
    let mut sink = sink.into_inner();
    match decoded {
        Ok(object) if sink.problems.is_empty() => Ok((object, sink.lines)),
        Ok(_) => Err(sink.problems),
        Err(Failure {
            at: Some(problem), ..
        }) => {
            sink.problems.push(*problem);
            Err(sink.problems)
        }
        Err(Failure { message, at: None }) => {
            sink.problems.push(Problem {
                position: node.position,
                field: String::new(),
                message,
            });
            Err(sink.problems)
        }
    }
}

#[derive(Default)]
struct Sink {
    problems: Vec<Problem>,
    lines: BTreeMap<String, usize>,
}

/// The way from the object to a field.
enum Path<'a> {
    Root,
    Field(&'a Path<'a>, &'a str),
    Item(&'a Path<'a>, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Field(Self::Root, name) => f.write_str(name),
            Self::Field(parent, name) => write!(f, "{parent}.{name}"),
            Self::Item(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

/// Why decoding stopped, and where once that is known.
#[derive(Debug)]
struct Failure {
    message: String,
    at: Option<Box<Problem>>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

impl serde::de::Error for Failure {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self {
            message: message.to_string(),
            at: None,
        }
    }
}

/// One node to be decoded.
#[derive(Clone, Copy)]
struct De<'de, 'p> {
    node: &'de Node,
    path: &'p Path<'p>,
    /// Where the field's name stands; for an item of a list, the item.
    position: Position,
    /// Fields that the object around this one has.
    known: &'static [&'static str],
    sink: &'p RefCell<Sink>,
}

// === impl De ===

impl<'de> De<'de, '_> {
    fn problem(&self, message: String) -> Problem {
        Problem {
            position: self.position,
            field: self.path.to_string(),
            message,
        }
    }

    fn fail<T>(&self, message: String) -> Result<T, Failure> {
        Err(self.place(Failure::custom(message)))
    }

    /// Gives a failure without a place this one.
    fn place(&self, failure: Failure) -> Failure {
        let at = failure
            .at
            .unwrap_or_else(|| Box::new(self.problem(failure.message.clone())));
        Failure {
            message: failure.message,
            at: Some(at),
        }
    }

    fn wanted<T>(&self, wanted: &str) -> Result<T, Failure> {
        self.fail(format!("{wanted}, not {}", describe(self.node)))
    }

    fn list<V: Visitor<'de>>(&self, items: &'de [Node], visitor: V) -> Result<V::Value, Failure> {
        let access = Items {
            de: *self,
            items: items.iter().enumerate(),
        };
        visitor
            .visit_seq(access)
            .map_err(|failure| self.place(failure))
    }

    fn mapping<V: Visitor<'de>>(
        &self,
        entries: &'de [(Key, Node)],
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        let access = Entries {
            de: *self,
            entries,
            next: 0,
            known,
        };
        visitor
            .visit_map(access)
            .map_err(|failure| self.place(failure))
    }

    fn scalar(&self) -> Option<Plain<'de>> {
        let Value::Scalar {
            text,
            plain: unquoted,
        } = &self.node.value
        else {
            return None;
        };
        Some(if *unquoted {
            plain(text)
        } else {
            Plain::Text(text)
        })
    }

    fn whole_number<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match self.scalar() {
            Some(Plain::Integer(number)) => visitor
                .visit_i64(number)
                .map_err(|failure| self.place(failure)),
            _ => self.wanted("a whole number is needed"),
        }
    }

    fn fraction<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match self.scalar() {
            Some(Plain::Float(number)) => visitor.visit_f64(number),
            Some(Plain::Integer(number)) => visitor.visit_i64(number),
            _ => self.wanted("a number is needed"),
        }
        .map_err(|failure| self.place(failure))
    }

    fn string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match self.scalar() {
            Some(Plain::Text(text)) => visitor
                .visit_borrowed_str(text)
                .map_err(|failure| self.place(failure)),
            Some(Plain::Null) => self.fail(
                "a string is needed, not nothing: write the value, or \"\" for an empty one".into(),
            ),
            Some(_) => self.fail(format!(
                "a string is needed, not {}: put it in quotes",
                describe(self.node)
            )),
            None => self.wanted("a string is needed"),
        }
    }
}

/// A node in a few words.
fn describe(node: &Node) -> String {
    match &node.value {
        Value::List(_) => "a list".into(),
        Value::Mapping(_) => "a mapping".into(),
        Value::Scalar { text, plain: false } => format!("the string \"{text}\""),
        Value::Scalar { text, plain: true } => match plain(text) {
            Plain::Null => "nothing (null)".into(),
            Plain::Boolean(value) => format!("the boolean {value}"),
            Plain::Integer(_) | Plain::Float(_) => format!("the number {text}"),
            Plain::Ambiguous => {
                format!("{text}, which some read as octal and some as decimal")
            }
            Plain::Text(text) => format!("the string \"{text}\""),
        },
    }
}

macro_rules! by {
    ($with:ident: $($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
            self.$with(visitor)
        })*
    };
}

impl<'de> Deserializer<'de> for De<'de, '_> {
    type Error = Failure;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match &self.node.value {
            Value::List(items) => self.list(items, visitor),
            Value::Mapping(entries) => self.mapping(entries, &[], visitor),
            Value::Scalar { .. } => match self.scalar() {
                None | Some(Plain::Null) => visitor.visit_unit(),
                Some(Plain::Boolean(value)) => visitor.visit_bool(value),
                Some(Plain::Integer(number)) => visitor.visit_i64(number),
                Some(Plain::Float(number)) => visitor.visit_f64(number),
                Some(Plain::Text(text)) => visitor.visit_borrowed_str(text),
                Some(Plain::Ambiguous) => self.fail(format!(
                    "{}: write it without the zero, or in quotes",
                    describe(self.node)
                )),
            }
            .map_err(|failure| self.place(failure)),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match self.scalar() {
            Some(Plain::Boolean(value)) => visitor
                .visit_bool(value)
                .map_err(|failure| self.place(failure)),
            _ => self.wanted("true or false is needed"),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        if self.node.is_null() {
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        if self.node.is_null() {
            visitor.visit_unit()
        } else {
            self.wanted("nothing is allowed")
        }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Failure> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Failure> {
        visitor
            .visit_newtype_struct(self)
            .map_err(|failure| self.place(failure))
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match &self.node.value {
            Value::List(items) => self.list(items, visitor),
            _ => self.wanted("a list is needed (each item begins with `- `)"),
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Failure> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Failure> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match &self.node.value {
            Value::Mapping(entries) => self.mapping(entries, &[], visitor),
            _ => self.wanted("a mapping is needed"),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        match &self.node.value {
            Value::Mapping(entries) => self.mapping(entries, fields, visitor),
            _ => self.wanted(&format!("a mapping is needed{}", list(fields))),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        match self.scalar() {
            Some(Plain::Text(text)) => visitor
                .visit_enum::<StrDeserializer<'_, Failure>>(text.into_deserializer())
                .map_err(|failure| self.place(failure)),
            _ => self.wanted("a string is needed"),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        let Path::Field(_, name) = self.path else {
            return visitor.visit_unit();
        };
        let meant = nearest(name, self.known.iter().copied())
            .map_or_else(String::new, |known| format!("; did you mean `{known}`?"));
        let message = format!("unknown field `{name}`{meant}{}", list(self.known));
        self.sink.borrow_mut().problems.push(self.problem(message));
        visitor.visit_unit()
    }

    by!(whole_number: deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64);
    by!(fraction: deserialize_f32 deserialize_f64);
    by!(string: deserialize_str deserialize_string deserialize_char deserialize_bytes
        deserialize_byte_buf deserialize_identifier);
}

/// The fields that are allowed; of a long list, none.
fn list(fields: &[&str]) -> String {
    if fields.is_empty() || fields.len() > 16 {
        return String::new();
    }
    format!(" (allowed here: {})", fields.join(", "))
}

/// Items of a list.
struct Items<'de, 'p> {
    de: De<'de, 'p>,
    items: std::iter::Enumerate<std::slice::Iter<'de, Node>>,
}

impl<'de> SeqAccess<'de> for Items<'de, '_> {
    type Error = Failure;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Failure> {
        let Some((index, node)) = self.items.next() else {
            return Ok(None);
        };
        let path = Path::Item(self.de.path, index);
        enter(self.de, node, &path, node.position, &[], seed).map(Some)
    }
}

/// Entries of a mapping.
struct Entries<'de, 'p> {
    de: De<'de, 'p>,
    entries: &'de [(Key, Node)],
    next: usize,
    known: &'static [&'static str],
}

impl<'de> MapAccess<'de> for Entries<'de, '_> {
    type Error = Failure;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Failure> {
        while let Some((key, _)) = self.entries.get(self.next) {
            let path = Path::Field(self.de.path, &key.text);
            let here = De {
                path: &path,
                position: key.position,
                ..self.de
            };
            let first = self.entries[..self.next]
                .iter()
                .find(|(have, _)| have.text == key.text);
            if let Some((first, _)) = first {
                let message = format!(
                    "`{}` stands here a second time (first in line {}); keep one of them",
                    key.text, first.position.line
                );
                self.de
                    .sink
                    .borrow_mut()
                    .problems
                    .push(here.problem(message));
                self.next += 1;
                continue;
            }
            if key.odd {
                return here.fail(format!(
                    "the key {} must be a string: put it in quotes",
                    key.text
                ));
            }
            let text: StrDeserializer<'_, Failure> = key.text.as_str().into_deserializer();
            return seed
                .deserialize(text)
                .map(Some)
                .map_err(|failure| here.place(failure));
        }
        Ok(None)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Failure> {
        let Some((key, node)) = self.entries.get(self.next) else {
            return Err(Failure::custom("a value without a key"));
        };
        self.next += 1;
        let path = Path::Field(self.de.path, &key.text);
        enter(self.de, node, &path, key.position, self.known, seed)
    }
}

/// Decodes what is inside of a list or mapping.
fn enter<'de, T: DeserializeSeed<'de>>(
    outer: De<'de, '_>,
    node: &'de Node,
    path: &Path<'_>,
    position: Position,
    known: &'static [&'static str],
    seed: T,
) -> Result<T::Value, Failure> {
    outer
        .sink
        .borrow_mut()
        .lines
        .insert(path.to_string(), position.line);
    let inner = De {
        node,
        path,
        position,
        known,
        sink: outer.sink,
    };
    seed.deserialize(inner)
}
