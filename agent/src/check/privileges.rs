//! Whether the process that looks may do what the agent does.

use super::{Facts, Finding};

const NAME: &str = "privileges";

/// Capabilities that the agent cannot do without: number, name, what for.
const NEEDED: [(u32, &str, &str); 3] = [
    (12, "NET_ADMIN", "to attach programs to devices and cgroups"),
    (38, "PERFMON", "to load programs that follow pointers"),
    (39, "BPF", "to load programs and make maps"),
];

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let held = match &facts.privileges {
        Ok(privileges) => privileges.capabilities,
        Err(reason) => {
            return vec![Finding::warning(
                NAME,
                format!("this process' capabilities cannot be seen: {reason}"),
                "run it as root, or in the agent's pod",
            )];
        }
    };
    let missing: Vec<String> = NEEDED
        .iter()
        .filter(|(bit, _, _)| held & (1 << bit) == 0)
        .map(|(_, name, why)| format!("{name} ({why})"))
        .collect();
    if missing.is_empty() {
        return vec![Finding::fine(
            NAME,
            "this process has the capabilities that the agent needs",
        )];
    }
    vec![Finding::warning(
        NAME,
        format!(
            "this process lacks {}; the agent started like this would not run, and some things below cannot be seen",
            missing.join(", ")
        ),
        "run it as root, or in the agent's pod",
    )]
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Level, Privileges, worst},
        *,
    };

    #[test]
    fn what_is_missing_is_named() {
        let without = |bits: u64| {
            check(&Facts {
                privileges: Ok(Privileges { capabilities: bits }),
                ..Facts::good()
            })
        };
        assert_eq!(worst(&without(1 << 12 | 1 << 38 | 1 << 39)), Level::Fine);
        let found = without(1 << 12 | 1 << 38);
        assert_eq!(worst(&found), Level::Warning);
        assert!(found[0].message.contains("BPF (") && !found[0].message.contains("NET_ADMIN"));
    }
}
