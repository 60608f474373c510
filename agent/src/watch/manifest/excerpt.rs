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
        let line = diagnostic.origin.line;
        let file = self.file(diagnostic)?;
        let text = file.text.lines().nth(line - 1)?;
        let (column, length) = place(&file.documents, line, diagnostic)
            .unwrap_or_else(|| (text.len() - text.trim_start().len() + 1, 1));
        Some(excerpt(line, text, column, length))
    }

    /// The same for a diagnostic that knows of its object's line only: the line that the field is in; `None` if it is in none.
    pub fn of_field(&mut self, diagnostic: &Diagnostic) -> Option<String> {
        let line = diagnostic.origin.line;
        let file = self.file(diagnostic)?;
        let object = object(&file.documents, line, diagnostic)?;
        let [value, name] = find(object, &diagnostic.field)?;
        let (Position { line, column }, length) = value.or(name)?;
        let text = file.text.lines().nth(line - 1)?;
        Some(excerpt(line, text, column, length))
    }

    fn file(&mut self, diagnostic: &Diagnostic) -> Option<&File> {
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
        file.as_ref()
    }
}

fn excerpt(line: usize, text: &str, column: usize, length: usize) -> String {
    let (shown, column) = window(text, column);
    let number = line.to_string();
    let margin = " ".repeat(number.len());
    let carets = "^".repeat(
        length
            .min((shown.chars().count() + 1).saturating_sub(column))
            .max(1),
    );
    format!(
        "{margin} |\n{number} | {shown}\n{margin} | {}{carets}",
        " ".repeat(column - 1)
    )
}

/// The part of a line that is shown, and the column there of what stands in this one: the beginning where it is in that.
fn window(line: &str, column: usize) -> (String, usize) {
    const CUT: &str = "… ";
    let skipped = if column + WIDTH / 4 > WIDTH {
        column - WIDTH / 2
    } else {
        0
    };
    let shown: String = line.chars().skip(skipped).take(WIDTH).collect();
    if skipped == 0 {
        return (shown, column.min(WIDTH));
    }
    let column = column - skipped + CUT.chars().count();
    (format!("{CUT}{shown}"), column)
}

/// Column and length of what a field says, or of its name, in a line.
fn place(documents: &[Node], line: usize, diagnostic: &Diagnostic) -> Option<(usize, usize)> {
    let found = find(object(documents, line, diagnostic)?, &diagnostic.field)?;
    let mut here = found.into_iter().flatten();
    let (position, length) = here.find(|(position, _)| position.line == line)?;
    Some((position.column, length))
}

/// The object that a diagnostic is about: the last one that begins before this line's end, and has its name where several do in
/// one line.
fn object<'a>(documents: &'a [Node], line: usize, diagnostic: &Diagnostic) -> Option<&'a Node> {
    let all = || documents.iter().flat_map(objects);
    let last = all().rfind(|it| it.position.line <= line)?;
    let mut beside = all().filter(|it| it.position.line == last.position.line);
    if beside.clone().count() == 1 {
        return Some(last);
    }
    beside.find(|it| is_called(it, &diagnostic.object))
}

/// True of the object `Kind/namespace/name` or `Kind/name`.
fn is_called(object: &Node, called: &str) -> bool {
    let text = |node: Option<&Node>| match node.map(|it| &it.value) {
        Some(Value::Scalar { text, .. }) => text.clone(),
        _ => String::new(),
    };
    let of = |field| text(object.get("metadata").and_then(|it| it.get(field)));
    let (kind, name) = (text(object.get("kind")), of("name"));
    let namespace = of("namespace");
    let whole = format!("{kind}/{namespace}/{name}");
    called == whole || called == format!("{kind}/{name}") || {
        namespace.is_empty() && called == format!("{kind}/default/{name}")
    }
}

/// The objects of a document: itself, or a list's items.
fn objects(document: &Node) -> Vec<&Node> {
    match document.get("items").map(|items| &items.value) {
        Some(Value::List(items)) => items.iter().collect(),
        _ => vec![document],
    }
}

/// Where what a field says stands, if it is one word, and where its name does, with their lengths.
fn find(object: &Node, field: &str) -> Option<[Option<(Position, usize)>; 2]> {
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
        // A label's key may have dots in it, and be the beginning of another one.
        let fitting = entries.iter().filter(|(key, _)| {
            rest.strip_prefix(key.text.as_str())
                .is_some_and(|after| after.is_empty() || after.starts_with(['.', '[']))
        });
        let Some((key, value)) = fitting.max_by_key(|(key, _)| key.text.len()) else {
            break;
        };
        rest = &rest[key.text.len()..];
        named = (key.position, key.text.chars().count());
        node = value;
    }
    let value = match &node.value {
        Value::Scalar { text, plain } if rest.is_empty() && !text.is_empty() => {
            let quotes = if *plain { 0 } else { 2 };
            Some((node.position, text.chars().count() + quotes))
        }
        _ => None,
    };
    // What is wrong is mostly the value.
    Some([value, Some(named)])
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
                    labels: { a: b, a.b/c: \"x y\" }\n    empty:\n---\nkind: B\nspec: { a: 1 }\n";
        fs::write(&file, text).unwrap();
        for (line, field, expect) in [
            (5, "spec.rules[0].from[0].zoneNames[0]", Some((27, 5))),
            (5, "spec.rules[0].from[0]", Some((13, 1))),
            (5, "spec.rules[0].from", Some((5, 4))),
            (6, "spec.rules[0].labels.a.b/c", Some((28, 5))),
            (7, "spec.rules[0].empty", Some((5, 5))),
            (4, "spec.rules[0].missing", Some((5, 1))),
            (10, "spec.a", Some((12, 1))),
        ] {
            let diagnostic = Diagnostic {
                field: field.to_owned(),
                ..Diagnostic::default()
            };
            let found = place(&tree::parse(text).unwrap(), line, &diagnostic);
            assert_eq!(found, expect, "{field}");
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

        // Several in one line are told apart by their names.
        let both = "items: [{kind: A, metadata: {name: a}, spec: {b: 1}}, {kind: A, metadata: {name: b}, spec: {b: 2}}]\n";
        for (object, column) in [("A/a", 50), ("A/b", 96)] {
            let diagnostic = Diagnostic {
                field: "spec.b".to_owned(),
                object: object.to_owned(),
                ..Diagnostic::default()
            };
            let found = place(&tree::parse(both).unwrap(), 1, &diagnostic);
            assert_eq!(found, Some((column, 1)), "{object}");
        }

        let long = format!("kind: A\nspec: {{ b: \"{}\", a: no }}\n", "x".repeat(300));
        fs::write(&file, &long).unwrap();
        let origin = Origin {
            line: 2,
            ..diagnostic.origin.clone()
        };
        let diagnostic = Diagnostic {
            origin,
            ..diagnostic
        };
        let shown = Excerpts::default().of(&diagnostic).unwrap();
        let [_, line, carets]: [&str; 3] = shown.lines().collect::<Vec<_>>().try_into().unwrap();
        let at = carets.find('^').unwrap();
        let above: String = line.chars().skip(at).take(2).collect();
        assert_eq!((above.as_str(), carets.trim_end().len()), ("no", at + 2));
        assert!(line.starts_with("2 | … xxx"), "{line}");
    }
}
