//! `/livez` and `/readyz`.
//!
//! **Invariant.** What names an object, quotes somebody or says where something is on the node goes to the socket only. On the port, which
//! anybody on the network may reach, probes say what is not as it should be and how many, not whose.

use std::{
    fmt::Write as _,
    sync::Arc,
    time::{Duration, SystemTime},
};

use axum::{
    Router,
    extract::{RawQuery, State},
    http::StatusCode,
    routing::get,
};

use super::Shared;
use crate::watch::Health;

/// The kernel thread beats between any two things that it does; a full resync of a large node takes seconds.
const SILENCE: Duration = Duration::from_secs(60);

/// Who reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Audience {
    /// Whoever reaches the port.
    Anyone,
    /// Root on this node.
    Root,
}

/// The two probes.
pub(super) fn routes(audience: Audience) -> Router<Arc<Shared>> {
    let ready = move |State(shared): State<Arc<Shared>>, RawQuery(query): RawQuery| async move {
        ready(&shared, query.as_deref(), audience)
    };
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

fn ready(shared: &Shared, query: Option<&str>, audience: Audience) -> (StatusCode, String) {
    let checks = checks(shared);
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
    for check in checks {
        // Writing into a string cannot fail.
        let _: std::fmt::Result = match check.told(audience) {
            None => writeln!(text, "[+] {}", check.name),
            Some(fault) => writeln!(text, "[-] {}: {fault}", check.name),
        };
    }
    for line in freshness(&shared.health, SystemTime::now(), audience) {
        text.push_str(&line);
        text.push('\n');
    }
    // Each is named by `ringfence status`.
    let diagnostics = shared.diagnostics().len();
    if diagnostics > 0 {
        let _: std::fmt::Result = writeln!(text, "[!] problems: {diagnostics}");
    }
    (status, text)
}

/// How current each kind is. No condition of readiness: without the API server the last state stays in force, and a
/// node that is taken out of service for that would be the worse outage.
pub(super) fn freshness(health: &Health, now: SystemTime, audience: Audience) -> Vec<String> {
    let age = |then: SystemTime| now.duration_since(then).unwrap_or_default().as_secs();
    let mut lines = Vec::new();
    if let Some((written, kinds)) = health.from_disk() {
        let kinds: Vec<&str> = kinds.iter().map(|kind| kind.as_str()).collect();
        lines.push(format!(
            "[!] state from disk, {} s old, for {}",
            age(written),
            kinds.join(", ")
        ));
    }
    for (kind, health) in health.kinds() {
        let kind = kind.as_str();
        let trouble = health.trouble.map(|trouble| match audience {
            Audience::Root => trouble,
            // The API server's words may be about an object.
            Audience::Anyone => "the API server is away or refuses".to_owned(),
        });
        lines.push(match (health.heard, trouble) {
            (Some(heard), None) => format!("[+] watch {kind}: current, heard {} s ago", age(heard)),
            (None, None) => format!("[!] watch {kind}: not read yet"),
            (Some(heard), Some(trouble)) => {
                format!("[!] watch {kind}: heard {} s ago: {trouble}", age(heard))
            }
            (None, Some(trouble)) => format!("[!] watch {kind}: never heard: {trouble}"),
        });
    }
    lines
}

/// One condition of readiness.
#[derive(Debug)]
pub(super) struct Check {
    pub name: &'static str,
    fault: Option<Fault>,
}

/// What is wrong, and in whose words or with which object.
#[derive(Debug)]
struct Fault {
    brief: &'static str,
    detail: Option<String>,
}

impl Check {
    fn new(name: &'static str, fault: Option<&'static str>) -> Self {
        let fault = fault.map(|brief| Fault {
            brief,
            detail: None,
        });
        Self { name, fault }
    }

    /// What is wrong, if anything is.
    pub fn told(&self, audience: Audience) -> Option<&str> {
        let fault = self.fault.as_ref()?;
        Some(match (audience, &fault.detail) {
            (Audience::Root, Some(detail)) => detail,
            _ => fault.brief,
        })
    }
}

/// All conditions of readiness.
pub(super) fn checks(shared: &Shared) -> Vec<Check> {
    let progress = shared.kernel.progress();
    let progress = progress.borrow();
    let synced = shared.placed.borrow().is_some();
    let mut checks = vec![
        Check::new(
            "programs loaded",
            (!shared.kernel.is_open()).then_some("not yet"),
        ),
        Check::new(
            "sources synced",
            (!synced).then_some("not yet; what is pinned stays in force"),
        ),
        Check::new(
            "a state is in force",
            progress.applied.is_none().then_some("not yet"),
        ),
        Check {
            name: "the latest state is in force",
            fault: progress.error.clone().map(|error| Fault {
                brief: "the kernel does not take it; `ringfence status` on this node says why",
                detail: Some(error),
            }),
        },
    ];
    // With `--nri auto` a runtime that does not ask is as good a runtime.
    if shared.config.nri.as_ref().is_some_and(|nri| nri.required) {
        let trouble = shared.nri.borrow().as_ref().map(|it| it.message.clone());
        checks.push(Check {
            name: "the container runtime asks before it starts pods",
            fault: (!shared.lasting.nri.is_connected()).then_some(Fault {
                brief: "not yet; `ringfence status` on this node says why",
                detail: trouble,
            }),
        });
    }
    checks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::Kind;

    #[test]
    fn an_api_server_that_is_away_shows_with_its_age() {
        let health = Health::default();
        health.expect(&[Kind::Pod, Kind::Node]);
        health.synced(Kind::Pod);
        health.recalled(SystemTime::UNIX_EPOCH);
        health.failed(Kind::Node, Some("refused".to_owned()));
        let later = SystemTime::now() + Duration::from_secs(90);
        let lines = freshness(&health, later, Audience::Root);
        assert!(lines[0].ends_with("s old, for Node"), "{lines:?}");
        assert_eq!(lines[1], "[!] watch Node: never heard: refused");
        assert!(
            lines[2].starts_with("[+] watch Pod: current, heard ") && lines.len() == 3,
            "{lines:?}"
        );
    }
}
