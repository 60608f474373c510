//! Finds helm, or builds it from its Go module.

use std::{env, fs, path::PathBuf, process::Command};

use anyhow::{Context as _, Result, bail};

use crate::{paths, step};

/// The module and the version that is built where there is no helm.
const MODULE: &str = "helm.sh/helm/v3/cmd/helm";
const VERSION: &str = "v3.22.0";

/// Charts are rendered for this version of Kubernetes: a helm that was built from source says an old one by default.
pub const KUBERNETES: &str = "1.36.0";

/// Helm from `PATH`, or built into the target directory; `None`, and why, where that takes a Go compiler that is not here.
pub fn find() -> Result<Option<PathBuf>> {
    if let Some(helm) = step::which("helm").filter(|helm| runs(helm)) {
        return Ok(Some(helm));
    }
    let folder = paths::target().join(format!("tools/helm-{VERSION}"));
    let helm = folder.join("helm");
    if runs(&helm) {
        return Ok(Some(helm));
    }
    let Some(go) = step::which("go") else {
        eprintln!(
            "note: neither helm nor a Go compiler to build it is here: the chart is not rendered"
        );
        return Ok(None);
    };
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let mut install = Command::new(go);
    install
        .current_dir(&folder)
        .env("GOBIN", &folder)
        // A static program: no C compiler, nothing to be found at run time.
        .env("CGO_ENABLED", "0")
        .env_remove("GOFLAGS")
        .args(["install", "-trimpath", "-ldflags=-s -w"])
        .arg(format!("{MODULE}@{VERSION}"));
    step::run(&format!("building helm {VERSION}"), install)?;
    if !runs(&helm) {
        bail!("{} was built but does not run", helm.display());
    }
    Ok(Some(helm))
}

fn runs(helm: &std::path::Path) -> bool {
    let mut version = Command::new(helm);
    version.args(["version", "--short"]);
    helm.is_file() && step::answer(version).is_some_and(|text| text.starts_with('v'))
}

/// Helm with directories of its own, so that nothing of the user's has a say.
pub fn command(helm: &std::path::Path) -> Command {
    let home = paths::target().join("tools/helm-home");
    let mut command = Command::new(helm);
    for (name, below) in [
        ("HELM_CACHE_HOME", "cache"),
        ("HELM_CONFIG_HOME", "config"),
        ("HELM_DATA_HOME", "data"),
    ] {
        command.env(name, home.join(below));
    }
    // Rendering needs no cluster; installing names one.
    if env::var_os("KUBECONFIG").is_none() {
        command.env("KUBECONFIG", "/dev/null");
    }
    command
}
