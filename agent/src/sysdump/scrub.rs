//! Takes out what looks like a secret. Nothing that holds one is collected on purpose; this is for what a log line, an
//! object's annotation or a container's arguments may hold.

use std::{borrow::Cow, sync::LazyLock};

use regex::{Captures, Regex, RegexBuilder};
use serde_json::Value;

const REMOVED: &str = "[removed]";

/// Words in the name of what holds a secret.
const NAMES: &str = "passw(?:or)?d|passphrase|secret|token|api[-_]?key|access[-_]?key|private[-_]?key|key[-_]data|credential|authorization|cookie";

/// Fields of objects that may hold secrets, or only repeat the object.
const FIELDS: [&str; 5] = [
    "env",
    "envFrom",
    "managedFields",
    "kubectl.kubernetes.io/last-applied-configuration",
    "lastAppliedConfiguration",
];
/// Fields of containers that say how they are started: of Ringfence's own they are flags, and of use.
const START: [&str; 2] = ["args", "command"];
const OWN: &str = "agent";

/// What secrets look like wherever they stand: a pattern, and what stays of it.
static SHAPES: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    [
        // A key, over as many lines as it has, or what is there of it.
        (
            r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|\z)",
            REMOVED,
        ),
        // Who somebody says to be, in a header of HTTP, with or without its name.
        (
            r#"(?i)\b((?:proxy-)?authorization\\*["']?\s*[:=]\s*\\*["']?)[^\s"'\\][^"'\\\r\n]*"#,
            "${1}[removed]",
        ),
        (r"(?i)\b(bearer|basic)\s+[a-z0-9+/._~=-]+", "${1} [removed]"),
        // user:password@ of a URL.
        (r"(\w://)[^\s/@:]*:[^\s/@]*@", "${1}[removed]@"),
        // A JSON web token, and the keys of a cloud.
        (r"\beyJ[A-Za-z0-9_-]*\.[A-Za-z0-9._-]+", REMOVED),
        (r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b", REMOVED),
    ]
    .map(|(pattern, stays)| (compile(pattern), stays))
    .into()
});

/// NAME=VALUE, NAME: VALUE, "NAME": "VALUE", and that inside of a text of JSON, where each quote has a backslash.
static PAIRS: LazyLock<Regex> = LazyLock::new(|| {
    let plain = r#""(?:[^"\\]|\\.)*(?:"|\z)"#;
    let inside = r#"\\"(?:[^"\\]|\\[^"\\]|\\{2,}.)*(?:\\"|\z)"#;
    let single = r"'[^'\n]*'";
    let bare = r#"[^\s"'\\,;&{}\[\]]+"#;
    compile(&format!(
        r#"(?i)(?P<name>[\w.-]*(?:{NAMES})s?[\w.-]*)(?P<is>\\*["']?[ \t]*[:=][ \t]*)(?P<value>{plain}|{inside}|{single}|{bare})"#
    ))
});
static FLAGS: LazyLock<Regex> = LazyLock::new(|| {
    compile(&format!(
        r#"(?i)(--[\w-]*(?:{NAMES})[\w-]*[ \t]+)[^\s"'-][^\s"']*"#
    ))
});
static NAMED: LazyLock<Regex> = LazyLock::new(|| compile(&format!("(?i){NAMES}")));
/// Names that hold one of the words and tell of a secret without being one.
static HARMLESS: LazyLock<Regex> = LazyLock::new(|| {
    compile(
        r"(?i)^(?:automountServiceAccountToken|.*secret[-_]?name|imagePullSecrets|tokenExpirationSeconds)$",
    )
});

fn compile(pattern: &str) -> Regex {
    RegexBuilder::new(pattern)
        .build()
        .expect("every pattern is in this file, and tested")
}

/// A text without what looks like a secret. JSON stays JSON.
#[must_use]
pub fn scrub(text: &str) -> String {
    let mut clean = Cow::Borrowed(text);
    for (shape, stays) in SHAPES.iter() {
        clean = Cow::Owned(shape.replace_all(&clean, *stays).into_owned());
    }
    let clean = PAIRS.replace_all(&clean, |found: &Captures<'_>| {
        let (name, is, value) = (&found["name"], &found["is"], &found["value"]);
        if HARMLESS.is_match(name) || is_plain(value) {
            return found[0].to_owned();
        }
        let quote = value.find(['"', '\'']).map_or(0, |at| at + 1);
        let (before, rest) = value.split_at(quote);
        let (inner, after) = match rest.strip_suffix(before) {
            Some(inner) => (inner, before),
            None => (rest, ""),
        };
        // Nothing is between the quotes: then nothing is taken out.
        let inner = if inner.is_empty() { "" } else { REMOVED };
        format!("{name}{is}{before}{inner}{after}")
    });
    FLAGS
        .replace_all(&clean, format!("${{1}}{REMOVED}"))
        .into_owned()
}

/// Numbers and the like tell of a secret and are none.
fn is_plain(value: &str) -> bool {
    matches!(value, "true" | "false" | "null" | REMOVED) || value.parse::<f64>().is_ok()
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
            // Annotations and labels may be called so too; only a container has an image beside it.
            if fields.contains_key("image") && fields.get("name").is_none_or(|name| name != OWN) {
                for field in START {
                    fields.remove(field);
                }
            }
            for (name, value) in fields {
                match value {
                    Value::String(text) if NAMED.is_match(name) && !HARMLESS.is_match(name) => {
                        REMOVED.clone_into(text);
                    }
                    _ => remove(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(remove),
        Value::String(text) => *text = scrub(text),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_go_and_the_rest_stays() {
        for (text, expect) in [
            ("", ""),
            ("plain text\n", "plain text\n"),
            ("a\nb", "a\nb"),
            ("Authorization: Bearer x", "Authorization: [removed]"),
            ("curl -H 'Bearer x y'", "curl -H 'Bearer [removed] y'"),
            ("url?token=abc&x=1", "url?token=[removed]&x=1"),
            ("password: hunter2\nnext: 1", "password: [removed]\nnext: 1"),
            ("DB_PASSWORD='a b' c", "DB_PASSWORD='[removed]' c"),
            ("--db-password hunter2 --x", "--db-password [removed] --x"),
            (
                r#"{"token": "a\"b", "n": 1}"#,
                r#"{"token": "[removed]", "n": 1}"#,
            ),
            (
                r#"{"clientSecret":"s","x":"y"}"#,
                r#"{"clientSecret":"[removed]","x":"y"}"#,
            ),
            (
                r#"{"msg":"sent {\"api_key\":\"s\",\"x\":\"y\"}"}"#,
                r#"{"msg":"sent {\"api_key\":\"[removed]\",\"x\":\"y\"}"}"#,
            ),
            (
                r#"{"t":"eyJhbGciOi.eyJpc3Mi.c2ln","n":1}"#,
                r#"{"t":"[removed]","n":1}"#,
            ),
            ("https://me:pass@host/x", "https://[removed]@host/x"),
            ("key AKIAABCDEFGHIJKLMNOP.", "key [removed]."),
            (
                "a\n-----BEGIN RSA PRIVATE KEY-----\nabc\ndef\n-----END RSA PRIVATE KEY-----\nb",
                "a\n[removed]\nb",
            ),
            // What only speaks of secrets.
            ("eyJust a word", "eyJust a word"),
            (
                "tokens_total 5\nsecrets: 5\n",
                "tokens_total 5\nsecrets: 5\n",
            ),
            (
                "automountServiceAccountToken: true",
                "automountServiceAccountToken: true",
            ),
            (
                r#"{"secretName": "pull", "token": null}"#,
                r#"{"secretName": "pull", "token": null}"#,
            ),
            (r#"{"token": ""}"#, r#"{"token": ""}"#),
            // Cut off.
            (r#"{"token": "a b"#, r#"{"token": "[removed]"#),
        ] {
            assert_eq!(scrub(text), expect);
            assert_eq!(scrub(expect), expect, "twice");
        }
    }

    #[test]
    fn json_stays_json() {
        for value in [
            json!({"password": "a\"b\\", "tokens": ["x", "y"], "token": {"a": "b"}, "n": 1}),
            json!({"msg": "{\"password\": \"a\\\"b\"}", "authorization": "Basic abc=", "z": [true]}),
            json!({"token": "\na\tb\"", "password": "\\", "n": "a"}),
            json!({"msg": json!({"token": "\na\"b", "n": json!({"token": "\"x\\"}).to_string()}).to_string()}),
            json!({"secret": "ends in a backslash\\", "next": "kept"}),
        ] {
            let text = scrub(&value.to_string());
            let read: Result<Value, _> = serde_json::from_str(&text);
            assert!(read.is_ok(), "{value}\n{text}");
        }
    }

    #[test]
    fn objects_lose_their_environment_and_what_strangers_are_started_with() {
        let pod = json!({"items": [{
            "metadata": {"name": "a", "managedFields": [1], "annotations": {
                "kubectl.kubernetes.io/last-applied-configuration": "{}", "x": "y", "vault/token": "s",
                "note": "password=s"}},
            "spec": {"containers": [
                {"name": "agent", "image": "i", "args": ["agent", "--x=y"], "env": [{"name": "P", "value": "s"}]},
                {"name": "sidecar", "image": "i", "args": ["--p", "s"], "command": ["s"], "envFrom": [1]},
            ], "imagePullSecrets": [{"name": "pull"}]},
        }]});
        let expect = json!({"items": [{
            "metadata": {"name": "a", "annotations": {
                "x": "y", "vault/token": "[removed]", "note": "password=[removed]"}},
            "spec": {"containers": [
                {"name": "agent", "image": "i", "args": ["agent", "--x=y"]},
                {"name": "sidecar", "image": "i"},
            ], "imagePullSecrets": [{"name": "pull"}]},
        }]});
        assert_eq!(without_secrets(pod), expect);
    }
}
