//! Everybody's programs on devices, for those who want to know before and while Ringfence runs.

use aya::programs::{ProgramError, SchedClassifier, TcAttachType};

use super::attach::names;

/// A program on a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttachedProgram {
    /// Its name, as far as the kernel keeps it: 15 bytes.
    pub name: String,
    /// It judges what goes out by the device, not what comes in.
    pub egress: bool,
    /// It is one of ours.
    pub ours: bool,
}

/// The programs that are attached to a device by TCX, in their order. Needs `CAP_SYS_ADMIN`, for only that may look at
/// programs by their number.
///
/// # Errors
///
/// The device is gone, or the kernel tells nothing (older than 6.6, or not to us).
pub fn attached(device: &str) -> Result<Vec<AttachedProgram>, ProgramError> {
    let mut found = Vec::new();
    for (egress, side) in [(false, TcAttachType::Ingress), (true, TcAttachType::Egress)] {
        let (_revision, programs) = SchedClassifier::query_tcx(device, side)?;
        found.extend(programs.iter().map(|program| {
            let name = program.name_as_str().unwrap_or_default().to_owned();
            AttachedProgram {
                ours: is_ours(&name),
                egress,
                name,
            }
        }));
    }
    Ok(found)
}

/// Whether a program of this name is one of ours.
#[must_use]
pub fn is_ours(name: &str) -> bool {
    names().any(|ours| ours == name)
}

/// Whether the error says that there is nothing to look at: the device is gone, or this kernel has no TCX.
#[must_use]
pub fn is_absent(error: &ProgramError) -> bool {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<std::io::Error>() {
            return matches!(
                error.raw_os_error(),
                Some(libc::ENODEV | libc::ENXIO | libc::EINVAL | libc::ENOENT)
            );
        }
        source = error.source();
    }
    false
}
