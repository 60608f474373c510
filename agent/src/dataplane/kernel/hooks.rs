//! Where programs are attached: pods' devices, the node's, cgroups; and whether they still are.

use std::collections::BTreeSet;

use ringfence_common::{config::Config, endpoint::SourceWord};

use super::{Dataplane, open::pods_cgroup};
use crate::{
    compile::Desired,
    dataplane::{KernelError, maps::refused, sys::Devices, tunnels},
    diff::Op,
    model::{HostDevice, HostKind},
};

impl Dataplane {
    /// Notes that what the endpoint sends passes its hook from now on.
    pub(super) fn note_guarded(&mut self, ifindex: u32) -> Result<(), KernelError> {
        let Some(state) = self.installed().endpoints.get(&ifindex).copied() else {
            return Ok(());
        };
        let word = SourceWord::new(ifindex, state.record.endpoint).guarded();
        if self.guarded.insert(state.record.source, word) == Some(word) {
            return Ok(());
        }
        self.maps.execute(&Op::Source(state.record.source, word))
    }

    /// Attaches where no pod and no device need be known: to the node's `lo` and to the cgroups.
    pub(super) fn attach_always(&mut self) -> Result<(), KernelError> {
        self.attacher.lo(&mut self.ebpf)?;
        self.attach_cgroups()
    }

    /// Attaches to the cgroups.
    fn attach_cgroups(&mut self) -> Result<(), KernelError> {
        if let Some(root) = &self.cgroup_root {
            self.attacher.sockets(&mut self.ebpf, root)?;
            self.attacher.packets(&mut self.ebpf, root)?;
        }
        if let Some(root) = &self.node_cgroup {
            self.attacher.node(&mut self.ebpf, root)?;
        }
        Ok(())
    }

    /// Goes over from other layouts to ours, whose maps are filled: every hook runs our programs before theirs go.
    pub(super) fn migrate(&mut self, desired: &Desired) -> Result<(), KernelError> {
        // What comes in from outside is known as that by the first of our programs that sees it.
        if let Some(devices) = &self.waiting {
            let leading_off = devices.iter().filter(|device| device.kind.leads_off());
            self.note_uplinks(leading_off.map(|device| device.ifindex).collect())?;
        }
        for earlier in &self.earlier {
            self.attacher.take_over(&mut self.ebpf, earlier)?;
        }
        self.attach(desired)?;
        self.attach_always()?;
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
    pub(super) fn audit_hooks(&mut self) -> Result<(), KernelError> {
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
        // It may have been made anew; while it is gone, what was known of it stays.
        if let Ok(root) = pods_cgroup(self.cgroup_root.as_deref()) {
            self.configure(Config {
                pods_cgroup: root,
                ..self.config
            })?;
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

    pub(super) fn guard_hosts(
        &mut self,
        devices: &BTreeSet<HostDevice>,
    ) -> Result<(), KernelError> {
        let mut first = self.note_tunnels(devices);
        let leading_off = || devices.iter().filter(|device| device.kind.leads_off());
        let inner = || devices.iter().filter(|it| it.kind == HostKind::Inner);
        for ifindex in self.attacher.hosts() {
            if !leading_off().any(|device| device.ifindex == ifindex) {
                first = first.and(self.attacher.no_host(ifindex));
            }
        }
        for device in leading_off() {
            let attached = self.attacher.host(
                &mut self.ebpf,
                device.ifindex,
                (device.ethernet, device.kind == HostKind::Tunnel),
            );
            if let Err(error) = attached {
                first = first.and(Err(error));
            }
        }
        for ifindex in self.attacher.inner() {
            if !inner().any(|device| device.ifindex == ifindex) {
                first = first.and(self.attacher.no_inner(ifindex));
            }
        }
        for device in inner() {
            let attached = self.attacher.guard_inner(&mut self.ebpf, device.ifindex);
            first = first.and(attached.map(drop));
        }
        first = first.and(self.note_uplinks(leading_off().map(|device| device.ifindex).collect()));
        self.own = devices.iter().map(|device| device.ifindex).collect();
        first.and(self.release(&BTreeSet::new()))
    }

    /// Tells the programs which devices lead off the node.
    fn note_uplinks(&mut self, wanted: BTreeSet<u32>) -> Result<(), KernelError> {
        let trouble = |error| refused("UPLINKS", &error);
        let uplinks = &mut self.maps.uplinks;
        let found: BTreeSet<u32> = uplinks.keys().collect::<Result<_, _>>().map_err(trouble)?;
        for ifindex in wanted.difference(&found) {
            uplinks.insert(ifindex, 1, 0).map_err(trouble)?;
        }
        for ifindex in found.difference(&wanted) {
            uplinks.remove(ifindex).map_err(trouble)?;
        }
        Ok(())
    }

    /// Takes the programs of pods away from the node's own devices, unless an endpoint is there or is to be.
    fn release(&mut self, wanted: &BTreeSet<u32>) -> Result<(), KernelError> {
        let mut first = Ok(());
        for ifindex in self.attacher.pods().intersection(&self.own) {
            let is_in_force = self.installed().endpoints.contains_key(ifindex);
            if !is_in_force && !wanted.contains(ifindex) {
                first = first.and(self.attacher.no_pod(*ifindex));
            }
        }
        first
    }

    /// Tells the programs at which unusual ports this node's tunnels listen.
    fn note_tunnels(&mut self, devices: &BTreeSet<HostDevice>) -> Result<(), KernelError> {
        let (tunnel_ports, too_many) = tunnels::ports(devices, self.config.tunnel_ports);
        let config = Config {
            tunnel_ports,
            ..self.config
        };
        self.configure(config)?;
        too_many
    }

    /// Tells the programs something else than before.
    pub(super) fn configure(&mut self, config: Config) -> Result<(), KernelError> {
        if config == self.config {
            return Ok(());
        }
        self.tell(config)
    }

    /// Begins or ends an audit of the metadata firewall, also if somebody else has written there what we know nothing of.
    pub(super) fn audit_metadata(&mut self, audited: bool) -> Result<(), KernelError> {
        self.tell(Config {
            metadata_audit: u32::from(audited),
            ..self.config
        })
    }

    fn tell(&mut self, config: Config) -> Result<(), KernelError> {
        let told = self.maps.config.set(0, config, 0);
        told.map_err(|error| KernelError::Other(format!("map CONFIG: {error}")))?;
        self.config = config;
        Ok(())
    }

    /// Attaches to every wanted device, whatever becomes of the others.
    pub(super) fn attach(&mut self, desired: &Desired) -> Result<(), KernelError> {
        let devices = Devices::of_this_thread().map_err(|error| {
            KernelError::Other(format!("cannot ask for the names of devices: {error}"))
        })?;
        let mut first = Ok(());
        for (key, endpoint) in &desired.endpoints {
            if key.is_node() {
                continue;
            }
            let ifindex = endpoint.located.ifindex;
            let attached = self.attacher.pod(&mut self.ebpf, ifindex, &devices);
            let guarded = attached.and_then(|attached| {
                if attached {
                    self.note_guarded(ifindex)?;
                }
                Ok(())
            });
            first = first.and(guarded);
        }
        let wanted = desired.endpoints.values();
        let wanted = wanted.map(|endpoint| endpoint.located.ifindex).collect();
        first = first.and(self.release(&wanted));
        self.attacher.reap(&devices)?;
        first
    }
}
