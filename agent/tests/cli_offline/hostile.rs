//! Input that nobody means: each is refused in words, none ends in a panic.

use std::{fs::File, path::Path, process::Stdio};

use super::{MANIFESTS, manifests, ringfence, told};

fn refused(directory: &Path, words: &[&str]) -> String {
    let (out, err, code) = told(directory, words);
    assert_eq!((out.as_str(), code), ("", 2), "{words:?}: {err}");
    assert!(
        err.starts_with("error: ") && !err.contains("panicked"),
        "{words:?}: {err}"
    );
    err
}

#[test]
fn texts_that_are_no_manifests_are_refused_by_line() {
    let directory = tempfile::tempdir().unwrap();
    let deep = format!("a: {}", "[".repeat(100_000));
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for at in 1..10 {
        let aliases = vec![format!("*a{}", at - 1); 10].join(", ");
        bomb += &format!("a{at}: &a{at} [{aliases}]\n");
    }
    for (text, line) in [
        (&b"a: [b"[..], 2),
        (b"kind: Pod\0\n", 1),
        (b"\n\n\xff\xfe", 3),
        (b"- 1\n", 1),
        (b"kind: Pod\n", 1),
        (b"apiVersion: v1\nkind: Foo\n", 2),
        (b"", 1),
        (deep.as_bytes(), 1),
        (bomb.as_bytes(), 5),
    ] {
        std::fs::write(directory.path().join("x.yaml"), text).unwrap();
        let err = refused(directory.path(), &["matrix", "-f", "x.yaml"]);
        let shown: String = err.chars().take(300).collect();
        assert!(err.contains(&format!("\n  x.yaml:{line}")), "{shown}");
    }
    std::os::unix::fs::symlink(".", directory.path().join("self")).unwrap();
    let err = refused(directory.path(), &["matrix", "-f", "."]);
    assert!(err.contains("contains itself"), "{err}");
}

#[test]
fn what_cannot_be_read_says_what_to_do() {
    let directory = manifests();
    let err = refused(directory.path(), &["matrix", "-f", "nope.yaml"]);
    assert!(err.contains("check its name"), "{err}");
    let output = ringfence(&["matrix", "-f", "-"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(err.starts_with("error: standard input is empty"), "{err}");
}

#[test]
fn foreign_kinds_are_passed_over_if_that_is_asked() {
    let directory = tempfile::tempdir().unwrap();
    let foreign = "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: { name: x }\n";
    let all = directory.path().join("all.yaml");
    std::fs::write(all, format!("{MANIFESTS}{foreign}")).unwrap();
    let words = ["can", "shop/web", "db/mysql-0", "3306", "-f", "all.yaml"];
    let err = refused(directory.path(), &words);
    assert!(err.contains("--ignore-other-kinds passes over it"), "{err}");
    let words = [&words[..], &["--ignore-other-kinds"]].concat();
    assert_eq!(told(directory.path(), &words).2, 0);
}

#[test]
fn words_that_are_nobody_and_nothing_are_refused() {
    let directory = manifests();
    let can = |from: &str, port: &str| {
        let words = ["can", "-f", "all.yaml", "--", from, "10.0.0.9", port];
        refused(directory.path(), &words)
    };
    for port in [
        "0", "65536", "-1", "+80", "80/", "/tcp", "", "80/xyz", "0x50",
    ] {
        can("shop/web", port);
    }
    assert!(can("10.0.0.0/8", "80").contains("is a network"));
    let err = can("shop/nobody", "80");
    assert!(err.contains("in this namespace there are: web"), "{err}");
    // What is echoed does not reach the terminal's controls.
    assert!(can("shop/\u{1b}[31m", "80").contains(r"shop/\u{1b}[31m"));
    let words = ["matrix", "-f", "all.yaml", "--outside", "a\nb=192.0.2.1"];
    refused(directory.path(), &words);
}

#[test]
fn ten_thousand_mistakes_are_told_as_far_as_anybody_reads() {
    let directory = tempfile::tempdir().unwrap();
    let all = directory.path().join("all.yaml");
    std::fs::write(all, "apiVersion: v1\nkind: Foo\n---\n".repeat(10_000)).unwrap();
    let err = refused(directory.path(), &["matrix", "-f", "all.yaml"]);
    assert!(err.starts_with("error: 10000 things are wrong"), "{err}");
    assert!(err.ends_with("and 9950 more\n"), "{err}");
}

#[test]
fn an_empty_variable_is_none() {
    let directory = manifests();
    let words = [
        "detach",
        "--bpffs",
        "nowhere",
        "--netns",
        "rf-there-is-none",
    ];
    let output = ringfence(&words)
        .current_dir(directory.path())
        .env("RINGFENCE_RUN_DIR", "")
        .output()
        .unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert!(err.contains("no network namespace"), "{err}");
}

#[test]
fn nobody_listens_and_nothing_panics() {
    let directory = manifests();
    let full = || Stdio::from(File::options().write(true).open("/dev/full").unwrap());
    for words in [
        &["matrix", "-f", "all.yaml"][..],
        &["matrix", "-f", "nope.yaml"],
        &[
            "can",
            "::ffff:10.0.0.7",
            "10.0.0.9",
            "3306",
            "-f",
            "all.yaml",
        ],
    ] {
        let mut command = ringfence(words);
        command.current_dir(directory.path());
        let quiet = command.stderr(full()).output().unwrap();
        let code = quiet.status.code();
        assert!(matches!(code, Some(0 | 2)), "{words:?}: {code:?}");
        let output = command.stdout(full()).status().unwrap();
        assert_eq!(output.code(), Some(2), "{words:?}");
    }
}
