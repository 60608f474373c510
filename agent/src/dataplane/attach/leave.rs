//! Takes programs away from devices that are something else by now.

use std::collections::BTreeSet;

use aya::programs::{
    TcAttachType,
    tc::{self, TcError},
};

use super::{ALL_HOST_PROGRAMS, Attacher, INNER_PROGRAMS, POD_PROGRAMS, device_name};
use crate::dataplane::{KernelError, load, pins::remove};

impl Attacher {
    /// Takes the programs of a device that no longer leads off the node away from it: it has become a pod's.
    ///
    /// # Errors
    ///
    /// If a pin cannot be removed.
    pub fn no_host(&mut self, ifindex: u32) -> Result<(), KernelError> {
        self.drop_programs(ifindex, ALL_HOST_PROGRAMS.into_iter().flatten().copied())
    }

    /// Takes the programs of pods away from a device that is no pod's: it has become the node's own.
    ///
    /// # Errors
    ///
    /// If a pin cannot be removed.
    pub fn no_pod(&mut self, ifindex: u32) -> Result<(), KernelError> {
        self.drop_programs(ifindex, POD_PROGRAMS.iter().copied())
    }

    /// Takes the program of inner devices away from one that is none any more: its other end is elsewhere by now.
    ///
    /// # Errors
    ///
    /// If a pin cannot be removed.
    pub fn no_inner(&mut self, ifindex: u32) -> Result<(), KernelError> {
        self.drop_programs(ifindex, INNER_PROGRAMS.iter().copied())
    }

    fn drop_programs(
        &mut self,
        ifindex: u32,
        programs: impl IntoIterator<Item = (&'static str, TcAttachType)>,
    ) -> Result<(), KernelError> {
        for (name, side) in programs {
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
        let names = ALL_HOST_PROGRAMS.into_iter().flatten();
        names.flat_map(|&(name, _)| self.devices_of(name)).collect()
    }

    /// Devices that are guarded as inner ones.
    #[must_use]
    pub fn inner(&self) -> BTreeSet<u32> {
        self.carrying(load::INNER_PROGRAM)
    }

    /// Devices that are guarded as pods'.
    #[must_use]
    pub fn pods(&self) -> BTreeSet<u32> {
        let names = POD_PROGRAMS.iter();
        names.flat_map(|&(name, _)| self.devices_of(name)).collect()
    }

    /// Devices that run this program.
    pub(super) fn carrying(&self, program: &str) -> BTreeSet<u32> {
        self.devices_of(program).collect()
    }
}
