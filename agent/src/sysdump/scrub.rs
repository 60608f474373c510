//! Takes out what looks like a secret. Nothing that holds one is collected on purpose; this is for what a log line or an
//! object's annotation may hold.

use serde_json::Value;

const REMOVED: &str = "[removed]";

/// Words after which the rest of a line goes.
const WORDS: [&str; 5] = [
    "authorization:",
    "bearer ",
    "password=",
    "secret=",
    "token=",
];

/// Fields of objects that may hold secrets, or only repeat the object.
const FIELDS: [&str; 4] = [
    "env",
    "envFrom",
    "managedFields",
    "kubectl.kubernetes.io/last-applied-configuration",
];

/// A text without what looks like a secret.
#[must_use]
pub fn scrub(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let end = line.len() - line.trim_end_matches('\n').len();
        let (line, end) = line.split_at(line.len() - end);
        clean.push_str(&scrub_line(line));
        clean.push_str(end);
    }
    clean
}

fn scrub_line(line: &str) -> String {
    // As bytes, so that places are the same whatever the letters.
    let lower = line.to_ascii_lowercase();
    let cut = WORDS
        .iter()
        .filter_map(|word| Some((lower.find(word)?, word)))
        .min();
    let line = match cut {
        Some((at, word)) => {
            let kept = &line[..at + word.trim_end().len()];
            return format!(
                "{kept}{}{REMOVED}",
                if word.ends_with('=') { "" } else { " " }
            );
        }
        None => line,
    };
    if !line.contains("eyJ") {
        return line.to_owned();
    }
    line.split_inclusive(|c: char| !is_of_token(c))
        .map(|word| {
            let token = word.trim_end_matches(|c: char| !is_of_token(c));
            if token.starts_with("eyJ") && token.contains('.') {
                word.replacen(token, REMOVED, 1)
            } else {
                word.to_owned()
            }
        })
        .collect()
}

fn is_of_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')
}

/// An object, or a list of objects, without fields that may hold secrets.
#[must_use]
pub fn without_secrets(mut value: Value) -> Value {
    remove(&mut value);
    value
}

fn remove(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for field in FIELDS {
                fields.remove(field);
            }
            fields.values_mut().for_each(remove);
        }
        Value::Array(items) => items.iter_mut().for_each(remove),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tokens_go_and_the_rest_stays() {
        for (text, expect) in [
            ("plain text\n", "plain text\n"),
            ("a\nb", "a\nb"),
            ("Authorization: Bearer x", "Authorization: [removed]"),
            ("curl -H 'Bearer x y'", "curl -H 'Bearer [removed]"),
            ("url?token=abc&x=1", "url?token=[removed]"),
            (
                r#"{"t":"eyJhbGciOi.eyJpc3Mi.c2ln","n":1}"#,
                r#"{"t":"[removed]","n":1}"#,
            ),
            ("eyJust a word", "eyJust a word"),
            ("", ""),
        ] {
            assert_eq!(scrub(text), expect);
        }
    }

    #[test]
    fn objects_lose_their_environment() {
        let pod = json!({"items": [{
            "metadata": {"name": "a", "managedFields": [1], "annotations": {
                "kubectl.kubernetes.io/last-applied-configuration": "{}", "x": "y"}},
            "spec": {"containers": [{"name": "c", "env": [{"name": "P", "value": "s"}]}]},
        }]});
        let expect = json!({"items": [{
            "metadata": {"name": "a", "annotations": {"x": "y"}},
            "spec": {"containers": [{"name": "c"}]},
        }]});
        assert_eq!(without_secrets(pod), expect);
    }
}
