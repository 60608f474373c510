//! Whether the kernel has what programs and maps need.

use super::{Facts, Finding};

/// Ring buffers and the capabilities BPF and PERFMON.
const OLDEST: (u32, u32) = (5, 8);
/// Maps are charged to a cgroup, no longer to a limit of locked memory.
const CHARGED: (u32, u32) = (5, 11);
/// TCX: programs are ordered beside others and replaced without a gap.
const TCX: (u32, u32) = (6, 6);

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let mut findings = vec![release(facts), types(facts)];
    findings.extend(compiled(facts));
    findings.extend(lockdown(facts));
    findings
}

fn release(facts: &Facts) -> Finding {
    const NAME: &str = "kernel";
    let release = match &facts.release {
        Ok(release) => release,
        Err(reason) => {
            return Finding::warning(
                NAME,
                format!("the kernel's version cannot be read: {reason}"),
                "see `uname -r`: it must be 5.8 or newer, and should be 6.6 or newer",
            );
        }
    };
    let text = &release.text;
    if release.number < OLDEST {
        Finding::blocking(
            NAME,
            format!("Linux {text} has no ring buffers for programs"),
            "use Linux 5.8 or newer, better 6.6 or newer",
        )
    } else if release.number < CHARGED {
        Finding::warning(
            NAME,
            format!("Linux {text} counts maps as locked memory, and has no TCX"),
            "give the agent the capability SYS_RESOURCE (security.capabilities of the chart), or use Linux 6.6 or newer",
        )
    } else if release.number < TCX {
        Finding::warning(
            NAME,
            format!(
                "Linux {text} has no TCX: programs are attached as clsact filters, which other software may remove or outrun"
            ),
            "see what else attaches filters to pods' devices (below); Linux 6.6 or newer orders programs",
        )
    } else {
        Finding::fine(NAME, format!("Linux {text}, with TCX and ring buffers"))
    }
}

fn types(facts: &Facts) -> Finding {
    const NAME: &str = "btf";
    if facts.btf {
        Finding::fine(NAME, "the kernel tells its types")
    } else {
        Finding::blocking(
            NAME,
            "there is no /sys/kernel/btf/vmlinux",
            "use a kernel that was built with CONFIG_DEBUG_INFO_BTF=y, as those of all large distributions are",
        )
    }
}

fn compiled(facts: &Facts) -> Option<Finding> {
    (facts.jit == Some(false)).then(|| {
        Finding::warning(
            "jit",
            "programs are interpreted, not compiled, so every packet costs several times as much",
            "sysctl -w net.core.bpf_jit_enable=1",
        )
    })
}

fn lockdown(facts: &Facts) -> Option<Finding> {
    let mode = facts.lockdown.as_deref()?;
    (mode == "confidentiality").then(|| {
        Finding::blocking(
            "lockdown",
            "the kernel is locked down (confidentiality), which keeps programs from reading the kernel's memory",
            "boot with lockdown=integrity, or without",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Level, Release, worst},
        *,
    };

    #[test]
    fn each_step_of_versions_has_its_level() {
        for (number, level) in [
            ((4, 19), Level::Blocking),
            ((5, 7), Level::Blocking),
            ((5, 8), Level::Warning),
            ((5, 15), Level::Warning),
            ((6, 5), Level::Warning),
            ((6, 6), Level::Fine),
            ((7, 0), Level::Fine),
        ] {
            let found = check(&Facts {
                release: Ok(Release {
                    text: format!("{}.{}", number.0, number.1),
                    number,
                }),
                ..Facts::good()
            });
            assert_eq!(worst(&found), level, "{number:?}");
        }
    }

    #[test]
    fn what_the_kernel_lacks_is_said() {
        for (facts, level) in [
            (
                Facts {
                    btf: false,
                    ..Facts::good()
                },
                Level::Blocking,
            ),
            (
                Facts {
                    jit: Some(false),
                    ..Facts::good()
                },
                Level::Warning,
            ),
            (
                Facts {
                    lockdown: Some("confidentiality".to_owned()),
                    ..Facts::good()
                },
                Level::Blocking,
            ),
            (
                Facts {
                    lockdown: Some("integrity".to_owned()),
                    ..Facts::good()
                },
                Level::Fine,
            ),
        ] {
            assert_eq!(worst(&check(&facts)), level);
        }
    }
}
