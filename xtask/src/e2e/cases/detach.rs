//! Taking Ringfence out.

use anyhow::{Result, ensure};

use super::{End, look, ways};
use crate::{
    chart,
    e2e::{
        cluster::{Cluster, names},
        eventually,
        expect::{self, Matrix},
        install,
    },
};

/// Nothing is enforced any more, and nothing is left.
pub(super) fn detach(cluster: &Cluster) -> Result<End> {
    install::uninstall()?;
    let (pods, objects) = look(cluster)?;
    // With every way open, nobody enforces any more.
    let open: Matrix = expect::matrix(&objects)?
        .into_keys()
        .map(|way| (way, true))
        .collect();
    eventually("every way is open", || ways::try_all(cluster, &pods, &open))?;
    // What took it off goes last, a moment after the release.
    eventually("nothing is left behind", || {
        let left = cluster.kubectl.json(&[
            "get",
            "daemonsets,jobs,pods,roles,rolebindings",
            "-n",
            chart::NAMESPACE,
        ])?;
        ensure!(names(&left).is_empty(), "left behind: {:?}", names(&left));
        Ok(())
    })?;
    Ok(End::Passed)
}
