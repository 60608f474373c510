//! The programs of cgroups: attached once, their pins renamed over those of an earlier agent.
//!
//! **Invariant.** The new link is attached before the old one goes: for a moment both judge.

use std::{fs, path::Path};

use aya::{
    Ebpf,
    programs::{CgroupAttachMode, CgroupSkb, CgroupSkbAttachType, CgroupSockAddr, links::FdLink},
};

use super::{
    Attacher,
    link::{runs, unknown},
};
use crate::dataplane::{KernelError, load, pins::remove};

fn open_cgroup(root: &Path, flag: &str) -> Result<fs::File, KernelError> {
    fs::File::open(root).map_err(|error| {
        KernelError::Other(format!(
            "cannot open the cgroup {}: {error}\n  help: {flag} names a directory in a cgroup2 hierarchy (see /proc/self/mountinfo)",
            root.display()
        ))
    })
}

/// Attaches a program that judges packets of sockets. A link stands beside others' whatever the mode says, and takes no other.
fn packets(
    program: &mut CgroupSkb,
    cgroup: &fs::File,
    side: CgroupSkbAttachType,
) -> anyhow::Result<FdLink> {
    let id = program.attach(cgroup, side, CgroupAttachMode::Single)?;
    Ok(program.take_link(id)?.try_into()?)
}

impl Attacher {
    /// The programs of cgroups that are no longer attached.
    ///
    /// # Errors
    ///
    /// If a pin cannot be looked at.
    pub fn audit_cgroups(
        &self,
        ebpf: &mut Ebpf,
        sockets: bool,
        node: bool,
    ) -> Result<Vec<String>, KernelError> {
        let mut wrong = Vec::new();
        for name in load::SOCKET_PROGRAMS.into_iter().filter(|_| sockets) {
            let program: &mut CgroupSockAddr = load::program(ebpf, name)?;
            let id = program.info().map_err(|error| unknown(&error))?.id();
            if !runs(&self.pins.link(name), id, None)? {
                wrong.push(format!("{name} on its cgroup"));
            }
        }
        let packets = [(load::PACKETS_PROGRAM, sockets), (load::NODE_PROGRAM, node)];
        for (name, _) in packets.into_iter().filter(|(_, wanted)| *wanted) {
            let program: &mut CgroupSkb = load::program(ebpf, name)?;
            let id = program.info().map_err(|error| unknown(&error))?.id();
            if !runs(&self.pins.link(name), id, None)? {
                wrong.push(format!("{name} on its cgroup"));
            }
        }
        Ok(wrong)
    }

    /// Guards sockets below the root of the pods' cgroups.
    ///
    /// aya 0.14 cannot update these links in place: the new ones are attached first, and for a moment both judge.
    ///
    /// # Errors
    ///
    /// What the kernel refused.
    pub fn sockets(&self, ebpf: &mut Ebpf, root: &Path) -> Result<(), KernelError> {
        let cgroup = open_cgroup(root, "--cgroup-root")?;
        for name in load::SOCKET_PROGRAMS {
            let program: &mut CgroupSockAddr = load::program(ebpf, name)?;
            let mut attach = || -> anyhow::Result<FdLink> {
                let id = program.attach(&cgroup, CgroupAttachMode::Single)?;
                Ok(program.take_link(id)?.try_into()?)
            };
            self.pin_over(name, attach(), root)?;
        }
        Ok(())
    }

    /// Guards what sockets below the root of the pods' cgroups send, packet by packet.
    ///
    /// # Errors
    ///
    /// What the kernel refused.
    pub fn packets(&self, ebpf: &mut Ebpf, root: &Path) -> Result<(), KernelError> {
        let cgroup = open_cgroup(root, "--cgroup-root")?;
        let name = load::PACKETS_PROGRAM;
        let side = CgroupSkbAttachType::Egress;
        let link = packets(load::program(ebpf, name)?, &cgroup, side);
        self.pin_over(name, link, root)
    }

    /// Guards the node's own sockets, below this cgroup. As [`Self::sockets`], the new link comes before the old one goes.
    ///
    /// # Errors
    ///
    /// What the kernel refused.
    pub fn node(&self, ebpf: &mut Ebpf, root: &Path) -> Result<(), KernelError> {
        let cgroup = open_cgroup(root, "--node-cgroup")?;
        let name = load::NODE_PROGRAM;
        let side = CgroupSkbAttachType::Ingress;
        let link = packets(load::program(ebpf, name)?, &cgroup, side);
        self.pin_over(name, link, root)
    }

    /// Pins a link where an earlier agent's may be, which goes only then.
    fn pin_over(
        &self,
        name: &str,
        link: anyhow::Result<FdLink>,
        root: &Path,
    ) -> Result<(), KernelError> {
        let pin = || -> anyhow::Result<()> {
            let fresh = self.pins.link(&format!("{name}-new"));
            remove(&fresh)?;
            link?.pin(&fresh)?;
            // Renaming over the old pin is what lets the old link go.
            fs::rename(&fresh, self.pins.link(name))?;
            Ok(())
        };
        pin().map_err(|error| {
            KernelError::Other(format!(
                "cannot attach {name} to {}: {error:#}",
                root.display()
            ))
        })
    }
}
