//! Attaches programs and keeps them attached: every link is pinned, and updated in place.

mod audit;
mod cgroup;
mod detach;
mod leave;
mod link;
mod look;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use aya::{
    Ebpf,
    programs::{SchedClassifier, TcAttachType},
    util::KernelVersion,
};
use ringfence_common::judge::LOOPBACK;

use super::{
    Attach, KernelError, load,
    pins::{Pins, remove},
    sys::Devices,
};

use link::{clsact, tcx, update};

pub use detach::detach;
pub(super) use look::{is_of_pods, unreadable};

/// The programs of one kind of device, and the side of it that each is on.
pub(super) type Programs = &'static [(&'static str, TcAttachType)];

/// The programs of a pod's host-side device, and the side of it that each is on: what the pod receives first, so that
/// a pod that is being taken over can answer nobody whom it may not hear.
const POD_PROGRAMS: Programs = &[
    ("to_pod", TcAttachType::Egress),
    ("from_pod", TcAttachType::Ingress),
];

/// The programs of a device that leads off the node.
const HOST_PROGRAMS: Programs = &[
    ("to_host", TcAttachType::Egress),
    ("from_host", TcAttachType::Ingress),
];

/// The same of a device without Ethernet.
const HOST_PROGRAMS_L3: Programs = &[
    ("to_host_l3", TcAttachType::Egress),
    ("from_host_l3", TcAttachType::Ingress),
];

/// The programs of a tunnel.
const TUNNEL_PROGRAMS: Programs = &[
    ("to_host", TcAttachType::Egress),
    ("from_tunnel", TcAttachType::Ingress),
];

/// The same of a tunnel without Ethernet.
const TUNNEL_PROGRAMS_L3: Programs = &[
    ("to_host_l3", TcAttachType::Egress),
    ("from_tunnel_l3", TcAttachType::Ingress),
];

/// All programs of devices that lead off the node.
const ALL_HOST_PROGRAMS: [Programs; 4] = [
    HOST_PROGRAMS,
    HOST_PROGRAMS_L3,
    TUNNEL_PROGRAMS,
    TUNNEL_PROGRAMS_L3,
];

/// The program of the node's `lo`.
const LOOP_PROGRAMS: Programs = &[(load::LOOP_PROGRAM, TcAttachType::Egress)];

/// The program of the node's inner devices ([`crate::model::HostKind::Inner`]).
const INNER_PROGRAMS: Programs = &[(load::INNER_PROGRAM, TcAttachType::Egress)];

/// The programs of every kind of device.
fn kinds() -> impl Iterator<Item = Programs> {
    let kinds = [POD_PROGRAMS, LOOP_PROGRAMS, INNER_PROGRAMS].into_iter();
    kinds.chain(ALL_HOST_PROGRAMS)
}

/// Names of all programs that devices carry.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    let names: BTreeSet<&str> = kinds().flatten().map(|&(name, _)| name).collect();
    names.into_iter()
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
            for &(name, _) in programs.iter().filter(|_| self.tcx) {
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

    /// Guards a pod's host-side device. `false` if there is no such device (any more).
    ///
    /// # Errors
    ///
    /// What the kernel refused.
    pub fn pod(
        &mut self,
        ebpf: &mut Ebpf,
        ifindex: u32,
        devices: &Devices,
    ) -> Result<bool, KernelError> {
        let device = devices.name(ifindex);
        self.guard_device(ebpf, (ifindex, device.as_deref()), POD_PROGRAMS)
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
        (ethernet, tunnel): (bool, bool),
    ) -> Result<bool, KernelError> {
        let programs = match (ethernet, tunnel) {
            (true, false) => HOST_PROGRAMS,
            (false, false) => HOST_PROGRAMS_L3,
            (true, true) => TUNNEL_PROGRAMS,
            (false, true) => TUNNEL_PROGRAMS_L3,
        };
        self.guard(ebpf, ifindex, programs)
    }

    /// Guards the node's `lo`.
    ///
    /// # Errors
    ///
    /// What the kernel refused.
    pub fn lo(&mut self, ebpf: &mut Ebpf) -> Result<bool, KernelError> {
        self.guard(ebpf, LOOPBACK, LOOP_PROGRAMS)
    }

    /// Guards an inner device of the node. `false` if there is no such device (any more).
    ///
    /// # Errors
    ///
    /// What the kernel refused.
    pub fn guard_inner(&mut self, ebpf: &mut Ebpf, ifindex: u32) -> Result<bool, KernelError> {
        self.guard(ebpf, ifindex, INNER_PROGRAMS)
    }

    fn guard(
        &mut self,
        ebpf: &mut Ebpf,
        ifindex: u32,
        programs: Programs,
    ) -> Result<bool, KernelError> {
        let device = device_name(ifindex);
        self.guard_device(ebpf, (ifindex, device.as_deref()), programs)
    }

    fn guard_device(
        &mut self,
        ebpf: &mut Ebpf,
        (ifindex, device): (u32, Option<&str>),
        programs: Programs,
    ) -> Result<bool, KernelError> {
        let Some(device) = device else {
            self.forget(ifindex)?;
            return Ok(false);
        };
        let runs = |&(name, _): &(&'static str, _)| self.attached.contains(&(ifindex, name));
        if programs.iter().all(runs) {
            return Ok(true);
        }
        for &(name, side) in programs {
            let program: &mut SchedClassifier = load::program(ebpf, name)?;
            let done = if self.tcx {
                tcx(&self.pins, program, (device, ifindex), side, name)
            } else {
                clsact(program, device, side)
            };
            if let Err(error) = done {
                // Pods go when they go.
                if device_name(ifindex).is_none() {
                    self.note_vanished(device, ifindex);
                    self.forget(ifindex)?;
                    return Ok(false);
                }
                return Err(KernelError::Other(format!(
                    "cannot attach {name} to {device} (index {ifindex}): {error:#}"
                )));
            }
        }
        self.attached
            .extend(programs.iter().map(|&(name, _)| (ifindex, name)));
        Ok(true)
    }

    /// Removes the pins of a device that is gone; its links went with it.
    fn forget(&mut self, ifindex: u32) -> Result<(), KernelError> {
        self.attached.retain(|(of, _)| *of != ifindex);
        for name in names() {
            remove(&self.pins.link(&format!("{ifindex}-{name}")))?;
        }
        Ok(())
    }

    /// Drops what is known of devices that are gone; which these were.
    ///
    /// # Errors
    ///
    /// If a pin cannot be removed.
    pub fn reap(&mut self, devices: &Devices) -> Result<Vec<u32>, KernelError> {
        let known: BTreeSet<u32> = self.attached.iter().map(|&(ifindex, _)| ifindex).collect();
        let gone: Vec<u32> = known
            .into_iter()
            .filter(|&ifindex| devices.name(ifindex).is_none())
            .collect();
        for &ifindex in &gone {
            self.forget(ifindex)?;
        }
        Ok(gone)
    }

    /// `tcx` or `clsact`.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        if self.tcx { "tcx" } else { "clsact" }
    }
}

fn device_name(ifindex: u32) -> Option<String> {
    Devices::of_this_thread().ok()?.name(ifindex)
}

/// The devices that pinned links are on, and the programs that they carry.
fn guarded(pins: &Pins) -> Vec<(u32, Programs)> {
    let links = pins.link_names();
    let found = links.iter().filter_map(|link| {
        let (ifindex, program) = link.split_once('-')?;
        let carries = |programs: &Programs| programs.iter().any(|(name, _)| *name == program);
        // `to_host` is a tunnel's or another device's: the other link tells.
        let are_there = |programs: &Programs| {
            let is_there = |(name, _): &(&str, _)| links.contains(&format!("{ifindex}-{name}"));
            carries(programs) && programs.iter().all(is_there)
        };
        let programs = kinds().find(are_there).or_else(|| kinds().find(carries))?;
        Some(((ifindex.parse().ok()?, programs[0].0), programs))
    });
    let devices: BTreeMap<(u32, &str), _> = found.collect();
    devices
        .into_iter()
        .map(|((ifindex, _), programs)| (ifindex, programs))
        .collect()
}
