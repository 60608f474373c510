//! The kernel's objects: maps, programs, and whether they are as they were left.

use std::sync::atomic::AtomicU64;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};

use super::{Sample, clamp};
use crate::{
    dataplane::{DRIFT_KINDS, ProgramView},
    observe::flow::hook_name,
};

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct MapLabel {
    map: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ErrorLabels {
    map: String,
    error: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct AttachedLabels {
    program: &'static str,
    hook: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ProgramLabel {
    program: &'static str,
}

pub(super) fn register(registry: &mut Registry, sample: &Sample) {
    let drift = Family::<KindLabel, Counter>::default();
    for kind in DRIFT_KINDS {
        let count = sample.counters.drift.get(kind).copied().unwrap_or(0);
        drift.get_or_create(&KindLabel { kind }).inc_by(count);
    }
    registry.register(
        "drift",
        "Attachments, pins and map elements that were not as this agent had left them; all were put right",
        drift,
    );

    let (entries, limits) = (
        Family::<MapLabel, Gauge>::default(),
        Family::<MapLabel, Gauge>::default(),
    );
    for object in sample.objects.iter().filter(|object| object.kind == "map") {
        let label = MapLabel {
            map: object.pin.rsplit('/').next().unwrap_or_default().to_owned(),
        };
        if let Some(count) = object.entries {
            entries.get_or_create(&label).set(clamp(count));
        }
        limits.get_or_create(&label).set(object.max_entries.into());
    }
    registry.register("bpf_map_entries", "Elements in use", entries);
    registry.register("bpf_map_max_entries", "Elements that fit", limits);
    let errors = Family::<ErrorLabels, Counter>::default();
    for ((map, error), &count) in &sample.counters.update_errors {
        let labels = ErrorLabels {
            map: map.clone(),
            error: error.clone(),
        };
        errors.get_or_create(&labels).inc_by(count);
    }
    registry.register(
        "bpf_map_update_errors",
        "States and repairs that a map did not take, by the kernel's error; full: not even tried, for it does not fit",
        errors,
    );
    register_programs(registry, &sample.programs);
}

fn register_programs(registry: &mut Registry, programs: &[ProgramView]) {
    let attached = Family::<AttachedLabels, Gauge>::default();
    let runs = Family::<ProgramLabel, Counter>::default();
    let time = Family::<ProgramLabel, Counter<f64, AtomicU64>>::default();
    for view in programs {
        let program = view.name;
        if let Some(everywhere) = view.attached {
            let labels = AttachedLabels {
                program,
                hook: hook_name(view.hook),
            };
            attached.get_or_create(&labels).set(everywhere.into());
        }
        if let Some((count, took)) = view.runs {
            let label = ProgramLabel { program };
            runs.get_or_create(&label).inc_by(count);
            time.get_or_create(&label).inc_by(took.as_secs_f64());
        }
    }
    registry.register(
        "bpf_program_attached",
        "1 if the program is attached wherever it belongs, 0 if it is missing anywhere",
        attached,
    );
    registry.register(
        "bpf_program_runs",
        "Runs of the program since it was loaded; only while the kernel keeps them (sysctl kernel.bpf_stats_enabled)",
        runs,
    );
    registry.register_with_unit(
        "bpf_program_run_time",
        "Time spent in the program since it was loaded; only while the kernel keeps it (sysctl kernel.bpf_stats_enabled)",
        Unit::Seconds,
        time,
    );
}
