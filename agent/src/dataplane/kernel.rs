//! The real [`Kernel`]: maps, programs and links of this machine.

use std::{
    collections::{BTreeMap, BTreeSet},
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
    time::Instant,
};

use aya::Ebpf;
use ringfence_common::{
    V6,
    cell::RuleId,
    config::Config,
    endpoint::SourceWord,
    metadata::{MetadataWord, SIEVE_WORDS, sieve_bit},
};

use super::{
    Applied, ConnectionView, Counters, EndpointView, EventView, Kernel, KernelError, ObjectView,
    Options, ProgramView,
    attach::{self, Attacher},
    audit::{Auditor, Turn},
    clock, events, installed, load,
    maps::{Maps, mapped},
    objects::{self, Places},
    pins::Pins,
    spec, views,
};
use crate::{
    cgroup2,
    compile::Desired,
    diff::{Full, Installed, Limits, Op, Planner, Wanted},
    metadata,
    model::HostDevice,
};

/// Maps, programs and links of this machine.
pub struct Dataplane {
    ebpf: Ebpf,
    maps: Maps,
    pins: Pins,
    limits: Limits,
    cgroup_root: Option<PathBuf>,
    node_cgroup: Option<PathBuf>,
    attacher: Attacher,
    /// What agents with other layouts have left, and in force until the first state is in our maps.
    earlier: Vec<Pins>,
    /// Devices that lead off the node and wait for that.
    waiting: Option<BTreeSet<HostDevice>>,
    /// Places in `SOURCES` whose endpoints this agent has noted as guarded.
    guarded: BTreeMap<u16, SourceWord>,
    planner: Planner,
    auditor: Auditor,
    config: Config,
    /// Names of rules and endpoints since this agent started, also of those that are gone: events name them late.
    names: Names,
}

/// What numbers in events mean.
#[derive(Debug, Default)]
pub struct Names {
    /// Rules.
    pub rules: BTreeMap<RuleId, String>,
    /// Endpoints.
    pub endpoints: BTreeMap<u32, String>,
    /// Endpoints by the id of their cgroup.
    pub cgroups: BTreeMap<u64, String>,
}

/// Loads the kernel half over what is pinned, and makes what is attached run it. Tables stay as they are: what was in
/// force stays in force until the first [`Kernel::apply`].
///
/// # Errors
///
/// What is missing, or what the kernel refused; then nothing that was in force has changed.
pub fn open(options: &Options) -> Result<Dataplane, KernelError> {
    if !options.mark.is_valid() {
        return Err(KernelError::Other(
            "the slices of the packet mark must be two runs of bits that do not overlap\n  \
             help: see --mark-source-mask and --mark-proof-mask"
                .to_owned(),
        ));
    }
    let pins = Pins::at(&options.bpffs);
    let earlier = pins.others();
    if !earlier.is_empty() && pins.link_names().is_empty() {
        let removed = pins.clear()?;
        if removed > 0 {
            tracing::info!(
                version = pins.version(),
                pins = removed,
                "maps that an agent did not come to put into force are removed"
            );
        }
    }
    let ours_is_new = !pins.exist();
    open_beside(options, &pins, earlier.clone()).map_err(|error| {
        if ours_is_new && let Err(error) = pins.clear() {
            tracing::warn!(%error, "something of this agent is left");
        }
        match earlier.as_slice() {
            [] if !ours_is_new && !pins.link_names().is_empty() => KernelError::Other(format!(
                "{error}\n  note: what is pinned stays in force as the agent before this one left it"
            )),
            [] => error,
            versions => KernelError::Other(format!(
                "{error}\n  note: layouts {} stay in force as the agent before this one left them",
                versions_of(versions)
            )),
        }
    })
}

/// [`open`], with the pins of other layouts untouched.
fn open_beside(
    options: &Options,
    pins: &Pins,
    earlier: Vec<Pins>,
) -> Result<Dataplane, KernelError> {
    pins.create()?;
    let (mut ebpf, limits) = load::load(options, pins)?;
    let mut maps = Maps::take(&mut ebpf)?;
    let config = configure(&mut maps, &ebpf, options)?;
    fill_metadata(&mut maps)?;
    let installed = installed::read(&maps)?;
    let mut attacher = Attacher::new(pins.clone(), options.attach);
    attacher.adopt(&mut ebpf)?;
    let mut names = Names::default();
    names.learn_all(&installed);
    let mut dataplane = Dataplane {
        ebpf,
        maps,
        pins: pins.clone(),
        limits,
        cgroup_root: options.cgroup_root.clone(),
        node_cgroup: options.node_cgroup.clone(),
        attacher,
        earlier,
        waiting: None,
        planner: Planner::new(installed),
        auditor: Auditor::new(pins, names_of(&limits), options.audit_interval)?,
        config,
        guarded: BTreeMap::new(),
        names,
    };
    if dataplane.earlier.is_empty() {
        dataplane.attach_cgroups()?;
    } else {
        tracing::info!(
            from = versions_of(&dataplane.earlier),
            to = pins.version(),
            "pins of other layouts stay in force until every source has synced and our maps are filled"
        );
    }
    Ok(dataplane)
}

fn names_of(limits: &Limits) -> impl Iterator<Item = &'static str> {
    spec::maps(limits).into_iter().map(|map| map.name)
}

fn versions_of(pins: &[Pins]) -> String {
    let versions: Vec<String> = pins.iter().map(Pins::version).collect();
    versions.join(", ")
}

/// Removes all enforcement, and only this does. How many pins and filters there were.
///
/// # Errors
///
/// If something cannot be removed.
pub fn detach(options: &Options) -> Result<usize, KernelError> {
    attach::detach(&Pins::at(&options.bpffs))
}

/// Tells the programs what they must know. A jiffy is measured once: the pinned configuration keeps it.
fn configure(maps: &mut Maps, ebpf: &Ebpf, options: &Options) -> Result<Config, KernelError> {
    let trouble = |error| KernelError::Other(format!("map CONFIG: {error}"));
    let before = maps.config.get(&0, 0).map_err(trouble)?;
    let hz = match before.ticks_per_64s {
        0 => clock::measure_hz(ebpf)?,
        ticks => (ticks << before.tick_shift) / 64,
    };
    let config = Config::for_hz(hz, options.mark, options.event_rate);
    maps.config.set(0, config, 0).map_err(trouble)?;
    Ok(config)
}

/// Fills the metadata firewall's set: the sieve first, for what it does not let through is not looked up.
fn fill_metadata(maps: &mut Maps) -> Result<(), KernelError> {
    let trouble = |error| KernelError::Other(format!("map METADATA: {error}"));
    let wanted: BTreeMap<V6, MetadataWord> = metadata::catalogue()
        .iter()
        .zip(0_u8..)
        .map(|(endpoint, bit)| {
            let address = mapped(endpoint.address);
            (address, MetadataWord::new(&address, bit, endpoint.open))
        })
        .collect();
    let mut sieve = [0_u64; SIEVE_WORDS];
    for address in wanted.keys() {
        let bit = sieve_bit(address);
        sieve[(bit / 64) as usize] |= 1 << (bit % 64);
    }
    for (at, bits) in (0..).zip(sieve) {
        maps.metadata_sieve.set(at, bits, 0).map_err(trouble)?;
    }
    for (&address, &word) in &wanted {
        maps.metadata.insert(address, word, 0).map_err(trouble)?;
    }
    let known: Vec<V6> = maps
        .metadata
        .keys()
        .collect::<Result<_, _>>()
        .map_err(trouble)?;
    for address in known
        .iter()
        .filter(|address| !wanted.contains_key(*address))
    {
        maps.metadata.remove(address).map_err(trouble)?;
    }
    Ok(())
}

impl Names {
    fn learn(&mut self, ops: &[Op]) {
        for op in ops {
            match op {
                Op::Rule(id, name) => {
                    self.rules.insert(*id, name.clone());
                }
                Op::Name(id, name) => {
                    self.endpoints.insert(*id, pod_of(name).to_owned());
                }
                _ => {}
            }
        }
    }

    fn learn_all(&mut self, installed: &Installed) {
        self.rules
            .extend(installed.rules.iter().map(|(name, &id)| (id, name.clone())));
        self.endpoints.extend(
            installed
                .names
                .iter()
                .map(|(name, &id)| (id, pod_of(name).to_owned())),
        );
    }
}

/// The pod in an endpoint's name.
fn pod_of(name: &str) -> &str {
    name.split_once(' ').map_or(name, |(pod, _uid)| pod)
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

    /// Finds the endpoints' cgroups; grants by cgroup id.
    fn find_cgroups(&mut self, desired: &Desired) -> BTreeMap<u64, u64> {
        let Some(root) = &self.cgroup_root else {
            return BTreeMap::new();
        };
        let mut grants = BTreeMap::new();
        for (pod, endpoint) in &desired.endpoints {
            // A pod's cgroup may come later than the pod: the next audit finds it. Until then it has no grant.
            let found = cgroup2::pod_directory(root, &endpoint.cgroup, &endpoint.uid);
            let Some(Ok(found)) = found.map(|path| path.metadata()) else {
                continue;
            };
            self.names.cgroups.insert(found.ino(), pod.to_string());
            if endpoint.metadata_granted {
                grants.insert(found.ino(), u64::MAX);
            }
        }
        grants
    }

    fn program(&mut self, desired: &Desired) -> Result<Applied, KernelError> {
        let start = Instant::now();
        let mut in_force = None;
        let grants = self.find_cgroups(desired);
        let plan = self.planner.plan(
            Wanted {
                desired,
                grants: &grants,
            },
            &self.limits,
        )?;
        self.names.learn(&plan.ops);
        for op in &plan.ops {
            let done = match op {
                Op::Grace => {
                    in_force.get_or_insert_with(|| start.elapsed());
                    await_grace();
                    Ok(())
                }
                op => self.maps.execute(op),
            };
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

    /// Notes that what the endpoint sends passes its hook from now on.
    fn note_guarded(&mut self, ifindex: u32) -> Result<(), KernelError> {
        let Some(state) = self.installed().endpoints.get(&ifindex).copied() else {
            return Ok(());
        };
        let word = SourceWord::new(ifindex, state.record.endpoint).guarded();
        if self.guarded.insert(state.record.source, word) == Some(word) {
            return Ok(());
        }
        self.maps.execute(&Op::Source(state.record.source, word))
    }

    /// Attaches to the cgroups.
    fn attach_cgroups(&mut self) -> Result<(), KernelError> {
        if let Some(root) = &self.cgroup_root {
            self.attacher.sockets(&mut self.ebpf, root)?;
        }
        if let Some(root) = &self.node_cgroup {
            self.attacher.node(&mut self.ebpf, root)?;
        }
        Ok(())
    }

    /// Goes over from other layouts to ours, whose maps are filled: every hook runs our programs before theirs go.
    fn migrate(&mut self, desired: &Desired) -> Result<(), KernelError> {
        for earlier in &self.earlier {
            self.attacher.take_over(&mut self.ebpf, earlier)?;
        }
        self.attach(desired)?;
        self.attach_cgroups()?;
        if let Some(devices) = self.waiting.take()
            && let Err(error) = self.guard_hosts(&devices)
        {
            self.waiting = Some(devices);
            return Err(error);
        }
        self.attacher.drop_filters();
        for earlier in &self.earlier {
            let removed = earlier.clear()?;
            tracing::info!(
                from = earlier.version(),
                to = self.pins.version(),
                pins = removed,
                "every hook runs the programs of our layouts; what the others left is removed"
            );
        }
        self.earlier.clear();
        Ok(())
    }

    /// Looks at what a round looks at in one step: attachments, pins, and what no plan writes.
    fn audit_hooks(&mut self) -> Result<(), KernelError> {
        self.auditor.begin(&self.planner);
        self.auditor.pins(&self.pins)?;
        let wrong = self.attacher.audit(&mut self.ebpf)?;
        let (sockets, node) = (self.cgroup_root.is_some(), self.node_cgroup.is_some());
        let off = self.attacher.audit_cgroups(&mut self.ebpf, sockets, node)?;
        if !off.is_empty() {
            self.attach_cgroups()?;
        }
        for what in wrong.iter().chain(&off) {
            self.auditor.found("attachment", what);
        }
        let trouble = |error| KernelError::Other(format!("map CONFIG: {error}"));
        if self.maps.config.get(&0, 0).map_err(trouble)? != self.config {
            self.maps.config.set(0, self.config, 0).map_err(trouble)?;
            self.auditor.found("changed", "CONFIG");
        }
        // A place that is another endpoint's by now is noted when that one is guarded.
        let guarded: Vec<(u16, SourceWord)> = self
            .installed()
            .endpoints
            .iter()
            .map(|(&ifindex, state)| {
                let word = SourceWord::new(ifindex, state.record.endpoint).guarded();
                (state.record.source, word)
            })
            .filter(|(place, word)| self.guarded.get(place) == Some(word))
            .collect();
        for (place, word) in guarded {
            let trouble = |error| KernelError::Other(format!("map SOURCES: {error}"));
            let found = self.maps.sources.get(&place.into(), 0).map_err(trouble)?;
            if found != word {
                self.maps.execute(&Op::Source(place, word))?;
                self.auditor.found("changed", &format!("source {place}"));
            }
        }
        Ok(())
    }

    fn guard_hosts(&mut self, devices: &BTreeSet<HostDevice>) -> Result<(), KernelError> {
        let mut first = Ok(());
        for ifindex in self.attacher.hosts() {
            if !devices.iter().any(|device| device.ifindex == ifindex) {
                first = first.and(self.attacher.no_host(ifindex));
            }
        }
        for device in devices {
            let attached = self
                .attacher
                .host(&mut self.ebpf, device.ifindex, device.ethernet);
            if let Err(error) = attached {
                first = first.and(Err(error));
            }
        }
        first
    }

    /// Attaches to every wanted device, whatever becomes of the others.
    fn attach(&mut self, desired: &Desired) -> Result<(), KernelError> {
        let mut first = Ok(());
        for endpoint in desired.endpoints.values() {
            let ifindex = endpoint.located.ifindex;
            let attached = self.attacher.pod(&mut self.ebpf, ifindex);
            let guarded = attached.and_then(|attached| {
                if attached {
                    self.note_guarded(ifindex)?;
                }
                Ok(())
            });
            first = first.and(guarded);
        }
        self.attacher.reap()?;
        first
    }
}

impl Kernel for Dataplane {
    fn apply(&mut self, desired: &Desired) -> Result<Applied, KernelError> {
        // A pod whose tables do not fit still gets its programs: without tables they let nothing through.
        let programmed = self.program(desired);
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
        self.find_cgroups(desired) != self.installed().grants
    }

    fn endpoints(&self) -> Result<Vec<EndpointView>, KernelError> {
        Ok(views::endpoints(self.installed(), &self.names))
    }

    fn connections(&self) -> Result<Vec<ConnectionView>, KernelError> {
        views::connections(&self.maps, clock::jiffies(&self.ebpf)?)
    }

    fn flush(&mut self, doomed: &dyn Fn(&ConnectionView) -> bool) -> Result<usize, KernelError> {
        views::flush(&mut self.maps, clock::jiffies(&self.ebpf)?, doomed)
    }

    fn counters(&self) -> Result<Counters, KernelError> {
        let mut counters = views::counters(&self.maps)?;
        counters.drift.clone_from(self.auditor.drift());
        counters.vanished = self.attacher.vanished();
        Ok(counters)
    }

    fn audit(&mut self) {
        // Before the first state, and while another version of the layouts judges, nothing is to be compared.
        let turn = self.auditor.turn();
        let done = match turn {
            Turn::Begin if self.earlier.is_empty() => self.audit_hooks(),
            Turn::Step => self.auditor.step(&self.planner, &mut self.maps),
            Turn::Begin | Turn::Rest => Ok(()),
        };
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
