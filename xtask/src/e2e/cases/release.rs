//! Agents that are replaced while traffic goes on.

use anyhow::{Context as _, Result, ensure};

use super::{End, agents, look};
use crate::{
    chart,
    e2e::{
        cluster::{Cluster, items},
        expect, install,
        stream::meanwhile,
    },
    image::Name,
};

/// The DaemonSet's pods are replaced by ones of the same image.
pub(super) fn restart(cluster: &Cluster) -> Result<End> {
    let (pods, objects) = look(cluster)?;
    let expected = expect::matrix(&objects)?;
    let counts = meanwhile(cluster, &pods, &expected, || {
        cluster.kubectl.run(&[
            "-n",
            chart::NAMESPACE,
            "rollout",
            "restart",
            "daemonset/ringfence",
        ])?;
        cluster.wait_for_agents()
    })?;
    counts.check()?;
    agents::status(cluster)
}

/// To another image and back, by the chart.
pub(super) fn upgrade(cluster: &Cluster) -> Result<End> {
    let Some(other) = &cluster.other else {
        return Ok(End::Skipped("--other names another image"));
    };
    let (pods, objects) = look(cluster)?;
    let expected = expect::matrix(&objects)?;
    let counts = meanwhile(cluster, &pods, &expected, || {
        for name in [other, &cluster.image] {
            install::upgrade(
                &format!("upgrading to {name}"),
                &install::image_values(name),
            )?;
            cluster.wait_for_agents()?;
            runs(cluster, name)?;
            agents::status(cluster)?;
        }
        Ok(())
    })?;
    counts.check()?;
    Ok(End::Passed)
}

/// Every agent is of this image.
fn runs(cluster: &Cluster, name: &Name) -> Result<()> {
    let list = cluster.kubectl.json(&[
        "-n",
        chart::NAMESPACE,
        "get",
        "pods",
        "--field-selector=status.phase=Running",
    ])?;
    for pod in items(&list) {
        // One that is on its way out may still be there.
        if pod["metadata"]["deletionTimestamp"].is_string() {
            continue;
        }
        let image = pod["spec"]["containers"][0]["image"]
            .as_str()
            .context("a pod has an image")?;
        ensure!(image == name.to_string(), "{image} still runs");
    }
    Ok(())
}
