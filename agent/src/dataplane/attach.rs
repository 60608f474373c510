//! Attaches programs and keeps them attached: every link is pinned, and updated in place.

use std::{collections::BTreeSet, fs, io, mem, path::Path};

use aya::{
    Ebpf,
    programs::{
        CgroupAttachMode, CgroupSockAddr, LinkOrder, ProgramError, SchedClassifier, TcAttachType,
        links::{FdLink, LinkError, PinnedLink},
        tc::{self, NlOptions, SchedClassifierLink, TcAttachOptions, TcError, TcHandle},
    },
    util::KernelVersion,
};

use super::{Attach, KernelError, load, pins::Pins};

/// Priority and handle of our clsact filters: fixed, so that a restart replaces them and does not stack others.
const CLSACT_PRIORITY: u16 = 1;
const CLSACT_HANDLE: TcHandle = TcHandle::new(0, 0x5246);

/// The programs of a pod's host-side device, and the side of it that each is on: what the pod receives first, so that
/// a pod that is being taken over can answer nobody whom it may not hear.
const POD_PROGRAMS: [(&str, TcAttachType); 2] = [
    ("to_pod", TcAttachType::Egress),
    ("from_pod", TcAttachType::Ingress),
];

/// Attaches the programs of pods and of the cgroup root.
#[derive(Debug)]
pub struct Attacher {
    pins: Pins,
    tcx: bool,
    /// Devices whose hooks run this agent's programs.
    attached: BTreeSet<u32>,
}

impl Attacher {
    /// Chooses between TCX and clsact.
    #[must_use]
    pub fn new(pins: Pins, attach: Attach) -> Self {
        let tcx = match attach {
            Attach::Auto => {
                KernelVersion::current().is_ok_and(|version| version >= KernelVersion::new(6, 6, 0))
            }
            Attach::Tcx => true,
            Attach::Clsact => false,
        };
        Self {
            pins,
            tcx,
            attached: BTreeSet::new(),
        }
    }

    /// Makes every link that is pinned run this agent's programs, also those of devices whose pod is not known yet:
    /// their tables are pinned too and stay in force. Pins of devices that are gone go.
    ///
    /// # Errors
    ///
    /// What the kernel refused.
    pub fn adopt(&mut self, ebpf: &mut Ebpf) -> Result<(), KernelError> {
        let devices: BTreeSet<u32> = self
            .pins
            .link_names()
            .iter()
            .filter_map(|name| name.split_once('-')?.0.parse().ok())
            .collect();
        for ifindex in devices {
            self.pod(ebpf, ifindex)?;
        }
        Ok(())
    }

    /// Guards a pod's host-side device. `false` if there is no such device (any more).
    ///
    /// # Errors
    ///
    /// What the kernel refused.
    pub fn pod(&mut self, ebpf: &mut Ebpf, ifindex: u32) -> Result<bool, KernelError> {
        let device = nix::net::if_::if_indextoname(ifindex).ok();
        let Some(device) = device.and_then(|name| name.into_string().ok()) else {
            self.forget(ifindex)?;
            return Ok(false);
        };
        if self.attached.contains(&ifindex) {
            return Ok(true);
        }
        for (name, side) in POD_PROGRAMS {
            let program: &mut SchedClassifier = load::program(ebpf, name)?;
            let done = if self.tcx {
                tcx(
                    &self.pins,
                    program,
                    &device,
                    side,
                    &format!("{ifindex}-{name}"),
                )
            } else {
                clsact(program, &device, side)
            };
            done.map_err(|error| {
                KernelError::Other(format!(
                    "cannot attach {name} to {device} (index {ifindex}): {error}"
                ))
            })?;
        }
        self.attached.insert(ifindex);
        Ok(true)
    }

    /// Removes the pins of a device that is gone; its links went with it.
    fn forget(&mut self, ifindex: u32) -> Result<(), KernelError> {
        self.attached.remove(&ifindex);
        for (name, _) in POD_PROGRAMS {
            remove(&self.pins.link(&format!("{ifindex}-{name}")))?;
        }
        Ok(())
    }

    /// Drops what is known of devices that are gone; which these were.
    ///
    /// # Errors
    ///
    /// If a pin cannot be removed.
    pub fn reap(&mut self) -> Result<Vec<u32>, KernelError> {
        let gone: Vec<u32> = self
            .attached
            .iter()
            .copied()
            .filter(|&ifindex| nix::net::if_::if_indextoname(ifindex).is_err())
            .collect();
        for &ifindex in &gone {
            self.forget(ifindex)?;
        }
        Ok(gone)
    }

    /// Guards sockets below the root of the pods' cgroups.
    ///
    /// aya 0.14 cannot update these links in place: the new ones are attached first, and for a moment both judge.
    ///
    /// # Errors
    ///
    /// What the kernel refused.
    pub fn sockets(&self, ebpf: &mut Ebpf, root: &Path) -> Result<(), KernelError> {
        let cgroup = fs::File::open(root).map_err(|error| {
            KernelError::Other(format!(
                "cannot open the cgroup {}: {error}\n  help: --cgroup-root names a directory in a cgroup2 hierarchy (see /proc/self/mountinfo)",
                root.display()
            ))
        })?;
        for name in load::SOCKET_PROGRAMS {
            let program: &mut CgroupSockAddr = load::program(ebpf, name)?;
            let mut attach = || -> anyhow::Result<()> {
                let id = program.attach(&cgroup, CgroupAttachMode::Single)?;
                let link: FdLink = program.take_link(id)?.try_into()?;
                let pin = self.pins.link(name);
                let fresh = self.pins.link(&format!("{name}-new"));
                remove(&fresh)?;
                link.pin(&fresh)?;
                // Renaming over the old pin is what lets the old link go.
                fs::rename(&fresh, &pin)?;
                Ok(())
            };
            attach().map_err(|error| {
                KernelError::Other(format!(
                    "cannot attach {name} to {}: {error:#}",
                    root.display()
                ))
            })?;
        }
        Ok(())
    }

    /// `tcx` or `clsact`.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        if self.tcx { "tcx" } else { "clsact" }
    }
}

/// Attaches by a TCX link, before all other programs of the device, or updates the link that is pinned.
fn tcx(
    pins: &Pins,
    program: &mut SchedClassifier,
    device: &str,
    side: TcAttachType,
    name: &str,
) -> anyhow::Result<()> {
    let pin = pins.link(name);
    match PinnedLink::from_pin(&pin) {
        Ok(link) => {
            let link = FdLink::from(link);
            match program.attach_to_link(link.try_into()?) {
                Ok(id) => {
                    // Dropping the descriptor keeps a pinned link.
                    let _: SchedClassifierLink = program.take_link(id)?;
                    return Ok(());
                }
                // The device is gone and another one has its index: the old link is defunct. Any other error leaves
                // the old programs in force.
                Err(ProgramError::SyscallError(error))
                    if error.io_error.raw_os_error() == Some(libc::ENOLINK) =>
                {
                    remove(&pin)?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(LinkError::SyscallError(error)) if error.io_error.kind() == io::ErrorKind::NotFound => {
        }
        Err(error) => return Err(error.into()),
    }
    let options = TcAttachOptions::TcxOrder(LinkOrder::first());
    let id = program.attach_with_options(device, side, options)?;
    let link: FdLink = program.take_link(id)?.try_into()?;
    link.pin(&pin)?;
    Ok(())
}

/// Attaches by a clsact filter, or replaces the one that an earlier agent left.
fn clsact(program: &mut SchedClassifier, device: &str, side: TcAttachType) -> anyhow::Result<()> {
    match tc::qdisc_add_clsact(device) {
        Ok(()) | Err(TcError::AlreadyAttached) => {}
        Err(TcError::NetlinkError(error)) if error.raw_os_error() == Some(libc::EEXIST) => {}
        Err(error) => return Err(error.into()),
    }
    let ours = || SchedClassifierLink::attached(device, side, CLSACT_PRIORITY, CLSACT_HANDLE, None);
    let replaced = ours().map(|link| program.attach_to_link(link));
    let id = match replaced {
        Ok(Ok(id)) => id,
        _ => {
            let options = NlOptions {
                priority: CLSACT_PRIORITY,
                handle: CLSACT_HANDLE,
                classid: None,
            };
            program.attach_with_options(device, side, TcAttachOptions::Netlink(options))?
        }
    };
    // Dropping it would detach it; filters outlive the process that made them.
    mem::forget(program.take_link(id)?);
    Ok(())
}

/// Removes a pin; that it is not there is as good.
fn remove(pin: &Path) -> Result<(), KernelError> {
    match fs::remove_file(pin) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(KernelError::Other(format!(
            "cannot remove the pin {}: {error}",
            pin.display()
        ))),
    }
}

/// Removes all enforcement: links first, then maps. How many pins there were.
///
/// # Errors
///
/// If a pin cannot be removed.
pub fn detach(pins: &Pins) -> Result<usize, KernelError> {
    let mut removed = 0;
    for name in pins.link_names() {
        remove(&pins.link(&name))?;
        removed += 1;
    }
    removed += detach_filters();
    let Ok(versions) = fs::read_dir(pins.base()) else {
        return Ok(removed);
    };
    for version in versions
        .flatten()
        .filter(|entry| is_version(&entry.file_name().to_string_lossy()))
    {
        for kind in ["links", "maps"] {
            let directory = version.path().join(kind);
            for pin in fs::read_dir(&directory).into_iter().flatten().flatten() {
                remove(&pin.path())?;
                removed += 1;
            }
            let _: io::Result<()> = fs::remove_dir(&directory);
        }
        let _: io::Result<()> = fs::remove_dir(version.path());
    }
    Ok(removed)
}

/// Removes our clsact filters from every device of this network namespace.
fn detach_filters() -> usize {
    let devices = nix::net::if_::if_nameindex();
    let mut removed = 0;
    for device in devices.iter().flat_map(|devices| devices.iter()) {
        let Ok(name) = device.name().to_str() else {
            continue;
        };
        for (program, side) in POD_PROGRAMS {
            // An error says that there is none.
            removed += usize::from(tc::qdisc_detach_program(name, side, program).is_ok());
        }
    }
    removed
}

fn is_version(name: &str) -> bool {
    name.strip_prefix('v')
        .is_some_and(|number| number.parse::<u32>().is_ok())
}
