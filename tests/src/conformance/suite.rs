//! The suites, and where their files are.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

use super::{admin, case::Case, expand::expand, knp};

/// A suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suite {
    /// Name.
    pub name: &'static str,
    /// Folder below the data directory; that of our own cases is elsewhere.
    folder: &'static str,
    form: Form,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// Truth tables or probes.
    Cases,
    /// Tables of kube-network-policies.
    Packets,
    /// Tables about the admin policies that came before cluster network policies.
    Admin,
    /// Truth tables or probes that are part of this project.
    Own,
}

impl Suite {
    /// All, in the order in which they are asked.
    pub const ALL: &[Self] = &[
        Self::of("own", "", Form::Own),
        Self::of("cyclonus", "cyclonus", Form::Cases),
        Self::of("cyclonus-v6", "cyclonus/variants/v6", Form::Cases),
        Self::of("cyclonus-nodns", "cyclonus/variants/nodns", Form::Cases),
        Self::of("recipes", "cyclonus/recipes", Form::Cases),
        Self::of("e2e-netpol", "e2e-netpol", Form::Cases),
        Self::of("e2e-netpol-v6", "e2e-netpol/variants/v6", Form::Cases),
        Self::of("cni-e2e", "cni-e2e", Form::Cases),
        Self::of("knp", "knp", Form::Packets),
        Self::of("npapi", "npapi/conformance", Form::Cases),
        Self::of("npapi-v6", "npapi/conformance/variants/v6", Form::Cases),
        Self::of("policy-assistant", "npapi/policy-assistant", Form::Admin),
    ];

    const fn of(name: &'static str, folder: &'static str, form: Form) -> Self {
        Self { name, folder, form }
    }

    /// True if its cases are part of this project and need no data directory.
    #[must_use]
    pub fn is_own(&self) -> bool {
        self.form == Form::Own
    }
}

/// The environment variable that says where the public suites are.
pub const DATA: &str = "RINGFENCE_CONFORMANCE";

/// The directory of the public suites, if [`DATA`] says it; empty says nothing.
#[must_use]
pub fn data() -> Option<PathBuf> {
    let data = env::var_os(DATA)?;
    (!data.is_empty()).then(|| data.into())
}

/// The suite of a name.
///
/// # Errors
///
/// If there is none: says which there are.
pub fn find(name: &str) -> Result<Suite> {
    let found = Suite::ALL.iter().find(|suite| suite.name == name);
    found.copied().with_context(|| {
        let names: Vec<&str> = Suite::ALL.iter().map(|suite| suite.name).collect();
        format!("no suite {name:?}; there are {}", names.join(", "))
    })
}

/// Our own cases.
///
/// # Errors
///
/// If one is not what a case should be.
pub fn own() -> Result<Vec<Case>> {
    cases(&Path::new(env!("CARGO_MANIFEST_DIR")).join("cases"))
}

/// The cases of a suite, in the order of their names.
///
/// # Errors
///
/// If the data is not there, or not what is expected.
pub fn load(suite: Suite, data: &Path) -> Result<Vec<Case>> {
    let folder = data.join(suite.folder);
    match suite.form {
        Form::Own => own(),
        Form::Cases => cases(&folder),
        Form::Packets => knp::read(&folder, &files(&folder)?),
        Form::Admin => admin::read(&files(&folder)?),
    }
}

fn cases(folder: &Path) -> Result<Vec<Case>> {
    files(folder)?.iter().map(|path| read(path)).collect()
}

fn read(path: &Path) -> Result<Case> {
    let say = || path.display().to_string();
    let text = fs::read_to_string(path).with_context(say)?;
    let file = if path.extension().is_some_and(|it| it == "json") {
        serde_json::from_str(&text).with_context(say)?
    } else {
        serde_saphyr::from_str(&text).with_context(say)?
    };
    expand(file).with_context(say)
}

/// Files of cases in a folder, sorted.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let say = || {
        format!(
            "cannot list the cases in {}; is this the directory of the public suites?",
            folder.display()
        )
    };
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(say)? {
        let path = entry.with_context(say)?.path();
        let is_case = path
            .extension()
            .is_some_and(|it| it == "json" || it == "yaml");
        if is_case && path.file_stem().is_some_and(|stem| stem != "index") {
            files.push(path);
        }
    }
    if files.is_empty() {
        bail!("{}: no cases are there", say());
    }
    files.sort();
    Ok(files)
}
