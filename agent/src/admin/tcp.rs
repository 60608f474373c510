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
use crate::observe::metrics::{self, Sample};

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
                kernel.endpoints()?.len(),
            ))
        })
        .await;
    let (counters, objects, endpoints) = match kernel {
        Ok(answer) => answer,
        // A scrape without the kernel's numbers would look like counters that were reset.
        Err(error) => {
            return (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")).into_response();
        }
    };
    let (revision, realized_at) = {
        let progress = shared.kernel.progress();
        let progress = progress.borrow();
        (
            progress.applied.map(|applied| applied.revision),
            progress.at,
        )
    };
    let sample = Sample {
        counters,
        objects,
        slow_consumer: shared.recorder.missed_in_total(),
        endpoints,
        unplaced: shared
            .placed
            .borrow()
            .as_ref()
            .map_or(0, |placed| placed.unplaced.len()),
        revision,
        realized_at,
        diagnostics: shared.diagnostics().len(),
        watches: shared.health.kinds(),
    };
    match metrics::encode(&shared.lasting, &sample) {
        Ok(text) => ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}
