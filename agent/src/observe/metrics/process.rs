//! The agent's own process, under the names that Prometheus clients agree on.

use std::sync::atomic::AtomicU64;

use procfs::{ProcResult, process::LimitValue};
use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::{Registry, Unit},
};

use super::clamp;

/// What the machine tells of a process.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Process {
    /// Processor time of all threads, in seconds.
    pub cpu_seconds: f64,
    /// Bytes of memory that are resident.
    pub resident_bytes: u64,
    /// Bytes of address space.
    pub virtual_bytes: u64,
    /// Open file descriptors.
    pub open_fds: usize,
    /// How many it may open; `None` for no limit.
    pub max_fds: Option<u64>,
    /// When it started, in seconds since the epoch.
    pub started: f64,
}

impl Process {
    /// This process, now.
    ///
    /// # Errors
    ///
    /// The machine has no `/proc`, or not all of it.
    pub fn myself() -> ProcResult<Self> {
        let process = procfs::process::Process::myself()?;
        let stat = process.stat()?;
        let ticks = procfs::ticks_per_second();
        let seconds =
            |of: u64| std::time::Duration::from_millis(of * 1000 / ticks.max(1)).as_secs_f64();
        let booted = std::time::Duration::from_secs(procfs::boot_time_secs()?).as_secs_f64();
        Ok(Self {
            cpu_seconds: seconds(stat.utime + stat.stime),
            resident_bytes: stat.rss * procfs::page_size(),
            virtual_bytes: stat.vsize,
            open_fds: process.fd_count()?,
            max_fds: match process.limits()?.max_open_files.soft_limit {
                LimitValue::Value(limit) => Some(limit),
                LimitValue::Unlimited => None,
            },
            started: booted + seconds(stat.starttime),
        })
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        let bytes = |value: u64| {
            let gauge = Gauge::<i64>::default();
            gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
            gauge
        };
        let cpu = Counter::<f64, AtomicU64>::default();
        cpu.inc_by(self.cpu_seconds);
        registry.register_with_unit(
            "process_cpu",
            "Processor time of the agent, in user and system mode",
            Unit::Seconds,
            cpu,
        );
        registry.register_with_unit(
            "process_resident_memory",
            "Memory of the agent that is resident",
            Unit::Bytes,
            bytes(self.resident_bytes),
        );
        registry.register_with_unit(
            "process_virtual_memory",
            "Address space of the agent",
            Unit::Bytes,
            bytes(self.virtual_bytes),
        );
        let open = Gauge::<i64>::default();
        open.set(clamp(self.open_fds));
        registry.register("process_open_fds", "File descriptors that are open", open);
        if let Some(limit) = self.max_fds {
            registry.register(
                "process_max_fds",
                "File descriptors that may be open",
                bytes(limit),
            );
        }
        let started = Gauge::<f64, AtomicU64>::default();
        started.set(self.started);
        registry.register_with_unit(
            "process_start_time",
            "When the agent started",
            Unit::Seconds,
            started,
        );
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn a_process_knows_its_own_descriptors_memory_and_age() {
        let before = Process::myself().unwrap();
        let files: Vec<File> = (0..100).map(|_| File::open("/dev/null").unwrap()).collect();
        let memory = vec![1_u8; 64 << 20];
        let now = std::time::SystemTime::UNIX_EPOCH
            .elapsed()
            .unwrap()
            .as_secs_f64();
        let after = Process::myself().unwrap();
        // Other tests open and close some meanwhile.
        assert!(after.open_fds > before.open_fds + files.len() / 2);
        assert!(after.resident_bytes > before.resident_bytes + (memory.len() as u64) / 2);
        assert!(after.virtual_bytes >= after.resident_bytes);
        assert!(after.cpu_seconds >= before.cpu_seconds);
        assert!(after.started <= now && after.started > 1e9, "{after:?}");
        assert_eq!(
            memory.iter().map(|&byte| usize::from(byte)).sum::<usize>(),
            memory.len()
        );
    }
}
