//! Values without parts: numbers, strings, and how a wrong one is described.

use serde::de::Visitor;

use super::{De, Failure};
use crate::watch::manifest::tree::{Node, Plain, Value, plain};

/// A node in a few words.
pub(super) fn describe(node: &Node) -> String {
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

impl<'de> De<'de, '_> {
    pub(super) fn scalar(&self) -> Option<Plain<'de>> {
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

    pub(super) fn whole_number<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match self.scalar() {
            Some(Plain::Integer(number)) => visitor
                .visit_i64(number)
                .map_err(|failure| self.place(failure)),
            _ => self.wanted("a whole number is needed"),
        }
    }

    pub(super) fn fraction<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match self.scalar() {
            Some(Plain::Float(number)) => visitor.visit_f64(number),
            Some(Plain::Integer(number)) => visitor.visit_i64(number),
            _ => self.wanted("a number is needed"),
        }
        .map_err(|failure| self.place(failure))
    }

    pub(super) fn string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
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
