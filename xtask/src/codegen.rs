//! `cargo xtask codegen`: man pages, shell completions, docs/cli.md and the definitions of the kinds from the binary itself,
//! the kustomize base from the chart.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{self, Command, ExitCode},
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context as _, Result, bail};

use crate::{build, chart, helm, paths};

/// Options of `codegen`.
#[derive(clap::Args)]
pub struct Args {
    /// Change nothing; list what is stale and exit 1
    #[arg(long)]
    check: bool,
}

/// Generated files by their path below the root.
type Files = BTreeMap<PathBuf, Vec<u8>>;

/// Folders whose content is wholly generated.
const FOLDERS: [&str; 6] = [
    CRDS,
    "deploy/helm/ringfence/files/crds",
    "deploy/schemas",
    "docs/completions",
    "docs/man",
    "docs/reference",
];

const REFERENCE: &str = "docs/cli.md";

/// Where the definitions of the kinds lie.
const CRDS: &str = "deploy/crds";

/// Runs the verb.
pub fn run(args: Args) -> Result<ExitCode> {
    let Args { check } = args;
    let binary = build::all(false)?;
    let mut wanted = generate(&binary)?;
    let mut folders = FOLDERS.to_vec();
    // Without helm the base is left as it is; `find` says so.
    if let Some(helm) = helm::find()? {
        let definitions = wanted.iter().filter(|(file, _)| file.starts_with(CRDS));
        let definitions: Vec<_> = definitions
            .map(|(_, content)| String::from_utf8_lossy(content))
            .collect();
        let base = chart::base(&helm, &definitions.join("---\n"))?;
        wanted.extend(base);
        folders.push(chart::BASE);
    }
    let stale = stale(&wanted, &folders)?;
    if check {
        for file in &stale {
            eprintln!("stale: {}", file.display());
        }
        if !stale.is_empty() {
            bail!(
                "{} generated files do not match the binary or the chart: run `cargo xtask codegen` and commit",
                stale.len()
            );
        }
        eprintln!(
            "codegen: {} files match the binary and the chart",
            wanted.len()
        );
        return Ok(ExitCode::SUCCESS);
    }
    for file in &stale {
        let path = paths::root().join(file);
        if let Some(content) = wanted.get(file) {
            let folder = path.parent().expect("below the root");
            fs::create_dir_all(folder)
                .with_context(|| format!("cannot create {}", folder.display()))?;
            fs::write(&path, content)
                .with_context(|| format!("cannot write {}", path.display()))?;
            eprintln!("wrote {}", file.display());
        } else {
            fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
            eprintln!("removed {}", file.display());
        }
    }
    eprintln!(
        "codegen: {} of {} files were stale",
        stale.len(),
        wanted.len()
    );
    Ok(ExitCode::SUCCESS)
}

/// Files that differ from what is wanted, or that nobody wants.
fn stale(wanted: &Files, folders: &[&str]) -> Result<Vec<PathBuf>> {
    let root = paths::root();
    let mut stale: Vec<_> = wanted
        .iter()
        .filter(|(file, content)| fs::read(root.join(file)).ok().as_ref() != Some(*content))
        .map(|(file, _)| file.clone())
        .collect();
    for folder in folders {
        stale.extend(
            list(&root.join(folder))?
                .into_iter()
                .map(|name| Path::new(folder).join(name))
                .filter(|file| !wanted.contains_key(file)),
        );
    }
    Ok(stale)
}

fn generate(binary: &Path) -> Result<Files> {
    let mut files = Files::new();
    for (shell, name) in [
        ("bash", "ringfence.bash"),
        ("fish", "ringfence.fish"),
        ("zsh", "_ringfence"),
    ] {
        let script = ask(binary, &["completion", shell])?;
        files.insert(
            Path::new("docs/completions").join(name),
            script.into_bytes(),
        );
    }

    let pages = Scratch::create()?;
    ask(binary, &["man", &pages.0.display().to_string()])?;
    for name in list(&pages.0)? {
        let page = pages.0.join(&name);
        let content = fs::read(&page).with_context(|| format!("cannot read {}", page.display()))?;
        files.insert(Path::new("docs/man").join(name), content);
    }

    let kinds = Scratch::create()?;
    ask(binary, &["crds", &kinds.0.display().to_string()])?;
    // The chart can only read what lies in it.
    for (from, to) in [
        ("crds", CRDS),
        ("crds", "deploy/helm/ringfence/files/crds"),
        ("reference", "docs/reference"),
        ("schemas", "deploy/schemas"),
    ] {
        let from = kinds.0.join(from);
        for name in list(&from)? {
            let path = from.join(&name);
            let content =
                fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            files.insert(Path::new(to).join(name), content);
        }
    }

    let mut reference = String::from(
        "# The command line\n\n\
         Generated by `cargo xtask codegen` from `ringfence --help`; `docs/man` has the same as man pages.\n",
    );
    describe(binary, &mut Vec::new(), &mut reference)?;
    files.insert(REFERENCE.into(), reference.into_bytes());
    Ok(files)
}

/// Appends the help of a verb and of all verbs below it.
fn describe(binary: &Path, verb: &mut Vec<String>, reference: &mut String) -> Result<()> {
    let mut args: Vec<_> = verb.iter().map(String::as_str).collect();
    args.push("--help");
    let help = ask(binary, &args)?;
    let name = std::iter::once("ringfence")
        .chain(verb.iter().map(String::as_str))
        .collect::<Vec<_>>()
        .join(" ");
    reference.push_str(&format!("\n## {name}\n\n```text\n"));
    for line in help.trim_end().lines() {
        reference.push_str(line.trim_end());
        reference.push('\n');
    }
    reference.push_str("```\n");
    for below in verbs(&help) {
        verb.push(below);
        describe(binary, verb, reference)?;
        verb.pop();
    }
    Ok(())
}

/// The verbs that clap's help lists under `Commands:`.
fn verbs(help: &str) -> Vec<String> {
    help.lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        // Continued descriptions are indented further.
        .filter_map(|line| {
            line.strip_prefix("  ")
                .filter(|rest| !rest.starts_with(' '))
        })
        .filter_map(|line| line.split(' ').next())
        .filter(|verb| *verb != "help")
        .map(str::to_owned)
        .collect()
}

fn ask(binary: &Path, args: &[&str]) -> Result<String> {
    let output = Command::new(binary)
        .args(args)
        // The help wraps at the width of the terminal, and some defaults come from the environment.
        .env_clear()
        .env("COLUMNS", "100")
        .output()
        .with_context(|| format!("cannot run {}", binary.display()))?;
    if !output.status.success() {
        bail!(
            "`ringfence {}` ended with {}: {}",
            args.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    let text = String::from_utf8(output.stdout)
        .with_context(|| format!("`ringfence {}`", args.join(" ")))?;
    if text.is_empty() && !matches!(args, ["man" | "crds", _]) {
        bail!("`ringfence {}` printed nothing", args.join(" "));
    }
    Ok(text)
}

/// Names of the files in a folder, which may be absent.
fn list(folder: &Path) -> Result<Vec<String>> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let mut names = Vec::new();
    for entry in
        fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?
    {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

/// A folder that is removed again.
struct Scratch(PathBuf);

impl Scratch {
    fn create() -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = paths::target().join(format!("codegen-{}-{count}", process::id()));
        fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Left in the target directory it harms nobody.
        drop(fs::remove_dir_all(&self.0));
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn verbs_are_read_from_the_help() {
        let help = "About.\n\nUsage: ringfence <COMMAND>\n\nCommands:\n  agent  Run the agent,\n           for ever\n  lab    Pods\n  help   Print\n\nOptions:\n  -h, --help\n";
        assert_eq!(verbs(help), ["agent", "lab"]);
        assert!(verbs("Usage: ringfence\n").is_empty());
    }

    /// Answers like the binary, as far as generating asks.
    const BINARY: &str = r#"#!/bin/sh
case "$*" in
  completion\ *) echo "completion for $2" ;;
  man\ *) echo page > "$2/ringfence.1" ;;
  crds\ *) for part in crds reference schemas; do mkdir "$2/$part"; echo "$part" > "$2/$part/zone"; done ;;
  --help) printf 'Commands:\n  agent  Run\n  help   Print\n' ;;
  "agent --help") echo "Usage: ringfence agent   " ;;
  *) echo "unknown: $*" >&2; exit 2 ;;
esac
"#;

    #[test]
    fn everything_comes_from_the_binary() {
        let folder = Scratch::create().expect("the target directory can be written");
        let binary = folder.0.join("ringfence.sh");
        fs::write(&binary, BINARY).expect("the folder can be written");
        fs::set_permissions(&binary, fs::Permissions::from_mode(0o755)).expect("the file is ours");

        let files = generate(&binary).expect("the script answers");
        let names: Vec<_> = files
            .keys()
            .map(|file| file.display().to_string())
            .collect();
        let expected = [
            "deploy/crds/zone",
            "deploy/helm/ringfence/files/crds/zone",
            "deploy/schemas/zone",
            "docs/cli.md",
            "docs/completions/_ringfence",
            "docs/completions/ringfence.bash",
            "docs/completions/ringfence.fish",
            "docs/man/ringfence.1",
            "docs/reference/zone",
        ];
        assert_eq!(names, expected);
        let reference = String::from_utf8_lossy(&files[Path::new(REFERENCE)]);
        assert!(
            reference.ends_with("## ringfence agent\n\n```text\nUsage: ringfence agent\n```\n"),
            "{reference}"
        );

        fs::write(&binary, "#!/bin/sh\necho no such verb >&2; exit 2\n")
            .expect("the folder can be written");
        let error = generate(&binary).expect_err("the script knows nothing");
        assert!(error.to_string().contains("no such verb"), "{error}");
    }
}
