//! What is attached, looked at without changing it.

use std::{io, path::Path};

use super::{Attacher, KernelError, POD_PROGRAMS, device_name};
use crate::dataplane::{pins::remove, sys};

/// Whether pods' devices carry this program.
pub(in super::super) fn is_of_pods(program: &str) -> bool {
    POD_PROGRAMS.iter().any(|(name, _)| *name == program)
}

pub(in super::super) fn unreadable(pin: &Path, error: &io::Error) -> KernelError {
    KernelError::Other(format!("cannot look at the pin {}: {error}", pin.display()))
}

/// Makes sure that a link which was just pinned is at this device, and lets it go if it is not.
pub(super) fn is_at(pin: &Path, ifindex: u32) -> anyhow::Result<()> {
    let there = sys::pinned_link(pin)?.map(|state| state.target);
    if there != Some(ifindex.into()) {
        remove(pin)?;
        anyhow::bail!("another device has this name by now");
    }
    Ok(())
}

// === impl Attacher ===

impl Attacher {
    /// A device has gone while programs were being attached to it, as pods do.
    pub(super) fn note_vanished(&mut self, device: &str, ifindex: u32) {
        tracing::debug!(
            device,
            ifindex,
            "the device has gone while it was being guarded"
        );
        self.vanished += 1;
    }

    /// How many devices went while programs were being attached to them.
    #[must_use]
    pub const fn vanished(&self) -> u64 {
        self.vanished
    }

    /// Devices that run this program, as far as this agent knows.
    pub fn devices_of(&self, program: &str) -> impl Iterator<Item = u32> {
        let devices = self.attached.iter();
        devices.filter_map(move |&(ifindex, name)| (name == program).then_some(ifindex))
    }

    /// True if the device runs this program, which has this id; `None` if there is no such device (any more). Of a filter, as
    /// the last audit found it.
    ///
    /// # Errors
    ///
    /// If the pin cannot be looked at.
    pub fn is_on(
        &self,
        name: &'static str,
        id: u32,
        ifindex: u32,
    ) -> Result<Option<bool>, KernelError> {
        if device_name(ifindex).is_none() {
            return Ok(None);
        }
        if !self.tcx {
            return Ok(Some(self.attached.contains(&(ifindex, name))));
        }
        let pin = self.pins.link(&format!("{ifindex}-{name}"));
        let state = sys::pinned_link(&pin).map_err(|error| unreadable(&pin, &error))?;
        Ok(Some(state.is_some_and(|state| {
            state.program == id && state.target == u64::from(ifindex)
        })))
    }
}
