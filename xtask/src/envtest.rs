//! `cargo xtask envtest`: the API server and etcd that tests run against, found or built once from Go modules.
//!
//! Where they are found: in `KUBEBUILDER_ASSETS`, else in `PATH`. Otherwise they are built from `tests/envtest`, whose `go.sum`
//! fixes every byte, into the target directory, where the tests look too.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result, bail};

use crate::{paths, step};

/// What is built, in this order.
const PROGRAMS: [&str; 2] = ["etcd", "kube-apiserver"];
/// The module whose version is that of the API server.
const KUBERNETES: &str = "k8s.io/kubernetes";

/// Runs the verb.
pub fn run() -> Result<ExitCode> {
    let folder = match found()? {
        Some(folder) => folder,
        None => build()?,
    };
    println!("{}", folder.display());
    Ok(ExitCode::SUCCESS)
}

/// Sees to the programs as far as that is possible here; tests that need them say so and skip if it is not.
pub fn prepare() {
    let prepared = found().and_then(|folder| match folder {
        Some(_) => Ok(()),
        None if step::which("go").is_none() => {
            eprintln!("no Go: tests that need an API server will be skipped");
            Ok(())
        }
        None => build().map(drop),
    });
    if let Err(error) = prepared {
        eprintln!("tests that need an API server will be skipped: {error:#}");
    }
}

/// The folder that holds both, if the machine has them.
fn found() -> Result<Option<PathBuf>> {
    let holds = |folder: &Path| PROGRAMS.iter().all(|name| folder.join(name).is_file());
    if let Some(folder) = env::var_os("KUBEBUILDER_ASSETS") {
        let folder = PathBuf::from(folder);
        if !holds(&folder) {
            bail!(
                "KUBEBUILDER_ASSETS is {}, and there is no {} in it; unset it to have them built",
                folder.display(),
                PROGRAMS.join(" and ")
            );
        }
        return Ok(Some(folder));
    }
    let path = env::var_os("PATH").unwrap_or_default();
    Ok(env::split_paths(&path).find(|folder| holds(folder)))
}

/// Builds both, unless they were built of the same module with the same Go.
fn build() -> Result<PathBuf> {
    let module = paths::root().join("tests/envtest");
    let folder = paths::target().join("envtest");
    let mut version = Command::new("go");
    version.arg("version").current_dir(&module);
    let version = step::answer(version)
        .context("Go is needed to build an API server: install it, or set KUBEBUILDER_ASSETS")?;
    let read = |name: &str| {
        let path = module.join(name);
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    };
    let requirements = read("go.mod")?;
    let stamp = [version, requirements.clone(), read("go.sum")?].join("\n");
    let stamped = folder.join("stamp");
    let there = PROGRAMS.iter().all(|name| folder.join(name).is_file());
    if there && fs::read_to_string(&stamped).is_ok_and(|text| text == stamp) {
        return Ok(folder);
    }
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let flags = linker_flags(&requirements)?;
    for name in PROGRAMS {
        let new = folder.join(format!("{name}.new"));
        let mut go = Command::new("go");
        go.current_dir(&module)
            // What is there, exactly as go.sum says it, without a C compiler.
            .env("GOTOOLCHAIN", "local")
            .env("GOFLAGS", "-mod=readonly -buildvcs=false -trimpath")
            .env("CGO_ENABLED", "0")
            .args(["build", "-ldflags", &flags, "-o"])
            .arg(&new)
            .arg(format!("./{name}"));
        step::run(
            &format!("building {name} from Go modules (once, some minutes)"),
            go,
        )?;
        fs::rename(&new, folder.join(name))
            .with_context(|| format!("cannot rename {}", new.display()))?;
    }
    fs::write(&stamped, stamp).with_context(|| format!("cannot write {}", stamped.display()))?;
    Ok(folder)
}

/// Without debug information, and with the release that the API server takes for its own.
fn linker_flags(requirements: &str) -> Result<String> {
    let release = requirements
        .lines()
        .find_map(|line| line.trim().strip_prefix(KUBERNETES))
        .map(str::trim)
        .context("tests/envtest/go.mod does not say which Kubernetes")?;
    let mut numbers = release.trim_start_matches('v').split('.');
    let (major, minor) = (numbers.next().unwrap_or(""), numbers.next().unwrap_or(""));
    let package = "k8s.io/component-base/version";
    Ok(format!(
        "-s -w -X {package}.gitVersion={release} -X {package}.gitMajor={major} -X {package}.gitMinor={minor}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_release_is_the_modules() {
        let flags = linker_flags("require (\n\tk8s.io/kubernetes v1.36.3\n)").unwrap();
        assert!(
            flags.contains("gitVersion=v1.36.3 ") && flags.ends_with("gitMinor=36"),
            "{flags}"
        );
        assert!(linker_flags("module x").is_err());
    }
}
