//! Whether every device that is guarded still runs our programs.

use std::collections::BTreeSet;

use aya::{Ebpf, programs::SchedClassifier};

use super::{
    Attacher,
    detach::detach_filters_of,
    device_name, kinds,
    link::{program_id, replace_filter, runs},
};
use crate::dataplane::{KernelError, load};

impl Attacher {
    /// Looks whether every device that is guarded still runs our programs, and attaches where not; what was wrong.
    ///
    /// # Errors
    ///
    /// What the kernel refused.
    pub fn audit(&mut self, ebpf: &mut Ebpf) -> Result<Vec<String>, KernelError> {
        let mut wrong = Vec::new();
        for programs in kinds() {
            // Kinds of devices share programs: all of them tell which kind this is.
            let carrying = programs.iter().map(|(name, _)| self.carrying(name));
            let all = carrying.reduce(|one, other| &one & &other);
            for ifindex in all.unwrap_or_default() {
                let Some(device) = device_name(ifindex) else {
                    continue;
                };
                let mut found = Vec::new();
                for &(name, side) in programs {
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

    /// Removes the clsact filters beside our TCX links: an earlier agent may have had no TCX.
    pub fn drop_filters(&self) {
        if self.tcx {
            let devices: BTreeSet<u32> = self.attached.iter().map(|&(of, _)| of).collect();
            for device in devices.into_iter().filter_map(device_name) {
                detach_filters_of(&device);
            }
        }
    }
}
