//! The line that a message is about, with a caret under the field.

use std::{collections::HashMap, fs};

use super::tree::{self, Node, Position, Value};
use crate::model::Diagnostic;

/// Letters of a line that are shown, at most.
const WIDTH: usize = 120;

/// Files as they are now, each read once.
#[derive(Default)]
pub struct Excerpts {
    files: HashMap<String, Option<File>>,
}

struct File {
    text: String,
    /// Empty if it is no YAML.
    documents: Vec<Node>,
}

impl Excerpts {
    /// The line of a diagnostic's file with a caret under its field; `None` if it cannot be read (again), or says something
    /// else by now.
    pub fn of(&mut self, diagnostic: &Diagnostic) -> Option<String> {
        let origin = &diagnostic.origin;
        if origin.line == 0 || origin.file.is_empty() || origin.file == "-" {
            return None;
        }
        let file = self.files.entry(origin.file.clone());
        let file = file.or_insert_with(|| {
            let text = fs::read_to_string(&origin.file).ok()?;
            let documents = tree::parse(&text).unwrap_or_default();
            Some(File { text, documents })
        });
        excerpt(file.as_ref()?, diagnostic)
    }
}

fn excerpt(file: &File, diagnostic: &Diagnostic) -> Option<String> {
    let origin = &diagnostic.origin;
    let line = file.text.lines().nth(origin.line - 1)?;
    let (column, length) = place(&file.documents, origin.line, &diagnostic.field)
        .unwrap_or_else(|| (line.len() - line.trim_start().len() + 1, 1));
    let shown: String = line.chars().take(WIDTH).collect();
    if column > WIDTH {
        return None;
    }
    let number = origin.line.to_string();
    let margin = " ".repeat(number.len());
    let carets = "^".repeat(length.min(WIDTH + 1 - column).max(1));
    Some(format!(
        "{margin} |\n{number} | {shown}\n{margin} | {}{carets}",
        " ".repeat(column - 1)
    ))
}

/// Column and length of what a field says, or of its name, in a line.
fn place(documents: &[Node], line: usize, field: &str) -> Option<(usize, usize)> {
    let objects = documents.iter().flat_map(objects);
    let mut best = None;
    for object in objects {
        if object.position.line <= line {
            best = find(object, field, line).or(best);
        }
    }
    best
}

/// The objects of a document: itself, or a list's items.
fn objects(document: &Node) -> Vec<&Node> {
    match document.get("items").map(|items| &items.value) {
        Some(Value::List(items)) => items.iter().collect(),
        _ => vec![document],
    }
}

fn find(object: &Node, field: &str, line: usize) -> Option<(usize, usize)> {
    let mut node = object;
    let mut named = (object.position, 1);
    let mut rest = field;
    while !rest.is_empty() {
        if let Some(index) = rest.strip_prefix('[') {
            let (index, after) = index.split_once(']')?;
            let Value::List(items) = &node.value else {
                break;
            };
            let Some(item) = items.get(index.parse::<usize>().ok()?) else {
                break;
            };
            (node, named, rest) = (item, (item.position, 1), after);
            continue;
        }
        rest = rest.strip_prefix('.').unwrap_or(rest);
        let Value::Mapping(entries) = &node.value else {
            break;
        };
        // A label's key may have dots in it.
        let Some((key, value)) = entries.iter().find(|(key, _)| {
            rest.strip_prefix(key.text.as_str())
                .is_some_and(|after| after.is_empty() || after.starts_with(['.', '[']))
        }) else {
            break;
        };
        rest = &rest[key.text.len()..];
        named = (key.position, key.text.chars().count());
        node = value;
    }
    // What is wrong is mostly the value; it is shown where it stands in the same line.
    if rest.is_empty()
        && let Value::Scalar { text, plain } = &node.value
        && node.position.line == line
        && !text.is_empty()
    {
        let quotes = if *plain { 0 } else { 2 };
        return Some((node.position.column, text.chars().count() + quotes));
    }
    let (Position { line: at, column }, length) = named;
    (at == line).then_some((column, length))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Origin;

    #[test]
    fn the_caret_stands_under_what_is_wrong() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("m.yaml");
        let text = "kind: A\nspec:\n  rules:\n  - name: a\n    from: [ { zoneNames: [appim, esb] } ]\n    \
                    labels: { a.b/c: \"x y\" }\n    empty:\n---\nkind: B\nspec: { a: 1 }\n";
        fs::write(&file, text).unwrap();
        for (line, field, expect) in [
            (5, "spec.rules[0].from[0].zoneNames[0]", Some((27, 5))),
            (5, "spec.rules[0].from[0]", Some((13, 1))),
            (5, "spec.rules[0].from", Some((5, 4))),
            (6, "spec.rules[0].labels.a.b/c", Some((22, 5))),
            (7, "spec.rules[0].empty", Some((5, 5))),
            (4, "spec.rules[0].missing", Some((5, 1))),
            (10, "spec.a", Some((12, 1))),
        ] {
            assert_eq!(
                place(&tree::parse(text).unwrap(), line, field),
                expect,
                "{field}"
            );
        }
        let diagnostic = Diagnostic {
            origin: Origin {
                file: file.display().to_string(),
                line: 10,
            },
            field: "spec.a".to_owned(),
            ..Diagnostic::default()
        };
        let shown = "   |\n10 | spec: { a: 1 }\n   |            ^";
        assert_eq!(Excerpts::default().of(&diagnostic).unwrap(), shown);
    }
}
