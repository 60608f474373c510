//! The real [`Kernel`]: maps, programs and links of this machine.

mod guard;
mod hooks;
mod names;
mod open;

use std::{
    collections::{BTreeMap, BTreeSet},
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
    sync::Arc,
    time::Instant,
};

use aya::Ebpf;
use ringfence_common::{
    cell::RuleId,
    config::Config,
    endpoint::{NODE_IFINDEX, SourceWord},
};

use super::{
    Applied, CellFilter, CellView, ConnectionView, Counters, EndpointView, EventView, Kernel,
    KernelError, ObjectView, ProgramView,
    attach::Attacher,
    audit::{Auditor, Turn},
    cells, clock, events, host, installed,
    maps::Maps,
    objects::{self, Places},
    pins::Pins,
    views,
};
use crate::{
    cgroup2,
    compile::{Access, Desired},
    diff::{Full, Installed, Limits, Op, Planner, Wanted},
    model::HostDevice,
};

pub use guard::{Guard, GuardLayer, guard};
pub use names::Names;
pub use open::{detach, open};

/// Maps, programs and links of this machine.
pub struct Dataplane {
    ebpf: Ebpf,
    maps: Maps,
    pins: Pins,
    limits: Limits,
    cgroup_root: Option<PathBuf>,
    node_cgroup: Option<PathBuf>,
    run_dir: PathBuf,
    /// The node itself is not judged, whatever is wanted.
    host_open: bool,
    attacher: Attacher,
    /// What agents with other layouts have left, and in force until the first state is in our maps.
    earlier: Vec<Pins>,
    /// Devices that lead off the node and wait for that.
    waiting: Option<BTreeSet<HostDevice>>,
    /// Devices that are no pods'.
    own: BTreeSet<u32>,
    /// Places in `SOURCES` whose endpoints this agent has noted as guarded.
    guarded: BTreeMap<u16, SourceWord>,
    planner: Planner,
    auditor: Auditor,
    config: Config,
    /// Updates of maps that were refused.
    update_errors: BTreeMap<(String, String), u64>,
    /// Names of rules and endpoints since this agent started, also of those that are gone: events name them late.
    names: Names,
}

// === impl Dataplane ===

impl Dataplane {
    /// The maps' sizes.
    #[must_use]
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// `tcx` or `clsact`.
    #[must_use]
    pub const fn attach_kind(&self) -> &'static str {
        self.attacher.kind()
    }

    /// The loaded object: tests run its programs.
    #[must_use]
    pub const fn ebpf(&self) -> &Ebpf {
        &self.ebpf
    }

    /// The maps: tests look into them.
    pub const fn maps(&mut self) -> &mut Maps {
        &mut self.maps
    }

    /// What the maps hold.
    #[must_use]
    pub const fn installed(&self) -> &Installed {
        self.planner.installed()
    }

    /// Finds the cgroups of endpoints and of pods with the node's network; what they may reach, by cgroup id.
    fn find_cgroups(&mut self, desired: &Desired) -> BTreeMap<u64, Arc<Access>> {
        let Some(root) = &self.cgroup_root else {
            return BTreeMap::new();
        };
        let mut grants = BTreeMap::new();
        for (pod, endpoint) in desired.endpoints.iter().filter(|(key, _)| !key.is_node()) {
            // A pod's cgroup may come later than the pod: the next audit finds it. Until then it has no grant.
            let found = cgroup2::pod_directory(root, &endpoint.cgroup, &endpoint.uid);
            let Some(Ok(found)) = found.map(|path| path.metadata()) else {
                continue;
            };
            self.names.cgroups.insert(found.ino(), pod.to_string());
            // Of a pod without a grant it is known that it is this pod's: events name it.
            grants.insert(found.ino(), Arc::clone(&endpoint.metadata));
        }
        for (pod, host) in &desired.host_network {
            let found = cgroup2::pod_directory(root, &host.cgroup, &host.uid);
            if let Some(Ok(found)) = found.map(|path| path.metadata()) {
                self.names.cgroups.insert(found.ino(), pod.to_string());
                grants.insert(found.ino(), Arc::clone(&host.metadata));
            }
        }
        grants
    }

    fn has_host(&self) -> bool {
        self.installed().endpoints.contains_key(&NODE_IFINDEX)
    }

    /// True if somebody has taken the node's word away since it was written ([`host::open`]), and allowed it again: what the
    /// maps hold is read anew then.
    fn host_was_opened(&mut self) -> bool {
        let Some(state) = self.installed().endpoints.get(&NODE_IFINDEX).copied() else {
            return false;
        };
        let found = self.maps.endpoints.get(&NODE_IFINDEX, 0);
        if self.host_open || found.is_ok_and(|word| word == state.word) {
            return false;
        }
        match installed::read(&self.maps) {
            Ok(installed) => self.planner.lost(installed),
            Err(error) => tracing::error!(%error, "what the maps hold cannot be read"),
        }
        true
    }

    /// Counts it if a map could not be written.
    fn note<T>(&mut self, done: &Result<T, KernelError>) {
        if let Some((map, error)) = done.as_ref().err().and_then(KernelError::unwritten) {
            let key = (map.to_owned(), error.to_owned());
            *self.update_errors.entry(key).or_default() += 1;
        }
    }

    fn program(&mut self, desired: &Desired) -> Result<Applied, KernelError> {
        let programmed = self.carry_out(desired);
        if programmed.is_err() && self.config.metadata_audit != 0 && !desired.metadata.audited {
            // Whatever else does not fit or is refused: what was let through for being audited no longer is.
            self.audit_metadata(false)?;
            self.planner.lost(installed::read(&self.maps)?);
        }
        programmed
    }

    fn carry_out(&mut self, desired: &Desired) -> Result<Applied, KernelError> {
        let start = Instant::now();
        let mut in_force = None;
        let grants = self.find_cgroups(desired);
        self.host_open = host::is_open(&self.run_dir);
        let mut without_host;
        let mut desired = desired;
        if self.host_open {
            without_host = desired.clone();
            let node = desired.endpoints.keys().find(|key| key.is_node());
            node.map(|key| without_host.endpoints.remove(key));
            desired = &without_host;
        }
        let plan = self.planner.plan(
            Wanted {
                desired,
                grants: &grants,
            },
            &self.limits,
        )?;
        self.names.learn(&plan.ops);
        for ops in plan.ops.chunk_by(Maps::are_alike) {
            let done = match ops {
                [Op::Grace] => {
                    await_grace();
                    Ok(())
                }
                [Op::MetadataAudit(audited)] => self.audit_metadata(*audited),
                ops => self.maps.execute_all(ops),
            };
            if matches!(ops, [Op::Done(_)]) {
                in_force = Some(start.elapsed());
            }
            if let Err(error) = done {
                // What was written beside the old tables is found again and reused, or overwritten; but not before
                // every packet that was under way is through.
                await_grace();
                self.planner.lost(installed::read(&self.maps)?);
                return Err(error);
            }
        }
        let applied = Applied {
            revision: plan.after.revision,
            operations: plan.ops.len(),
            endpoints: plan.swapped,
            in_force: in_force.unwrap_or_else(|| start.elapsed()),
        };
        self.planner.done(plan);
        Ok(applied)
    }
}

impl Kernel for Dataplane {
    fn apply(&mut self, desired: &Desired) -> Result<Applied, KernelError> {
        // A pod whose tables do not fit still gets its programs: without tables they let nothing through.
        let programmed = self.program(desired);
        self.note(&programmed);
        if !self.earlier.is_empty() {
            // Theirs judge until ours can.
            let applied = programmed?;
            self.migrate(desired)?;
            return Ok(applied);
        }
        let attached = self.attach(desired);
        let applied = programmed?;
        attached?;
        Ok(applied)
    }

    fn guard(&mut self, devices: &BTreeSet<HostDevice>) -> Result<(), KernelError> {
        if !self.earlier.is_empty() {
            self.waiting = Some(devices.clone());
            return Ok(());
        }
        self.guard_hosts(devices)
    }

    fn is_stale(&mut self, desired: &Desired) -> bool {
        let found = self.find_cgroups(desired);
        !self.planner.holds_grants(&found, desired)
            || self.host_open != host::is_open(&self.run_dir)
            || self.host_was_opened()
    }

    fn endpoints(&self) -> Result<Vec<EndpointView>, KernelError> {
        Ok(views::endpoints(
            self.installed(),
            &self.names,
            self.planner.bits().as_ref(),
        ))
    }

    fn connections(&self) -> Result<Vec<ConnectionView>, KernelError> {
        views::connections(&self.maps, clock::jiffies(&self.ebpf)?)
    }

    fn cells(&self, wanted: &CellFilter) -> Result<Vec<CellView>, KernelError> {
        cells::cells(&self.maps, self.installed(), &self.names, wanted)
    }

    fn flush(&mut self, doomed: &dyn Fn(&ConnectionView) -> bool) -> Result<usize, KernelError> {
        views::flush(&mut self.maps, clock::jiffies(&self.ebpf)?, doomed)
    }

    fn counters(&self) -> Result<Counters, KernelError> {
        let mut counters = views::counters(&self.maps)?;
        counters.drift.clone_from(self.auditor.drift());
        counters.update_errors.clone_from(&self.update_errors);
        counters.vanished = self.attacher.vanished();
        counters.metadata_audited = self.config.is_metadata_audited();
        Ok(counters)
    }

    fn audit(&mut self) {
        // Before the first state, and while another version of the layouts judges, nothing is to be compared.
        let turn = self.auditor.turn();
        let done = match turn {
            Turn::Begin if self.earlier.is_empty() => self.audit_hooks(),
            // Somebody has let himself in, and it is not planned away yet.
            Turn::Step if self.has_host() && host::is_open(&self.run_dir) => Ok(()),
            Turn::Step => self.auditor.step(&self.planner, &mut self.maps),
            Turn::Begin | Turn::Rest => Ok(()),
        };
        self.note(&done);
        if let Err(error) = done {
            tracing::error!(%error, "the audit of what the kernel holds could not go on");
        }
    }

    fn objects(&self) -> Result<Vec<ObjectView>, KernelError> {
        objects::list(&self.pins, &self.limits, &self.maps)
    }

    fn programs(&self) -> Result<Vec<ProgramView>, KernelError> {
        // While another version of the layouts judges, ours belong nowhere.
        let pods = self.installed().endpoints.keys().copied();
        let pods = pods.filter(|&ifindex| ifindex != NODE_IFINDEX);
        let places = self.earlier.is_empty().then(|| Places {
            attacher: &self.attacher,
            pins: &self.pins,
            pods: pods.collect(),
        });
        objects::programs(&self.ebpf, places.as_ref())
    }

    fn rule(&self, id: RuleId) -> Option<String> {
        self.names.rules.get(&id).cloned()
    }

    fn endpoint(&self, id: u32) -> Option<String> {
        self.names.endpoints.get(&id).cloned()
    }

    fn events(&mut self) -> Vec<EventView> {
        events::drain(&mut self.maps.events, &self.names)
    }
}

impl From<Full> for KernelError {
    fn from(full: Full) -> Self {
        let Full {
            map,
            needed,
            limit,
            flag,
        } = full;
        Self::Full {
            map,
            needed,
            limit,
            flag,
        }
    }
}

/// Waits until every program run that was under way has ended.
fn await_grace() {
    const MEMBARRIER_CMD_GLOBAL: libc::c_int = 1;
    // SAFETY: the system call takes three integers and touches no memory of ours. With this command it waits for an
    // RCU grace period, and TC programs run inside RCU read-side sections.
    let result = unsafe { libc::syscall(libc::SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) };
    if result != 0 {
        // Not offered where a CPU runs without ticks: programs run for microseconds, this is a thousand times that.
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}
