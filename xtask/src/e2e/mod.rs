//! `cargo xtask e2e`: installs image and chart into a cluster and runs Ringfence's own tests there.
//!
//! What a test expects is what `ringfence matrix` and `ringfence can` say offline of the cluster's own objects.
//!
//! **Invariants.** Only what this made is taken down: namespaces that were there before are refused. Nothing here knows how
//! the cluster was made.

use std::{
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use crate::{image::Name, paths};

mod cases;
mod cluster;
mod example;
mod expect;
mod install;
mod kubectl;
pub mod outsider;
mod probe;
mod rules;
mod stream;

use cluster::Cluster;

/// Options of `e2e`.
#[derive(clap::Args)]
pub struct Args {
    /// Brings the image onto the nodes: a shell command, `{}` is the archive, as in 'kind load image-archive {}'
    #[arg(long, value_name = "COMMAND")]
    load: Option<String>,
    /// Restarts kubelet and container runtime of a node: a shell command, `{}` is the node's name
    #[arg(long, value_name = "COMMAND")]
    restart_node: Option<String>,
    /// Runs a command outside the cluster, from where node ports can be reached: what stands before `curl ...`. It takes
    /// the addresses of the hybrid-cloud example's hosts for a while, as root; the cluster must send what is for them there
    #[arg(long, value_name = "COMMAND")]
    outside: Option<String>,
    /// Name of Ringfence's image; without it the chart's default
    #[arg(long, value_name = "NAME")]
    tag: Option<Name>,
    /// An archive from `cargo xtask image`; without it one is built
    #[arg(long, value_name = "FILE.tar")]
    image: Option<PathBuf>,
    /// Another image of Ringfence, such as the version before: upgraded to and back while traffic goes on. Without it,
    /// and without --image, the same binary under another name
    #[arg(long, value_name = "NAME")]
    other: Option<Name>,
    /// The archive of the other image, for --load
    #[arg(long, value_name = "FILE.tar", requires_all = ["other", "load"])]
    other_image: Option<PathBuf>,
    /// How many pods begin with a connection that policy forbids
    #[arg(long, value_name = "COUNT", default_value_t = 10)]
    first: usize,
    /// An image with Kubernetes' test program /agnhost and a shell, for the pods that talk to each other
    #[arg(
        long,
        value_name = "NAME",
        default_value = "registry.k8s.io/e2e-test-images/agnhost:2.53"
    )]
    agnhost: String,
    /// A value of the chart, as helm takes it; may be repeated
    #[arg(long, value_name = "NAME=VALUE")]
    set: Vec<String>,
    /// Leave everything installed
    #[arg(long)]
    keep: bool,
    /// Use what an earlier run left installed (--keep)
    #[arg(long)]
    installed: bool,
    /// Run only tests whose name contains this
    filter: Option<String>,
}

/// Runs the verb; the last line on standard output is the count.
pub fn run(args: &Args) -> Result<ExitCode> {
    if std::env::var_os("KUBECONFIG").is_none() {
        bail!("KUBECONFIG is not set: it names the cluster to install into");
    }
    let mut cluster = Cluster::new(args)?;
    cluster
        .kubectl
        .run(&["version"])
        .context("the cluster does not answer")?;
    if !args.installed {
        install::install(&mut cluster, args)?;
        example::apply(&cluster)?;
    }
    let report = cases::run(&cluster, args.filter.as_deref());
    if !args.keep {
        example::remove(&cluster)?;
    }
    let failed = report.failed;
    println!("{report}");
    Ok(if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The binary of this machine under the name of kubectl's plugin.
fn plugin() -> Result<PathBuf> {
    let folder = paths::target().join("e2e");
    std::fs::create_dir_all(&folder)?;
    let plugin = folder.join("kubectl-ringfence");
    // It may be there from an earlier run.
    drop(std::fs::remove_file(&plugin));
    std::os::unix::fs::symlink(paths::ringfence(false), &plugin)
        .with_context(|| format!("cannot make {}", plugin.display()))?;
    Ok(plugin)
}

/// Tries until it succeeds, for as long as a cluster on a busy machine may take.
fn eventually<T>(what: &str, mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    const PATIENCE: Duration = Duration::from_secs(120);
    const PAUSE: Duration = Duration::from_millis(500);
    let started = Instant::now();
    loop {
        match attempt() {
            Ok(value) => return Ok(value),
            Err(error) if started.elapsed() > PATIENCE => {
                return Err(error.context(format!("{what}: not within {} s", PATIENCE.as_secs())));
            }
            Err(_) => std::thread::sleep(PAUSE),
        }
    }
}
