//! Brings image and chart into the cluster, and takes Ringfence out again.

use std::{path::Path, process::Command};

use anyhow::{Context as _, Result};

use super::{Args, cluster::Cluster};
use crate::{
    chart, helm,
    image::{self, Name},
    paths, step,
};

/// Installs, and waits until every node's agent is ready.
pub fn install(cluster: &mut Cluster, args: &Args) -> Result<()> {
    let archive = match &args.image {
        Some(archive) => archive.clone(),
        None => image::build(None, Some(cluster.image.clone()))?,
    };
    load(args, &archive)?;
    if let Some(archive) = &args.other_image {
        load(args, archive)?;
    } else if cluster.other.is_none() && args.image.is_none() && args.load.is_some() {
        let other = cluster.image.with_suffix("-other");
        let archive = paths::target().join("image/ringfence-other.tar");
        load(args, &image::build(Some(&archive), Some(other.clone()))?)?;
        cluster.other = Some(other);
    }
    let mut values = image_values(&cluster.image);
    values.extend(args.set.iter().cloned());
    upgrade("installing the chart", &values)?;
    cluster.wait_for_agents()
}

/// Brings an archive onto the nodes, where the user said how.
fn load(args: &Args, archive: &Path) -> Result<()> {
    let Some(load) = &args.load else {
        return Ok(());
    };
    Cluster::shell(load, &archive.display().to_string())
        .context("the image could not be brought onto the nodes")
}

/// What tells the chart of an image.
pub fn image_values(name: &Name) -> Vec<String> {
    vec![
        format!("image.repository={}", name.repository()),
        format!("image.tag={}", name.tag()),
    ]
}

/// Takes the chart out of the cluster, which takes all enforcement off every node first.
pub fn uninstall() -> Result<()> {
    let mut command = helm()?;
    command.args([
        "uninstall",
        "ringfence",
        "--namespace",
        chart::NAMESPACE,
        "--wait",
    ]);
    step::run("uninstalling the chart", command)
}

/// Installs or changes the release; what was set before stays.
pub fn upgrade(title: &str, values: &[String]) -> Result<()> {
    let mut command = helm()?;
    command
        .args(["upgrade", "--install", "ringfence"])
        .arg(paths::root().join(chart::CHART))
        .args(["--namespace", chart::NAMESPACE, "--create-namespace"])
        .args(["--reset-then-reuse-values", "--wait", "--timeout", "5m"]);
    for value in values {
        command.args(["--set", value]);
    }
    step::run(title, command)
}

fn helm() -> Result<Command> {
    let helm = helm::find()?.context("install helm, or Go to build it")?;
    Ok(helm::command(&helm))
}
