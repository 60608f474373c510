//! Whether pins outlive the agent.

use super::{Facts, Finding};

const NAME: &str = "bpffs";

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let path = facts.bpffs.display();
    let mounts = match &facts.mounts {
        Ok(mounts) => mounts,
        Err(reason) => {
            return vec![Finding::warning(
                NAME,
                format!("mounts cannot be seen: {reason}"),
                format!("make sure that {path} is on a bpffs: stat -f {path}"),
            )];
        }
    };
    // The deepest mount is the one that holds the directory; of two at one place the later hides the earlier.
    let holder = mounts
        .iter()
        .enumerate()
        .filter(|(_, mount)| facts.bpffs.starts_with(&mount.point))
        .max_by_key(|(order, mount)| (mount.point.components().count(), *order));
    vec![match holder {
        Some((_, mount)) if mount.kind == "bpf" => {
            Finding::fine(NAME, format!("pins lie in {path}, on a bpffs"))
        }
        holder => Finding::blocking(
            NAME,
            format!(
                "{path} is not on a bpffs but on {}: enforcement would end with the agent, so it does not start",
                holder.map_or("nothing", |(_, mount)| mount.kind.as_str())
            ),
            "mount -t bpf bpf /sys/fs/bpf on the node, and at every boot (systemd does that by itself)",
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
    fn the_deepest_mount_counts_and_the_last_of_those() {
        let mount = |point: &str, kind: &str| Mount {
            point: point.into(),
            kind: kind.to_owned(),
            options: String::new(),
        };
        for (mounts, level) in [
            (vec![mount("/", "ext4")], Level::Blocking),
            (vec![mount("/sys", "sysfs")], Level::Blocking),
            (
                vec![mount("/sys/fs/bpf", "bpf"), mount("/sys", "sysfs")],
                Level::Fine,
            ),
            (
                vec![mount("/sys/fs/bpf", "bpf"), mount("/sys/fs/bpf", "tmpfs")],
                Level::Blocking,
            ),
            (vec![mount("/sys/fs/bpf-other", "bpf")], Level::Blocking),
        ] {
            let facts = Facts {
                mounts: Ok(mounts.clone()),
                ..Facts::good()
            };
            assert_eq!(worst(&check(&facts)), level, "{mounts:?}");
        }
    }
}
