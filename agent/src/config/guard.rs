//! The flags of `ringfence metadata guard` as values, checked once.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    firewall::parse_prefixes,
    flags::{parse_node_cgroup, parse_tcx},
    parse_mark,
};
use crate::{
    args::GuardArgs,
    cgroup2::{self, Driver},
    cli::failure::Failure,
    dataplane::{Firewall, Options},
    diff::Limits,
};

/// What a guard does.
#[derive(Clone, Debug)]
pub struct GuardConfig {
    /// What the dataplane is told.
    pub options: Options,
    /// Why there is no root of the pods' cgroups, if none was found.
    pub no_cgroup: Option<String>,
}

impl GuardConfig {
    /// Checks the flags.
    ///
    /// # Errors
    ///
    /// The flag, what is wrong with it, and what it allows.
    pub fn new(args: &GuardArgs) -> Result<Self, Failure> {
        let (cgroup_root, no_cgroup) = match parse_root(&args.cgroup_root)? {
            Root::At(root) => (Some(root), None),
            Root::Off => (None, None),
            Root::Unknown(why) => (None, Some(why)),
        };
        if !args.bpffs.is_absolute() {
            return Err(Failure::new("it must be an absolute path")
                .at(format!("--bpffs {}", args.bpffs.display())));
        }
        Ok(Self {
            options: Options {
                bpffs: args.bpffs.clone(),
                cgroup_root,
                node_cgroup: parse_node_cgroup(args.node_cgroup.clone()),
                run_dir: args.run_dir.clone(),
                limits: LIMITS,
                mark: parse_mark(&args.mark_source_mask, &args.mark_proof_mask)?,
                // Nobody reads them.
                event_rate: 0,
                // Nobody audits.
                audit_interval: DAY,
                attach: parse_tcx(args.tcx),
                firewall: Firewall {
                    nat64: parse_prefixes(&args.nat64_prefix)?,
                    ..Firewall::default()
                },
            },
            no_cgroup,
        })
    }
}

const DAY: Duration = Duration::from_secs(86_400);

/// No pod is known and no policy: what maps take is kept small. The agent has its own, of the sizes that its flags say.
const LIMITS: Limits = Limits {
    addresses: 64,
    networks: 64,
    classes: 64,
    cells: 64,
    pages: 64,
    endpoints: 64,
    rules: 64,
    identities: 64,
    tables: 64,
    connections: 65_536,
    services: 64,
    sources: ringfence_common::mark::MarkLayout::DEFAULT.sources(),
};

enum Root {
    At(PathBuf),
    Off,
    /// There is nowhere for one to be, and why.
    Unknown(String),
}

fn parse_root(given: &Path) -> Result<Root, Failure> {
    let driver = match given.to_str() {
        Some("off") => return Ok(Root::Off),
        Some("auto") => None,
        Some("systemd") => Some(Driver::Systemd),
        Some("cgroupfs") => Some(Driver::Cgroupfs),
        _ if given.is_absolute() => return Ok(Root::At(given.to_owned())),
        _ => {
            return Err(
                Failure::new("it is neither a driver of cgroups nor an absolute path")
                    .at(format!("--cgroup-root {}", given.display()))
                    .help("write auto, systemd, cgroupfs, off, or a directory in a cgroup2 hierarchy (see /proc/self/mountinfo)"),
            );
        }
    };
    Ok(match cgroup2::pods_root_to_be(driver) {
        Ok(root) => Root::At(root),
        Err(error) => Root::Unknown(format!("{error:#}")),
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{Args, MetadataVerb, Verb};

    fn config(words: &[&str]) -> Result<GuardConfig, String> {
        let words = [&["ringfence", "metadata", "guard"], words].concat();
        let Verb::Metadata(MetadataVerb::Guard(args)) = Args::try_parse_from(words).unwrap().verb
        else {
            panic!("it is that verb");
        };
        GuardConfig::new(&args).map_err(|failure| failure.to_string())
    }

    #[test]
    fn the_root_of_the_pods_is_named_by_driver_or_directory() {
        let root = |given| {
            config(&["--cgroup-root", given])
                .unwrap()
                .options
                .cgroup_root
        };
        assert_eq!(root("/x/pods"), Some("/x/pods".into()));
        assert_eq!(root("off"), None);
        // Where cgroup version 2 is mounted is this machine's own affair.
        for (driver, name) in [("systemd", "kubepods.slice"), ("cgroupfs", "kubepods")] {
            let found = root(driver);
            assert!(found.is_none_or(|root| root.ends_with(name)), "{driver}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_its_flag() {
        for (words, what) in [
            (["--cgroup-root", "kubepods"], "--cgroup-root kubepods"),
            (["--nat64-prefix", "64::/33"], "--nat64-prefix 64::/33"),
            (["--mark-proof-mask", "0x30001"], "overlap"),
            (["--bpffs", "bpf"], "--bpffs bpf"),
        ] {
            let said = config(&words).unwrap_err();
            assert!(said.contains(what), "{said}");
        }
    }
}
