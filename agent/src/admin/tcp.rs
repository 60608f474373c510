//! The server on the TCP address: metrics and probes, nothing that names a pod.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::sync::Mutex;

use super::{
    Shared, pods,
    probes::{self, Audience},
};
use crate::{
    dataplane::ProgramView,
    metadata::{self, Layer},
    observe::metrics::{self, Process, Sample, policy_states},
};

/// Gathering asks the kernel of every map: whoever reaches the port has it done no more often than this.
const FRESH: Duration = Duration::from_secs(1);

/// The routes.
pub(super) fn router(shared: Arc<Shared>) -> Router {
    let page = Page::default();
    let metrics = async move |State(shared): State<Arc<Shared>>| {
        let gathered = async move { gather(&shared).await };
        page.read(Instant::now, gathered).await
    };
    probes::routes(Audience::Anyone)
        .route("/metrics", get(metrics))
        .with_state(shared)
}

/// The metrics as they are now.
pub(super) async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    gather(&shared).await.into_response()
}

/// What was gathered last, and when. Scrapes that come meanwhile wait for it and have the same.
#[derive(Clone, Default)]
struct Page(Arc<Mutex<Option<(Instant, Answer)>>>);

impl Page {
    async fn read(
        &self,
        now: impl Fn() -> Instant + Send + 'static,
        gather: impl Future<Output = Answer> + Send + 'static,
    ) -> Answer {
        let mut page = Arc::clone(&self.0).lock_owned().await;
        if let Some((then, answer)) = &*page
            && now().duration_since(*then) < FRESH
        {
            return answer.clone();
        }
        // Who goes away before the answer would otherwise leave no page, and the next one gather again.
        let task = tokio::spawn(async move {
            let answer = gather.await;
            *page = Some((now(), answer.clone()));
            answer
        });
        task.await.unwrap_or_else(|error| {
            Answer::Trouble(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
        })
    }
}

/// A page of metrics, or why there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Answer {
    Metrics(Bytes),
    Trouble(StatusCode, String),
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        match self {
            Self::Metrics(text) => {
                ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response()
            }
            Self::Trouble(status, error) => (status, format!("{error}\n")).into_response(),
        }
    }
}

/// How it is with each layer of the metadata firewall.
pub(super) fn layers(shared: &Shared, programs: &[ProgramView]) -> Vec<Layer> {
    let config = &shared.config;
    metadata::standing(
        programs,
        config.firewall.layers,
        config.cgroup_root.is_some(),
    )
}

async fn gather(shared: &Shared) -> Answer {
    let kernel = shared
        .kernel
        .ask(|kernel| {
            Ok((
                kernel.counters()?,
                kernel.objects()?,
                kernel.programs()?,
                pods(kernel)?,
            ))
        })
        .await;
    let (counters, objects, programs, endpoints) = match kernel {
        Ok(answer) => answer,
        // A scrape without the kernel's numbers would look like counters that were reset.
        Err(error) => {
            return Answer::Trouble(StatusCode::SERVICE_UNAVAILABLE, error.to_string());
        }
    };
    let diagnostics = shared.diagnostics();
    let placed = shared.placed.borrow().clone().unwrap_or_default();
    let (revision, realized_at, policies) = {
        let progress = shared.kernel.progress();
        let progress = progress.borrow();
        (
            progress.applied.map(|applied| applied.revision),
            progress.at,
            policy_states(&placed, progress.of.as_deref(), &diagnostics),
        )
    };
    let sample = Sample {
        counters,
        objects,
        metadata_layers: layers(shared, &programs),
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
        Ok(text) => Answer::Metrics(text.into()),
        Err(error) => Answer::Trouble(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn scrapes_within_a_second_share_one_page() {
        let page = Page::default();
        let start = Instant::now();
        for (milliseconds, expect) in [(0, "0"), (999, "0"), (1000, "1000"), (1500, "1000")] {
            let text = Bytes::from(milliseconds.to_string());
            let answer = page
                .read(move || start + Duration::from_millis(milliseconds), async {
                    Answer::Metrics(text)
                })
                .await;
            assert_eq!(
                answer,
                Answer::Metrics(Bytes::from(expect)),
                "after {milliseconds} ms"
            );
        }
    }
}
