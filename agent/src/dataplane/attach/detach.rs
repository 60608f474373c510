//! Takes all enforcement off this machine.
//!
//! **Invariant.** Links go before maps: a program never judges by a map that is gone.

use aya::programs::tc;

use super::kinds;
use crate::dataplane::{
    KernelError,
    pins::{Pins, remove},
    sys,
};

/// Removes all enforcement: links first, then maps. Nothing is judged any more when this returns. How many pins there were.
///
/// # Errors
///
/// If a pin cannot be removed.
pub fn detach(pins: &Pins) -> Result<usize, KernelError> {
    let mut removed = 0;
    let versions = Pins::all(pins.base());
    for version in &versions {
        for name in version.link_names() {
            let pin = version.link(&name);
            if let Err(error) = sys::detach_pinned(&pin) {
                // It ends with its pin, or is no link.
                tracing::debug!(pin = %pin.display(), %error, "cannot detach it at once");
            }
            remove(&pin)?;
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
pub(super) fn detach_filters_of(device: &str) -> usize {
    // Kinds share programs, and a program may be there more than once: each is asked for as often as a kind has it.
    let all = kinds().flatten();
    // An error says that there is none.
    all.filter(|(program, side)| tc::qdisc_detach_program(device, *side, program).is_ok())
        .count()
}
