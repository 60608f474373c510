//! Where `kube-apiserver` and `etcd` are.

use std::{
    env,
    fs::OpenOptions,
    io::Write as _,
    path::{Path, PathBuf},
};

/// The programs.
#[derive(Clone, Debug)]
pub(super) struct Assets {
    pub apiserver: PathBuf,
    pub etcd: PathBuf,
}

impl Assets {
    /// In `KUBEBUILDER_ASSETS` if that is set, else in `PATH`, else where `cargo xtask envtest` builds them.
    pub fn find() -> Option<Self> {
        let in_folder = |folder: &Path| {
            let assets = Self {
                apiserver: folder.join("kube-apiserver"),
                etcd: folder.join("etcd"),
            };
            (assets.apiserver.is_file() && assets.etcd.is_file()).then_some(assets)
        };
        if let Some(folder) = env::var_os("KUBEBUILDER_ASSETS") {
            return in_folder(Path::new(&folder));
        }
        let path = env::var_os("PATH").unwrap_or_default();
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let target = env::var_os("CARGO_TARGET_DIR")
            .map_or_else(|| root.join("target"), |directory| root.join(directory));
        env::split_paths(&path)
            .chain([target.join("envtest")])
            .find_map(|folder| in_folder(&folder))
    }
}

/// True if there is an API server to run; a test that needs one and finds none says so with its name and returns.
///
/// # Panics
///
/// If the file of skipped tests cannot be written.
#[must_use]
pub fn available(test: &str) -> bool {
    if Assets::find().is_some() {
        return true;
    }
    let reason = format!(
        "{test}: no kube-apiserver and etcd: set KUBEBUILDER_ASSETS, or run `cargo xtask envtest` (it needs Go)\n"
    );
    eprint!("{reason}");
    if let Some(path) = env::var_os("RINGFENCE_SKIPS") {
        let mut file = OpenOptions::new()
            .append(true)
            .open(path)
            .expect("made by the caller");
        file.write_all(reason.as_bytes())
            .expect("it can be written");
    }
    false
}
