//! How the node's cgroups are laid out, and which of the hooks on sockets stand there.

use super::{Facts, Finding};

const NAME: &str = "cgroup";

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let mounts = match &facts.mounts {
        Ok(mounts) => mounts,
        Err(reason) => {
            return vec![Finding::warning(
                NAME,
                format!("mounts cannot be seen: {reason}"),
                "make sure that cgroup version 2 is mounted: mount -t cgroup2",
            )];
        }
    };
    let unified: Vec<String> = mounts
        .iter()
        .filter(|mount| mount.kind == "cgroup2")
        .map(|mount| mount.point.display().to_string())
        .collect();
    let old = mounts.iter().any(|mount| mount.kind == "cgroup");
    let Some(place) = unified.first() else {
        return vec![Finding::warning(
            NAME,
            "there is no cgroup version 2: the hooks on devices stand, those on sockets do not. A denied metadata request times out \
             instead of failing at once, and what pods send to their own node through a Service is not judged again",
            "boot with systemd.unified_cgroup_hierarchy=1, or mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified before the kubelet starts",
        )];
    };
    let layout = if old {
        "version 1 with version 2 beside it (hybrid)"
    } else {
        "version 2"
    };
    vec![match &facts.pods_cgroup {
        Some(pods) => Finding::fine(
            NAME,
            format!(
                "cgroup {layout}; pods are below {}, so all layers stand",
                pods.display()
            ),
        ),
        None if old => Finding::warning(
            NAME,
            format!(
                "cgroup {layout} at {place}, and no pods below it: the hooks on devices stand, those on pods' sockets do not"
            ),
            "see where the container runtime puts pods; cgroup version 2 alone (systemd.unified_cgroup_hierarchy=1) has no such question",
        ),
        None => Finding::warning(
            NAME,
            format!(
                "cgroup {layout} at {place}, and no pods' root (kubepods.slice, kubepods) below it yet"
            ),
            "is a kubelet running here? In a container, mount the node's /sys/fs/cgroup. Another root: --cgroup-root DIR",
        ),
    }]
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Level, Mount, worst},
        *,
    };

    #[test]
    fn each_layout_is_told() {
        let mount = |point: &str, kind: &str| Mount {
            point: point.into(),
            kind: kind.to_owned(),
            options: String::new(),
        };
        let v1 = mount("/sys/fs/cgroup/memory", "cgroup");
        let v2 = mount("/sys/fs/cgroup/unified", "cgroup2");
        for (mounts, pods, level, says) in [
            (vec![v2.clone()], true, Level::Fine, "all layers"),
            (vec![v1.clone(), v2.clone()], true, Level::Fine, "hybrid"),
            (
                vec![v1.clone(), v2.clone()],
                false,
                Level::Warning,
                "no pods below it",
            ),
            (vec![v2], false, Level::Warning, "no pods' root"),
            (vec![v1], false, Level::Warning, "no cgroup version 2"),
        ] {
            let found = check(&Facts {
                mounts: Ok(mounts),
                pods_cgroup: pods.then(|| "/sys/fs/cgroup/kubepods".into()),
                ..Facts::good()
            });
            assert_eq!(worst(&found), level);
            assert!(found[0].message.contains(says), "{found:?}");
        }
    }
}
