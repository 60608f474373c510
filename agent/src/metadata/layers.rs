//! Which of the firewall's layers stand on this node, and why one does not. Pure.

use ringfence_common::metadata::layers;

use crate::dataplane::ProgramView;

/// The layers, by the words of flags, metrics and status, and their bits in the kernel's configuration.
pub const LAYERS: [(&str, u32); 5] = [
    ("from-pod", layers::FROM_POD),
    ("to-host", layers::TO_HOST),
    ("lo", layers::LO),
    ("socket-packets", layers::SOCKET_PACKETS),
    ("sockets", layers::SOCKETS),
];

/// How it is with one layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Its word.
    pub name: &'static str,
    /// It is there, wherever it belongs.
    pub stands: bool,
    /// Why not, or what it does not see; empty if all is well.
    pub why: &'static str,
}

/// How it is with each layer, by what is loaded, by what the flags leave on, and by whether the pods' cgroups are known.
#[must_use]
pub fn standing(programs: &[ProgramView], on: u32, pods_cgroup: bool) -> Vec<Layer> {
    let state = |name: &str| {
        let program = programs.iter().find(|program| program.name == name);
        program.map(|program| program.attached)
    };
    let all = |names: &[&str]| names.iter().all(|name| state(name) == Some(Some(true)));
    let none_missing = |names: &[&str]| !names.iter().any(|name| state(name) == Some(Some(false)));
    let without_cgroups = "the pods' cgroups are not known (--cgroup-root)";
    let beside = "what pods with the node's network send is not told from the node's own: the pods' cgroups are not known (--cgroup-root)";
    LAYERS
        .into_iter()
        .map(|(name, bit)| {
            let of_sockets = bit & (layers::SOCKETS | layers::SOCKET_PACKETS) != 0;
            let (stands, why) = match bit {
                _ if on & bit == 0 => (false, "switched off (--metadata-layers)"),
                _ if of_sockets && !pods_cgroup => (false, without_cgroups),
                // Without a pod there is nothing to be missing.
                layers::FROM_POD => (none_missing(&["from_pod"]), ""),
                layers::TO_HOST => {
                    let programs = ["to_host", "to_host_l3"];
                    let anywhere = programs.iter().any(|name| state(name) == Some(Some(true)));
                    if !anywhere {
                        (false, "no device that leads off the node is guarded")
                    } else if pods_cgroup {
                        (none_missing(&programs), "")
                    } else {
                        (none_missing(&programs), beside)
                    }
                }
                layers::LO if pods_cgroup => (all(&["to_lo"]), ""),
                layers::LO => (all(&["to_lo"]), beside),
                layers::SOCKET_PACKETS => (all(&["from_socket"]), ""),
                _ => (all(&["connect4", "connect6", "sendmsg4", "sendmsg6"]), ""),
            };
            let why = if !stands && why.is_empty() {
                "a program is not attached where it belongs: see ringfence_bpf_program_attached"
            } else {
                why
            };
            Layer { name, stands, why }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use ringfence_common::Hook;

    use super::*;

    const ALL: [&str; 8] = [
        "from_pod",
        "to_host",
        "to_lo",
        "from_socket",
        "connect4",
        "connect6",
        "sendmsg4",
        "sendmsg6",
    ];

    fn programs(names: &[&'static str]) -> Vec<ProgramView> {
        let view = |&name| ProgramView {
            name,
            hook: Hook::ToHost,
            attached: Some(true),
            runs: None,
        };
        names.iter().map(view).collect()
    }

    fn names(layers: &[Layer]) -> Vec<&'static str> {
        let standing = layers.iter().filter(|layer| layer.stands);
        standing.map(|layer| layer.name).collect()
    }

    #[test]
    fn all_stand_where_all_is_attached() {
        let found = standing(&programs(&ALL), layers::ALL, true);
        assert_eq!(names(&found), LAYERS.map(|(name, _)| name));
        assert!(found.iter().all(|layer| layer.why.is_empty()), "{found:?}");
    }

    #[test]
    fn without_pods_cgroups_the_devices_stand_alone_and_say_what_they_miss() {
        let found = standing(&programs(&ALL[..3]), layers::ALL, false);
        assert_eq!(names(&found), ["from-pod", "to-host", "lo"]);
        for layer in &found[1..] {
            assert!(layer.why.contains("--cgroup-root"), "{layer:?}");
        }
    }

    #[test]
    fn what_is_switched_off_or_detached_does_not_stand() {
        let found = standing(&programs(&ALL), layers::ALL & !layers::LO, true);
        assert!(!found[2].stands && found[2].why.contains("--metadata-layers"));
        let mut programs = programs(&ALL);
        programs[4].attached = Some(false);
        programs[0].attached = Some(false);
        let found = standing(&programs, layers::ALL, true);
        assert_eq!(names(&found), ["to-host", "lo", "socket-packets"]);
        assert!(found[0].why.contains("attached"), "{:?}", found[0]);
        assert!(!standing(&[], layers::ALL, true)[1].stands, "no uplink yet");
    }
}
