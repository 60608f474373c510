//! A tree as a typed object, strictly.
//!
//! The Kubernetes types skip fields that they do not know: they ask for something to be ignored.
//! Nothing is: every such request is a problem, as is a key that stands twice in a mapping.

mod entries;
mod problem;
mod scalar;

use std::{cell::RefCell, collections::BTreeMap};

use serde::de::{
    Deserialize, Deserializer, Error as _, IntoDeserializer as _, Visitor, value::StrDeserializer,
};

use super::{
    super::suggest::nearest,
    tree::{Key, Node, Plain, Position, Value},
};

use entries::{Entries, Items, list};
use problem::{Failure, Path, Sink};
use scalar::describe;

pub(super) use problem::Problem;

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
