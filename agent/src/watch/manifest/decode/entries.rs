//! Lists and mappings, entry by entry: unknown and misspelt fields are refused here.

use serde::de::{
    DeserializeSeed, Error as _, IntoDeserializer as _, MapAccess, SeqAccess,
    value::StrDeserializer,
};

use super::{De, Failure, Path};
use crate::watch::manifest::tree::{Key, Node, Position};

/// The fields that are allowed; of a long list, none.
pub(super) fn list(fields: &[&str]) -> String {
    if fields.is_empty() || fields.len() > 16 {
        return String::new();
    }
    format!(" (allowed here: {})", fields.join(", "))
}

/// Items of a list.
pub(super) struct Items<'de, 'p> {
    pub(super) de: De<'de, 'p>,
    pub(super) items: std::iter::Enumerate<std::slice::Iter<'de, Node>>,
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
pub(super) struct Entries<'de, 'p> {
    pub(super) de: De<'de, 'p>,
    pub(super) entries: &'de [(Key, Node)],
    pub(super) next: usize,
    pub(super) known: &'static [&'static str],
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
pub(super) fn enter<'de, T: DeserializeSeed<'de>>(
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
