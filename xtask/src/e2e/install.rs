//! Brings image and chart into the cluster, and takes Ringfence out again.

use std::process::Command;

use anyhow::{Context as _, Result};

use super::{Args, cluster::Cluster};
use crate::{chart, helm, image, paths, step};

/// Installs, and waits until every node's agent is ready.
pub fn install(cluster: &Cluster, args: &Args) -> Result<()> {
    let name = args.tag.clone().unwrap_or_else(image::default_name);
    let archive = match &args.image {
        Some(archive) => archive.clone(),
        None => image::build(None, Some(name.clone()))?,
    };
    if let Some(load) = &args.load {
        Cluster::shell(load, &archive.display().to_string())
            .context("the image could not be brought onto the nodes")?;
    }
    let mut values = vec![
        format!("image.repository={}", name.repository()),
        format!("image.tag={}", name.tag()),
    ];
    values.extend(args.set.iter().cloned());
    upgrade("installing the chart", &values)?;
    cluster.wait_for_agents()
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
