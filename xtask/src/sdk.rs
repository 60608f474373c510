//! The clouds' client libraries that tests ask metadata services with: a Python environment of their own in the target
//! directory, made once of `tests/sdk/requirements.txt`.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context as _, Result, bail};

use crate::{paths, step};

/// Sees to them as far as that is possible here; tests that need them say so and skip if it is not.
pub fn prepare() {
    if let Err(error) = environment() {
        eprintln!("tests with the clouds' client libraries will be skipped: {error:#}");
    }
}

fn environment() -> Result<()> {
    let requirements = paths::root().join("tests/sdk/requirements.txt");
    let wanted = fs::read_to_string(&requirements)
        .with_context(|| format!("cannot read {}", requirements.display()))?;
    let folder: PathBuf = paths::target().join("sdk");
    let stamp = folder.join("requirements.txt");
    if fs::read_to_string(&stamp).is_ok_and(|text| text == wanted) {
        return Ok(());
    }
    if step::which("python3").is_none() {
        bail!("no python3: install it, with its module venv (package python3-venv)");
    }
    let mut python = Command::new("python3");
    python.args(["-m", "venv", "--clear"]).arg(&folder);
    step::run(
        "making a Python environment for the clouds' libraries",
        python,
    )?;
    let mut pip = Command::new(folder.join("bin/pip"));
    pip.args([
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--requirement",
    ])
    .arg(&requirements);
    step::run("installing the clouds' client libraries (once)", pip)?;
    fs::write(&stamp, wanted).with_context(|| format!("cannot write {}", stamp.display()))
}
