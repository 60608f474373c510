//! Opening: what earlier agents have pinned is taken over, or stands until our maps hold the first state.

use std::{
    collections::{BTreeMap, BTreeSet},
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use aya::Ebpf;
use ringfence_common::config::Config;

use super::{Dataplane, Names};
use crate::{
    compile::Metadata,
    dataplane::{
        KernelError, Options,
        attach::{self, Attacher},
        audit::Auditor,
        clock, installed, load,
        maps::Maps,
        pins::Pins,
        spec,
    },
    diff::{Limits, Planner, deny_missing},
};

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
    let (ebpf, limits) = load::load(options, pins)?;
    let mut dataplane = fill(options, pins, (ebpf, limits))?;
    dataplane.attacher.adopt(&mut dataplane.ebpf)?;
    dataplane.earlier = earlier;
    if dataplane.earlier.is_empty() {
        dataplane.attach_always()?;
    } else {
        tracing::info!(
            from = versions_of(&dataplane.earlier),
            to = pins.version(),
            "pins of other layouts stay in force until every source has synced and our maps are filled"
        );
    }
    Ok(dataplane)
}

/// Writes into the maps what must be there before a program is attached.
pub(super) fn fill(
    options: &Options,
    pins: &Pins,
    (mut ebpf, limits): (Ebpf, Limits),
) -> Result<Dataplane, KernelError> {
    let mut maps = Maps::take(&mut ebpf)?;
    let config = configure(&mut maps, &ebpf, options)?;
    for op in &deny_missing(&installed::read(&maps)?, &Metadata::default()) {
        maps.execute(op)?;
    }
    let installed = installed::read(&maps)?;
    let mut names = Names::default();
    names.learn_all(&installed);
    Ok(Dataplane {
        ebpf,
        maps,
        pins: pins.clone(),
        limits,
        cgroup_root: options.cgroup_root.clone(),
        node_cgroup: options.node_cgroup.clone(),
        run_dir: options.run_dir.clone(),
        host_open: false,
        attacher: Attacher::new(pins.clone(), options.attach),
        earlier: Vec::new(),
        waiting: None,
        own: BTreeSet::new(),
        planner: Planner::new(installed),
        auditor: Auditor::new(pins, names_of(&limits), options.audit_interval)?,
        config,
        guarded: BTreeMap::new(),
        update_errors: BTreeMap::new(),
        names,
    })
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

/// The id of the cgroup that all pods' are below, by which programs know sockets of pods; 0 if it is not known.
pub(super) fn pods_cgroup(root: Option<&Path>) -> Result<u64, KernelError> {
    let Some(root) = root else {
        return Ok(0);
    };
    let found = root.metadata().map_err(|error| {
        KernelError::Other(format!(
            "cannot look at the cgroup {}: {error}\n  help: --cgroup-root names a directory in a cgroup2 hierarchy (see /proc/self/mountinfo)",
            root.display()
        ))
    })?;
    Ok(found.ino())
}

/// Tells the programs what they must know. A jiffy is measured once: the pinned configuration keeps it.
fn configure(maps: &mut Maps, ebpf: &Ebpf, options: &Options) -> Result<Config, KernelError> {
    let trouble = |error| KernelError::Other(format!("map CONFIG: {error}"));
    let before = maps.config.get(&0, 0).map_err(trouble)?;
    let hz = match before.ticks_per_64s {
        0 => clock::measure_hz(ebpf)?,
        ticks => (ticks << before.tick_shift) / 64,
    };
    let config = Config {
        tunnel_ports: before.tunnel_ports,
        // An agent before this one has put that into force, as it has the grants.
        metadata_audit: before.metadata_audit,
        metadata_layers: options.firewall.layers,
        nat64: options.firewall.nat64,
        pods_cgroup: pods_cgroup(options.cgroup_root.as_deref())?,
        ..Config::for_hz(hz, options.mark, options.event_rate)
            .with_metadata_rate(hz, options.firewall.packets_per_second)
    };
    maps.config.set(0, config, 0).map_err(trouble)?;
    Ok(config)
}
