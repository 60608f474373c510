//! The server on the TCP address: metrics and probes, nothing that names a pod.

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};

use super::{Shared, probes};
use crate::observe::metrics::{self, Process, Sample, policy_states};

/// The routes.
pub(super) fn router(shared: Arc<Shared>) -> Router {
    routes().with_state(shared)
}

/// Metrics and probes, the same on both servers.
pub(super) fn routes() -> Router<Arc<Shared>> {
    probes::routes().route("/metrics", get(serve_metrics))
}

async fn serve_metrics(State(shared): State<Arc<Shared>>) -> Response {
    let kernel = shared
        .kernel
        .ask(|kernel| {
            Ok((
                kernel.counters()?,
                kernel.objects()?,
                kernel.programs()?,
                kernel.endpoints()?.len(),
            ))
        })
        .await;
    let (counters, objects, programs, endpoints) = match kernel {
        Ok(answer) => answer,
        // A scrape without the kernel's numbers would look like counters that were reset.
        Err(error) => {
            return (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")).into_response();
        }
    };
    let diagnostics = shared.diagnostics();
    let placed = shared.placed.borrow().clone().unwrap_or_default();
    let (revision, realized_at, policies) = {
        let progress = shared.kernel.progress();
        let progress = progress.borrow();
        let in_force = progress.of.as_ref().map(|of| of.snapshot.policies.clone());
        (
            progress.applied.map(|applied| applied.revision),
            progress.at,
            policy_states(
                &placed.snapshot.policies,
                &in_force.unwrap_or_default(),
                &diagnostics,
            ),
        )
    };
    let sample = Sample {
        counters,
        objects,
        programs,
        slow_consumer: shared.recorder.missed_in_total(),
        endpoints,
        unplaced: placed.unplaced.len(),
        policies,
        revision,
        realized_at,
        diagnostics: diagnostics.len(),
        watches: shared.health.kinds(),
        // A machine that tells nothing of it is no reason to tell nothing at all.
        process: Process::myself().ok(),
    };
    match metrics::encode(&shared.lasting, &sample) {
        Ok(text) => ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}
