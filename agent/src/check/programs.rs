//! Other programs of traffic control on the devices that Ringfence guards.

use std::collections::BTreeMap;

use super::{Facts, Finding, Program};

const NAME: &str = "programs";

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let programs = match &facts.programs {
        Ok(programs) => programs,
        Err(reason) => {
            return vec![Finding::warning(
                NAME,
                format!("programs on devices cannot be seen: {reason}"),
                "run `ringfence check` as root on the node; a pod needs SYS_ADMIN to see others' programs",
            )];
        }
    };
    let ours = programs.iter().filter(|program| program.ours).count();
    // One finding for each program, not for each of a hundred devices that carry it.
    let mut others: BTreeMap<(&str, &str, &str), Vec<&Program>> = BTreeMap::new();
    for program in programs.iter().filter(|program| !program.ours) {
        others
            .entry((program.name.as_str(), program.side.as_str(), program.how))
            .or_default()
            .push(program);
    }
    if others.is_empty() {
        let ours = match ours {
            0 => String::new(),
            count => format!("; {count} of Ringfence's"),
        };
        return vec![Finding::fine(
            NAME,
            format!("nobody else has programs on this node's devices{ours}"),
        )];
    }
    others
        .into_iter()
        .map(|((name, side, how), programs)| {
            let first = programs
                .first()
                .map_or("", |program| program.device.as_str());
            let devices = match programs.len() {
                1 => first.to_owned(),
                several => format!("{first} and {} more", several - 1),
            };
            Finding::warning(
                NAME,
                format!("somebody else's program {name} ({how}, {side}) is on {devices}"),
                "make sure that it redirects nothing past the device and ends with TC_ACT_UNSPEC or TC_ACT_PIPE; `bpftool net` shows more",
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Level, Side, worst},
        *,
    };

    fn program(device: &str, name: &str, ours: bool) -> Program {
        Program {
            device: device.to_owned(),
            side: Side::Ingress,
            name: name.to_owned(),
            how: "tcx",
            ours,
        }
    }

    #[test]
    fn others_are_told_once_for_each_program() {
        let found = check(&Facts {
            programs: Ok(vec![
                program("veth1", "from_pod", true),
                program("veth1", "meter", false),
                program("veth2", "meter", false),
                program("veth2", "shaper", false),
            ]),
            ..Facts::good()
        });
        assert_eq!(found.len(), 2, "{found:#?}");
        assert_eq!(worst(&found), Level::Warning);
        assert!(
            found[0]
                .message
                .contains("meter (tcx, ingress) is on veth1 and 1 more")
        );
        let ours = check(&Facts {
            programs: Ok(vec![program("veth1", "from_pod", true)]),
            ..Facts::good()
        });
        assert_eq!(worst(&ours), Level::Fine);
    }
}
