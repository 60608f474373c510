//! The rules that no compiler checks.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::{paths, step};

/// Files that a newcomer looks for.
const EXPECTED: [&str; 6] = [
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "LICENSE",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
];

/// Longer than this, a file has more than one idea.
const LONGEST: usize = 600;

/// Longer than this is worth a word.
const LONG: usize = 400;

/// A text that may stand in some files only.
struct Rule {
    /// Any of these, outside comments.
    texts: &'static [&'static str],
    /// Only files under these may have it.
    only_in: &'static [&'static str],
    /// Why.
    why: &'static str,
}

const RULES: [Rule; 4] = [
    Rule {
        texts: &["k8s_openapi", "kube::"],
        only_in: &[
            "agent/src/watch",
            "agent/src/api",
            "agent/src/index",
            "agent/src/status",
            "agent/src/tell/server.rs",
            "agent/src/cli/detach/everywhere.rs",
            "agent/tests",
            "tests",
            "xtask/src/lint",
        ],
        why: "Kubernetes types stop at agent/src/index, beside which agent/src/api defines our own; Events are written in agent/src/tell/server.rs, objects' status in \
              agent/src/status, and the DaemonSet of an uninstallation in agent/src/cli/detach/everywhere.rs",
    },
    Rule {
        texts: &["aya::", "use aya;", "aya_ebpf::"],
        only_in: &["agent/src/dataplane", "ebpf", "tests", "xtask/src/lint"],
        why: "aya stays in agent/src/dataplane",
    },
    Rule {
        texts: &["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern"],
        only_in: &["agent/src/dataplane", "ebpf", "tests", "xtask/src/lint"],
        why: "unsafe code stays in agent/src/dataplane",
    },
    Rule {
        texts: &[
            "todo!",
            "unimplemented!",
            "#[ignore",
            "#[allow(",
            "#![allow(",
        ],
        only_in: &["xtask/src/lint"],
        why: "finish it, test it, or `#[expect(.., reason = ..)]` it",
    },
];

/// Runs all checks.
pub fn run() -> Result<()> {
    let root = paths::root();
    let mut complaints = Vec::new();
    for name in EXPECTED {
        if !root.join(name).is_file() {
            complaints.push(format!("{name}: missing"));
        }
    }
    for file in sources()? {
        let text = fs::read_to_string(root.join(&file))
            .with_context(|| format!("cannot read {}", file.display()))?;
        complaints.extend(check(&file, &text));
    }
    for complaint in &complaints {
        eprintln!("{complaint}");
    }
    if !complaints.is_empty() {
        bail!("tidy: {} complaints", complaints.len());
    }
    Ok(())
}

/// What is wrong with one source file.
fn check(file: &Path, text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    let lines = text.lines().count();
    if lines > LONGEST {
        complaints.push(format!(
            "{}: {lines} lines; split it below {LONGEST}",
            file.display()
        ));
    } else if lines > LONG {
        eprintln!(
            "note: {}: {lines} lines; is it still one idea?",
            file.display()
        );
    }
    for (number, line) in text.lines().enumerate() {
        let mut complain = |text: &str, why: &str| {
            complaints.push(format!(
                "{}:{}: `{text}`: {why}",
                file.display(),
                number + 1
            ));
        };
        let code = line.split("//").next().unwrap_or_default();
        for rule in &RULES {
            if rule
                .only_in
                .iter()
                .any(|place| file.starts_with(place) || is_module(file, place))
            {
                continue;
            }
            if let Some(text) = rule.texts.iter().find(|text| code.contains(*text)) {
                complain(text, rule.why);
            }
        }
        if !file.starts_with("xtask/src/lint")
            && let Some(text) = ["FIXME", "TODO", "XXX"]
                .iter()
                .find(|text| line.contains(*text))
        {
            complain(text, "do it now, or write an issue");
        }
    }
    complaints
}

/// Whether `file` is the module `place` written as `place.rs`.
fn is_module(file: &Path, place: &str) -> bool {
    file.with_extension("") == Path::new(place)
}

/// All Rust files that git knows or would add.
fn sources() -> Result<Vec<PathBuf>> {
    let mut git = Command::new("git");
    git.current_dir(paths::root()).args([
        "ls-files",
        "--cached",
        "--others",
        "--exclude-standard",
        "--deduplicate",
        "*.rs",
    ]);
    let files = step::answer(git)
        .context("cannot list the sources: is this a git clone, and git installed?")?;
    Ok(files
        .lines()
        .map(PathBuf::from)
        .filter(|file| paths::root().join(file).exists())
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints(file: &str, text: &str) -> Vec<String> {
        check(Path::new(file), text)
    }

    #[test]
    fn kubernetes_types_stop_at_the_index() {
        let text = "use k8s_openapi::api::core::v1::Pod;\n";
        assert!(complaints("agent/src/index/pods.rs", text).is_empty());
        assert!(complaints("agent/src/index.rs", text).is_empty());
        let [complaint] = complaints("agent/src/compile/mod.rs", text)
            .try_into()
            .expect("one complaint");
        assert!(
            complaint.starts_with("agent/src/compile/mod.rs:1: `k8s_openapi`"),
            "{complaint}"
        );
    }

    #[test]
    fn comments_may_name_what_code_may_not() {
        assert!(complaints("agent/src/diff/mod.rs", "//! Knows no aya::Ebpf.\n").is_empty());
        assert_eq!(
            complaints("agent/src/diff/mod.rs", "let e = aya::Ebpf::load(b);\n").len(),
            1
        );
    }

    #[test]
    fn unfinished_work_is_named_with_its_line() {
        let found = complaints(
            "agent/src/run.rs",
            "fn a() {\n    todo!()\n}\n// FIXME: b\n",
        );
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(
            found[0].contains(":2:") && found[1].contains(":4:"),
            "{found:?}"
        );
    }

    #[test]
    fn long_files_are_refused() {
        assert!(complaints("agent/src/a.rs", &"\n".repeat(LONGEST)).is_empty());
        assert_eq!(
            complaints("agent/src/a.rs", &"\n".repeat(LONGEST + 1)).len(),
            1
        );
    }
}
