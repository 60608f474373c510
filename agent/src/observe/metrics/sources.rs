//! How current what the API server tells is.

use std::{collections::BTreeMap, sync::atomic::AtomicU64};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};

use super::seconds_since_epoch;
use crate::watch::{Kind, KindHealth};

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ResourceLabel {
    resource: &'static str,
}

pub(super) fn register(registry: &mut Registry, watches: &BTreeMap<Kind, KindHealth>) {
    if watches.is_empty() {
        return;
    }
    let errors = Family::<ResourceLabel, Counter>::default();
    let heard = Family::<ResourceLabel, Gauge<f64, AtomicU64>>::default();
    for (kind, health) in watches {
        let label = ResourceLabel {
            resource: kind.as_str(),
        };
        errors.get_or_create(&label).inc_by(health.errors);
        heard
            .get_or_create(&label)
            .set(seconds_since_epoch(health.heard));
    }
    registry.register(
        "watch_errors",
        "Requests to the API server that failed",
        errors,
    );
    registry.register_with_unit(
        "watch_last_sync_timestamp",
        "When the API server last gave proof that nothing of the kind is missing",
        Unit::Seconds,
        heard,
    );
}
