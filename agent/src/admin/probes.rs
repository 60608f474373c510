//! `/livez` and `/readyz`.

use std::{fmt::Write as _, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{RawQuery, State},
    http::StatusCode,
    routing::get,
};

use super::Shared;

/// The kernel thread beats between any two things that it does; a full resync of a large node takes seconds.
const SILENCE: Duration = Duration::from_secs(60);

/// The two probes, the same on both servers.
pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/livez", get(live))
        .route("/readyz", get(ready))
}

async fn live(State(shared): State<Arc<Shared>>) -> (StatusCode, &'static str) {
    if shared.kernel.silent_for() < SILENCE {
        (StatusCode::OK, "ok\n")
    } else {
        (
            StatusCode::INTERNAL_SERVER_ERROR,
            "the kernel thread is stuck\n",
        )
    }
}

async fn ready(
    State(shared): State<Arc<Shared>>,
    RawQuery(query): RawQuery,
) -> (StatusCode, String) {
    let checks = checks(&shared);
    let ready = checks.iter().all(|check| check.fault.is_none());
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    // The parameter alone counts, as in the API server's own probes.
    let verbose = query.is_some_and(|query| {
        query
            .split('&')
            .any(|part| part.split('=').next() == Some("verbose"))
    });
    if ready && !verbose {
        return (status, "ok\n".to_owned());
    }
    let mut text = String::new();
    for Check { name, fault } in checks {
        // Writing into a string cannot fail.
        let _: std::fmt::Result = match fault {
            None => writeln!(text, "[+] {name}"),
            Some(fault) => writeln!(text, "[-] {name}: {fault}"),
        };
    }
    (status, text)
}

/// One condition of readiness.
#[derive(Debug)]
pub(super) struct Check {
    pub name: &'static str,
    pub fault: Option<String>,
}

/// All conditions of readiness.
pub(super) fn checks(shared: &Shared) -> Vec<Check> {
    let progress = shared.kernel.progress();
    let progress = progress.borrow();
    let check = |name, fault: Option<&str>| Check {
        name,
        fault: fault.map(str::to_owned),
    };
    vec![
        check(
            "programs loaded",
            (!shared.kernel.is_open()).then_some("not yet"),
        ),
        check(
            "sources synced",
            shared
                .placed
                .borrow()
                .is_none()
                .then_some("not yet; what is pinned stays in force"),
        ),
        check(
            "a state is in force",
            progress.applied.is_none().then_some("not yet"),
        ),
        check("the latest state is in force", progress.error.as_deref()),
    ]
}
