//! Attaches programs and keeps them attached: every link is pinned, and updated in place.

mod look;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io, mem,
    path::Path,
};

use aya::{
    Ebpf,
    programs::{
        CgroupAttachMode, CgroupSkb, CgroupSkbAttachType, CgroupSockAddr, LinkOrder, ProgramError,
        SchedClassifier, TcAttachType,
        links::{FdLink, LinkError, PinnedLink},
        tc::{self, NlOptions, SchedClassifierLink, TcAttachOptions, TcError, TcHandle},
    },
    util::KernelVersion,
};

use super::{
    Attach, KernelError, load,
    pins::{Pins, remove},
    sys,
};

/// Priority and handle of our clsact filters: fixed, so that a restart replaces them and does not stack others.
const CLSACT_PRIORITY: u16 = 1;
const CLSACT_HANDLE: TcHandle = TcHandle::new(0, 0x5246);

/// The programs of a pod's host-side device, and the side of it that each is on: what the pod receives first, so that
/// a pod that is being taken over can answer nobody whom it may not hear.
const POD_PROGRAMS: [(&str, TcAttachType); 2] = [
    ("to_pod", TcAttachType::Egress),
    ("from_pod", TcAttachType::Ingress),
];

/// The programs of a device that leads off the node.
const HOST_PROGRAMS: [(&str, TcAttachType); 2] = [
    ("to_host", TcAttachType::Egress),
    ("from_host", TcAttachType::Ingress),
];

/// The same of a device without Ethernet.
const HOST_PROGRAMS_L3: [(&str, TcAttachType); 2] = [
    ("to_host_l3", TcAttachType::Egress),
    ("from_host_l3", TcAttachType::Ingress),
];

pub(super) use look::{is_of_pods, unreadable};

/// Names of all programs that devices carry.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    [POD_PROGRAMS, HOST_PROGRAMS, HOST_PROGRAMS_L3]
        .into_iter()
        .flatten()
        .map(|(name, _)| name)
}

/// Attaches the programs of pods, of the node's own devices, and of the cgroup roots.
#[derive(Debug)]
pub struct Attacher {
    pins: Pins,
    tcx: bool,
    /// Devices whose hooks run this agent's programs, and which.
    attached: BTreeSet<(u32, &'static str)>,
    /// Devices that went while programs were being attached to them.
    vanished: u64,
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
            vanished: 0,
        }
    }

    /// Makes every link that is pinned run this agent's programs, also those of devices whose pod is not known yet:
    /// their tables are pinned too and stay in force. Pins of devices that are gone go.
    ///
    /// # Errors
    ///
    /// What the kernel refused.
    pub fn adopt(&mut self, ebpf: &mut Ebpf) -> Result<(), KernelError> {
        for name in self.pins.link_names() {
            // An agent that died while it put a link in the place of another one.
            if name.ends_with("-new") {
                remove(&self.pins.link(&name))?;
            }
        }
        for (ifindex, programs) in guarded(&self.pins) {
            self.guard(ebpf, ifindex, programs)?;
        }
        Ok(())
    }

    /// Makes every link of an agent with other layouts run this agent's programs, in place: each packet is judged by the
    /// one or by the other. Links that are not taken over stay until their pins go.
    ///
    /// # Errors
    ///
    /// What the kernel refused. What has been taken over by then stays so; calling it again goes on.
    pub fn take_over(&mut self, ebpf: &mut Ebpf, earlier: &Pins) -> Result<(), KernelError> {
        for (ifindex, programs) in guarded(earlier) {
            for (name, _) in programs.into_iter().filter(|_| self.tcx) {
                let link = format!("{ifindex}-{name}");
                let (theirs, ours) = (earlier.link(&link), self.pins.link(&link));
                if ours.exists() || !theirs.exists() {
                    continue;
                }
                let program: &mut SchedClassifier = load::program(ebpf, name)?;
                let taken = update(program, &theirs).and_then(|updated| {
                    if updated {
                        // An agent that dies before this does it again, to the same end.
                        fs::rename(&theirs, &ours)?;
                    }
                    Ok(())
                });
                taken.map_err(|error| {
                    KernelError::Other(format!(
                        "cannot replace the program of {}: {error:#}",
                        theirs.display()
                    ))
                })?;
            }
            self.guard(ebpf, ifindex, programs)?;
        }
        Ok(())
    }

    /// Looks whether every device that is guarded still runs our programs, and attaches where not; what was wrong.
    ///
    /// # Errors
    ///
    /// What the kernel refused.
    pub fn audit(&mut self, ebpf: &mut Ebpf) -> Result<Vec<String>, KernelError> {
        let mut wrong = Vec::new();
        for programs in [POD_PROGRAMS, HOST_PROGRAMS, HOST_PROGRAMS_L3] {
            let on = |it: &&(u32, &'static str)| it.1 == programs[0].0;
            let devices: Vec<u32> = self.attached.iter().filter(on).map(|it| it.0).collect();
            for ifindex in devices {
                let Some(device) = device_name(ifindex) else {
                    continue;
                };
                let mut found = Vec::new();
                for (name, side) in programs {
                    let program: &mut SchedClassifier = load::program(ebpf, name)?;
                    let is_ours = if self.tcx {
                        let pin = self.pins.link(&format!("{ifindex}-{name}"));
                        runs(&pin, program_id(program)?, Some(ifindex.into()))?
                    } else {
                        replace_filter(program, &device, side)
                    };
                    if !is_ours {
                        found.push(format!("{name} on {device} (index {ifindex})"));
                    }
                }
                if !found.is_empty() {
                    self.attached.retain(|it| {
                        it.0 != ifindex || programs.iter().all(|(name, _)| *name != it.1)
                    });
                    self.guard(ebpf, ifindex, programs)?;
                }
                wrong.extend(found);
            }
        }
        Ok(wrong)
    }

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
        if node {
            let program: &mut CgroupSkb = load::program(ebpf, load::NODE_PROGRAM)?;
            let id = program.info().map_err(|error| unknown(&error))?.id();
            if !runs(&self.pins.link(load::NODE_PROGRAM), id, None)? {
                wrong.push(format!("{} on its cgroup", load::NODE_PROGRAM));
            }
        }
        Ok(wrong)
    }

    /// Removes the clsact filters beside our TCX links: an earlier agent may have had no TCX.
    pub fn drop_filters(&self) {
        if self.tcx {
            let devices: BTreeSet<u32> = self.attached.iter().map(|&(of, _)| of).collect();
            for device in devices.into_iter().filter_map(device_name) {
                detach_filters_of(&device);
            }
        }
    }

    /// Guards a pod's host-side device. `false` if there is no such device (any more).
    ///
    /// # Errors
    ///
    /// What the kernel refused.
    pub fn pod(&mut self, ebpf: &mut Ebpf, ifindex: u32) -> Result<bool, KernelError> {
        self.guard(ebpf, ifindex, POD_PROGRAMS)
    }

    /// Guards a device that leads off the node. `false` if there is no such device (any more).
    ///
    /// # Errors
    ///
    /// What the kernel refused.
    pub fn host(
        &mut self,
        ebpf: &mut Ebpf,
        ifindex: u32,
        ethernet: bool,
    ) -> Result<bool, KernelError> {
        let programs = if ethernet {
            HOST_PROGRAMS
        } else {
            HOST_PROGRAMS_L3
        };
        self.guard(ebpf, ifindex, programs)
    }

    /// Takes the programs of a device that no longer leads off the node away from it: it has become a pod's.
    ///
    /// # Errors
    ///
    /// If a pin cannot be removed.
    pub fn no_host(&mut self, ifindex: u32) -> Result<(), KernelError> {
        for (name, side) in HOST_PROGRAMS.into_iter().chain(HOST_PROGRAMS_L3) {
            if !self.attached.remove(&(ifindex, name)) {
                continue;
            }
            remove(&self.pins.link(&format!("{ifindex}-{name}")))?;
            if !self.tcx
                && let Some(device) = device_name(ifindex)
            {
                // An error says that there is none.
                let _: Result<(), TcError> = tc::qdisc_detach_program(&device, side, name);
            }
        }
        Ok(())
    }

    /// Devices that are guarded as leading off the node.
    #[must_use]
    pub fn hosts(&self) -> BTreeSet<u32> {
        let is_host = |name| {
            [HOST_PROGRAMS, HOST_PROGRAMS_L3]
                .iter()
                .any(|programs| programs[0].0 == name)
        };
        self.attached
            .iter()
            .filter(|(_, name)| is_host(*name))
            .map(|&(ifindex, _)| ifindex)
            .collect()
    }

    fn guard(
        &mut self,
        ebpf: &mut Ebpf,
        ifindex: u32,
        programs: [(&'static str, TcAttachType); 2],
    ) -> Result<bool, KernelError> {
        let Some(device) = device_name(ifindex) else {
            self.forget(ifindex)?;
            return Ok(false);
        };
        if self.attached.contains(&(ifindex, programs[0].0)) {
            return Ok(true);
        }
        for (name, side) in programs {
            let program: &mut SchedClassifier = load::program(ebpf, name)?;
            let done = if self.tcx {
                tcx(&self.pins, program, (&device, ifindex), side, name)
            } else {
                clsact(program, &device, side)
            };
            if let Err(error) = done {
                // Pods go when they go.
                if device_name(ifindex).is_none() {
                    self.note_vanished(&device, ifindex);
                    self.forget(ifindex)?;
                    return Ok(false);
                }
                return Err(KernelError::Other(format!(
                    "cannot attach {name} to {device} (index {ifindex}): {error:#}"
                )));
            }
        }
        self.attached
            .extend(programs.map(|(name, _)| (ifindex, name)));
        Ok(true)
    }

    /// Removes the pins of a device that is gone; its links went with it.
    fn forget(&mut self, ifindex: u32) -> Result<(), KernelError> {
        self.attached.retain(|(of, _)| *of != ifindex);
        for (name, _) in POD_PROGRAMS
            .into_iter()
            .chain(HOST_PROGRAMS)
            .chain(HOST_PROGRAMS_L3)
        {
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
        let known: BTreeSet<u32> = self.attached.iter().map(|&(ifindex, _)| ifindex).collect();
        let gone: Vec<u32> = known
            .into_iter()
            .filter(|&ifindex| device_name(ifindex).is_none())
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

    /// Guards the node's own sockets, below this cgroup. As [`Self::sockets`], the new link comes before the old one goes.
    ///
    /// # Errors
    ///
    /// What the kernel refused.
    pub fn node(&self, ebpf: &mut Ebpf, root: &Path) -> Result<(), KernelError> {
        let cgroup = open_cgroup(root, "--node-cgroup")?;
        let name = load::NODE_PROGRAM;
        let program: &mut CgroupSkb = load::program(ebpf, name)?;
        let mut attach = || -> anyhow::Result<FdLink> {
            // A link stands beside others' whatever the mode says, and takes no other.
            let mode = CgroupAttachMode::Single;
            let id = program.attach(&cgroup, CgroupSkbAttachType::Ingress, mode)?;
            Ok(program.take_link(id)?.try_into()?)
        };
        self.pin_over(name, attach(), root)
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

    /// `tcx` or `clsact`.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        if self.tcx { "tcx" } else { "clsact" }
    }
}

fn open_cgroup(root: &Path, flag: &str) -> Result<fs::File, KernelError> {
    fs::File::open(root).map_err(|error| {
        KernelError::Other(format!(
            "cannot open the cgroup {}: {error}\n  help: {flag} names a directory in a cgroup2 hierarchy (see /proc/self/mountinfo)",
            root.display()
        ))
    })
}

fn device_name(ifindex: u32) -> Option<String> {
    let name = nix::net::if_::if_indextoname(ifindex).ok()?;
    // nix 0.31 takes the null pointer, which says that there is none, for a name.
    name.into_string().ok().filter(|name| !name.is_empty())
}

/// Attaches by a TCX link, before all other programs of the device, or updates the link that is pinned.
///
/// aya 0.14 attaches by name, which may be another device's by then: that one is let go again.
fn tcx(
    pins: &Pins,
    program: &mut SchedClassifier,
    (device, ifindex): (&str, u32),
    side: TcAttachType,
    name: &str,
) -> anyhow::Result<()> {
    let pin = pins.link(&format!("{ifindex}-{name}"));
    if update(program, &pin)? {
        return Ok(());
    }
    let options = TcAttachOptions::TcxOrder(LinkOrder::first());
    let id = program.attach_with_options(device, side, options)?;
    let link: FdLink = program.take_link(id)?.try_into()?;
    link.pin(&pin)?;
    look::is_at(&pin, ifindex)
}

fn unknown(error: &ProgramError) -> KernelError {
    KernelError::Other(format!("cannot ask about a program: {error}"))
}

fn program_id(program: &SchedClassifier) -> Result<u32, KernelError> {
    Ok(program.info().map_err(|error| unknown(&error))?.id())
}

/// Whether a pinned link is attached there, or anywhere, and runs this program. One that is attached nowhere goes.
fn runs(pin: &Path, program: u32, target: Option<u64>) -> Result<bool, KernelError> {
    let state = sys::pinned_link(pin).map_err(|error| unreadable(pin, &error))?;
    let Some(state) = state else {
        return Ok(false);
    };
    if state.target == 0 || target.is_some_and(|target| target != state.target) {
        remove(pin)?;
        return Ok(false);
    }
    Ok(state.program == program)
}

/// Makes a pinned link run this program. `false`: there is none, or its device is gone and another one may have its index; then
/// the pin is gone too. Any error leaves the old program in force.
fn update(program: &mut SchedClassifier, pin: &Path) -> anyhow::Result<bool> {
    let link = match PinnedLink::from_pin(pin) {
        Ok(link) => FdLink::from(link),
        Err(LinkError::SyscallError(error)) if error.io_error.kind() == io::ErrorKind::NotFound => {
            return Ok(false);
        }
        Err(error) => return Err(error.into()),
    };
    match program.attach_to_link(link.try_into()?) {
        Ok(id) => {
            // Dropping the descriptor keeps a pinned link.
            let _: SchedClassifierLink = program.take_link(id)?;
            Ok(true)
        }
        Err(ProgramError::SyscallError(error))
            if error.io_error.raw_os_error() == Some(libc::ENOLINK) =>
        {
            remove(pin)?;
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

/// The devices that pinned links are on, and the programs that they carry.
fn guarded(pins: &Pins) -> Vec<(u32, [(&'static str, TcAttachType); 2])> {
    let links = pins.link_names();
    let found = links.iter().filter_map(|link| {
        let (ifindex, program) = link.split_once('-')?;
        let programs = [POD_PROGRAMS, HOST_PROGRAMS, HOST_PROGRAMS_L3]
            .into_iter()
            .find(|programs| programs.iter().any(|(name, _)| *name == program))?;
        Some(((ifindex.parse().ok()?, programs[0].0), programs))
    });
    let devices: BTreeMap<(u32, &str), _> = found.collect();
    devices
        .into_iter()
        .map(|((ifindex, _), programs)| (ifindex, programs))
        .collect()
}

/// Attaches by a clsact filter, or replaces the one that an earlier agent left.
fn clsact(program: &mut SchedClassifier, device: &str, side: TcAttachType) -> anyhow::Result<()> {
    match tc::qdisc_add_clsact(device) {
        Ok(()) | Err(TcError::AlreadyAttached) => {}
        Err(TcError::NetlinkError(error)) if error.raw_os_error() == Some(libc::EEXIST) => {}
        Err(error) => return Err(error.into()),
    }
    if replace_filter(program, device, side) {
        return Ok(());
    }
    let options = NlOptions {
        priority: CLSACT_PRIORITY,
        handle: CLSACT_HANDLE,
        classid: None,
    };
    let id = program.attach_with_options(device, side, TcAttachOptions::Netlink(options))?;
    // Dropping it would detach it; filters outlive the process that made them.
    mem::forget(program.take_link(id)?);
    Ok(())
}

/// Replaces our filter; false if there is none.
fn replace_filter(program: &mut SchedClassifier, device: &str, side: TcAttachType) -> bool {
    let ours = SchedClassifierLink::attached(device, side, CLSACT_PRIORITY, CLSACT_HANDLE, None);
    let Ok(Ok(id)) = ours.map(|link| program.attach_to_link(link)) else {
        return false;
    };
    program.take_link(id).map(mem::forget).is_ok()
}

/// Removes all enforcement: links first, then maps. How many pins there were.
///
/// # Errors
///
/// If a pin cannot be removed.
pub fn detach(pins: &Pins) -> Result<usize, KernelError> {
    let mut removed = 0;
    let versions = Pins::all(pins.base());
    for version in &versions {
        for name in version.link_names() {
            remove(&version.link(&name))?;
            removed += 1;
        }
    }
    removed += detach_filters();
    for version in &versions {
        removed += version.clear()?;
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
        removed += detach_filters_of(name);
    }
    removed
}

/// Removes our clsact filters from a device.
fn detach_filters_of(device: &str) -> usize {
    let programs = [POD_PROGRAMS, HOST_PROGRAMS, HOST_PROGRAMS_L3];
    let all = programs.into_iter().flatten();
    // An error says that there is none.
    all.filter(|(program, side)| tc::qdisc_detach_program(device, *side, program).is_ok())
        .count()
}
