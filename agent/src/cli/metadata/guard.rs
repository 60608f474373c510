//! `ringfence metadata guard`.
//!
//! **Invariants.** Where an agent runs or has pinned something nothing is touched. What is put up is pinned and stays, whatever becomes
//! of this process.

mod notify;

use std::{collections::BTreeSet, process::ExitCode, time::Duration};

use serde::Serialize;
use tokio::time::MissedTickBehavior;
use tracing_subscriber::EnvFilter;

use crate::{
    args::{GuardArgs, Manifests, OutputArgs, Switch},
    cli::{
        failure::{Failure, Outcome},
        manifests, output,
    },
    compile::Metadata,
    config::GuardConfig,
    dataplane::{self, Guard, GuardLayer},
    locate::{Devices, Following, Role},
    run::directory,
};

/// How often it is looked whether an agent has taken over.
const LOOK: Duration = Duration::from_secs(1);
/// Looks after which a layer that does not stand is tried again.
const RETRY: u32 = 10;

/// What stands, as `-o json` prints it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Standing {
    /// An agent's pins are in force, or it runs: they are left as they are.
    left: bool,
    layers: Vec<Layer>,
    uplinks: Vec<String>,
    cgroup: Option<String>,
}

#[derive(Debug, Serialize)]
struct Layer {
    name: &'static str,
    stands: bool,
    why: String,
}

pub(super) fn run(args: &GuardArgs) -> Outcome {
    let config = GuardConfig::new(args)?;
    let denied = denied(args)?;
    log();
    if let Some(name) = &args.netns {
        crate::cli::enter(name)?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(guard(args, &config, denied))
}

/// What is denied: the catalogue, and what manifests add to it.
fn denied(args: &GuardArgs) -> Result<Metadata, Failure> {
    if args.files.is_empty() {
        return Ok(Metadata::default());
    }
    let snapshot = manifests::load(&Manifests {
        files: args.files.clone(),
        ignore_other_kinds: args.ignore_other_kinds,
        network_policy: Switch::On,
    })?;
    Ok(Metadata::of(&snapshot))
}

fn log() {
    let filter =
        EnvFilter::try_from_env("RINGFENCE_LOG").unwrap_or_else(|_unset| EnvFilter::new("warn"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(std::io::stderr);
    // There is one already only in tests.
    let _: Result<(), _> = builder.try_init();
}

async fn guard(args: &GuardArgs, config: &GuardConfig, denied: Metadata) -> Outcome {
    let at = config.options.bpffs.display().to_string();
    let Some(lock) = directory::take_for_guard(&config.options.run_dir)? else {
        return left(&args.output, "an agent runs");
    };
    let failed = |error: dataplane::KernelError| Failure::new(error.to_string()).at(at.clone());
    let mut guard = match dataplane::guard(&config.options, denied).map_err(failed)? {
        Ok(guard) => guard,
        Err(agents) => {
            let versions = agents.join(", ");
            let why = format!("an agent has pinned its own (layouts {versions})");
            return left(&args.output, &why);
        }
    };
    let mut following = Following::begin().map_err(unreadable)?;
    let devices = following.read().await.map_err(unreadable)?;
    let layers = guard
        .put_up(&devices.hosts(), &following.addresses())
        .map_err(failed)?;
    drop(lock);
    let standing = Standing {
        left: false,
        layers: layers
            .into_iter()
            .map(|layer| told(layer, config))
            .collect(),
        uplinks: uplinks(&devices),
        cgroup: config
            .options
            .cgroup_root
            .as_ref()
            .map(|root| root.display().to_string()),
    };
    output::print(&args.output, "MetadataGuard", &standing, |out| {
        let mut table = output::table(&args.output, ["LAYER", "STANDS", "WHY NOT"]);
        for layer in &standing.layers {
            let stands = if layer.stands { "yes" } else { "NO" };
            table.add_row([layer.name, stands, layer.why.as_str()]);
        }
        output::write_table(out, &mut table)?;
        writeln!(out, "Uplinks: {}", join(&standing.uplinks))?;
        let cgroup = standing.cgroup.as_deref().unwrap_or("none");
        writeln!(out, "Pods' cgroup: {cgroup}")
    })?;
    let all = standing.layers.iter().all(|layer| layer.stands);
    if args.watch {
        notify::ready();
        watch(guard, following, devices, config).await?;
        say!("an agent has taken over, or everything has been detached: nothing left to do");
        return Ok(ExitCode::SUCCESS);
    }
    Ok(if all {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Nothing was touched.
fn left(output: &OutputArgs, why: &str) -> Outcome {
    let standing = Standing {
        left: true,
        layers: Vec::new(),
        uplinks: Vec::new(),
        cgroup: None,
    };
    output::print(output, "MetadataGuard", &standing, |out| {
        writeln!(
            out,
            "{why}: left as it is; `ringfence status` says what stands"
        )
    })?;
    notify::ready();
    Ok(ExitCode::SUCCESS)
}

/// Guards uplinks that appear, until an agent has taken over.
async fn watch(
    mut guard: Guard,
    mut following: Following,
    mut devices: Devices,
    config: &GuardConfig,
) -> Result<(), Failure> {
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut count = 0_u32;
    let mut troubled = BTreeSet::new();
    loop {
        tokio::select! {
            _ = looks.tick() => count = count.wrapping_add(1),
            () = following.changed() => {
                devices = following.read().await.map_err(unreadable)?;
                if let Err(error) = guard.follow(&devices.hosts(), &following.addresses()) {
                    tracing::warn!(%error, "a device that leads off the node is not guarded");
                }
                count = count.wrapping_add(1);
            }
        }
        if guard.is_over().map_err(refused)? {
            return Ok(());
        }
        if !count.is_multiple_of(RETRY) {
            continue;
        }
        let stands = |layers: &[GuardLayer]| layers.iter().all(|layer| layer.stands);
        let mut layers = guard.standing().map_err(refused)?;
        // Beside an agent nothing is put up but what is new.
        if !stands(&layers)
            && let Some(_lock) = directory::take_for_guard(&config.options.run_dir)?
            && !guard.is_over().map_err(refused)?
        {
            layers = guard
                .put_up(&devices.hosts(), &following.addresses())
                .map_err(refused)?;
        }
        let now: BTreeSet<String> = layers
            .into_iter()
            .filter(|layer| !layer.stands)
            .map(|layer| format!("layer {} does not stand: {}", layer.name, layer.why))
            .collect();
        for new in now.difference(&troubled) {
            say!("{new}");
        }
        troubled = now;
    }
}

/// A layer as it is told, with what the flags have to say of it.
fn told(layer: GuardLayer, config: &GuardConfig) -> Layer {
    let why = match &config.no_cgroup {
        Some(why) if !layer.stands && layer.name.starts_with("socket") => why.clone(),
        _ => layer.why,
    };
    Layer {
        name: layer.name,
        stands: layer.stands,
        why,
    }
}

fn uplinks(devices: &Devices) -> Vec<String> {
    let devices = devices.by_index.values();
    devices
        .filter(|device| matches!(device.role, Role::Uplink | Role::Tunnel))
        .map(|device| device.name.clone())
        .collect()
}

fn join(names: &[String]) -> String {
    match names {
        [] => "none yet".to_owned(),
        names => names.join(", "),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "map_err gives it away")]
fn unreadable(error: anyhow::Error) -> Failure {
    Failure::new(format!("the node's devices cannot be read: {error:#}"))
}

#[expect(clippy::needless_pass_by_value, reason = "map_err gives it away")]
fn refused(error: dataplane::KernelError) -> Failure {
    Failure::new(error.to_string())
}
