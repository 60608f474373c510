//! One program at one hook: a pinned TCX link, or a clsact filter of our number.
//!
//! **Invariant.** What runs is replaced in place; any error leaves the old program in force.

use std::{io, mem, path::Path};

use aya::programs::{
    LinkOrder, ProgramError, SchedClassifier, TcAttachType,
    links::{FdLink, LinkError, PinnedLink},
    tc::{self, NlOptions, SchedClassifierLink, TcAttachOptions, TcError, TcHandle},
};

use super::look::{self, unreadable};
use crate::dataplane::{
    KernelError,
    pins::{Pins, remove},
    sys,
};

/// Priority and handle of our clsact filters: fixed, so that a restart replaces them and does not stack others.
const CLSACT_PRIORITY: u16 = 1;

const CLSACT_HANDLE: TcHandle = TcHandle::new(0, 0x5246);

/// Attaches by a TCX link, before all other programs of the device, or updates the link that is pinned.
///
/// aya 0.14 attaches by name, which may be another device's by then: that one is let go again.
pub(super) fn tcx(
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

pub(super) fn unknown(error: &ProgramError) -> KernelError {
    KernelError::Other(format!("cannot ask about a program: {error}"))
}

pub(super) fn program_id(program: &SchedClassifier) -> Result<u32, KernelError> {
    Ok(program.info().map_err(|error| unknown(&error))?.id())
}

/// Whether a pinned link is attached there, or anywhere, and runs this program. One that is attached nowhere goes.
pub(super) fn runs(pin: &Path, program: u32, target: Option<u64>) -> Result<bool, KernelError> {
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
pub(super) fn update(program: &mut SchedClassifier, pin: &Path) -> anyhow::Result<bool> {
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

/// Attaches by a clsact filter, or replaces the one that an earlier agent left.
pub(super) fn clsact(
    program: &mut SchedClassifier,
    device: &str,
    side: TcAttachType,
) -> anyhow::Result<()> {
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
pub(super) fn replace_filter(
    program: &mut SchedClassifier,
    device: &str,
    side: TcAttachType,
) -> bool {
    let ours = SchedClassifierLink::attached(device, side, CLSACT_PRIORITY, CLSACT_HANDLE, None);
    let Ok(Ok(id)) = ours.map(|link| program.attach_to_link(link)) else {
        return false;
    };
    program.take_link(id).map(mem::forget).is_ok()
}
