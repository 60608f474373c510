//! Connects from inside pods.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};

use super::{cluster::Cluster, expect::Pod};

/// What became of one try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It connected.
    Reached,
    /// Nobody answered in time.
    TimedOut,
    /// The pod's own kernel refused at once.
    Refused,
    /// Anything else.
    Other,
}

impl Outcome {
    fn read(text: &str) -> Self {
        if text == "ok" {
            Self::Reached
        } else if text.contains("TIMEOUT") {
            Self::TimedOut
        } else if text.contains("operation not permitted") {
            Self::Refused
        } else {
            Self::Other
        }
    }
}

/// Tries every target from a pod, all at once: `address:port` -> outcome.
pub fn connect(
    cluster: &Cluster,
    from: &Pod,
    targets: &[String],
) -> Result<BTreeMap<String, Outcome>> {
    let script = format!(
        "for t in {}; do (r=$(/agnhost connect --timeout=2s $t 2>&1) && echo \"$t ok\" || echo \"$t $r\") & done; wait",
        targets.join(" ")
    );
    let text = shell(cluster, from, &script)?;
    Ok(text
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(target, outcome)| (target.to_owned(), Outcome::read(outcome)))
        .collect())
}

/// Runs a script in a pod.
pub fn shell(cluster: &Cluster, pod: &Pod, script: &str) -> Result<String> {
    cluster
        .kubectl
        .run(&[
            "exec",
            "-n",
            &pod.namespace,
            &pod.name,
            "--",
            "sh",
            "-c",
            script,
        ])
        .with_context(|| format!("in pod {}", pod.id()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_agnhost_says_is_understood() {
        for (text, outcome) in [
            ("ok", Outcome::Reached),
            ("TIMEOUT", Outcome::TimedOut),
            ("REFUSED", Outcome::Other),
            (
                "OTHER: dial tcp 169.254.169.254:80: connect: operation not permitted",
                Outcome::Refused,
            ),
        ] {
            assert_eq!(Outcome::read(text), outcome, "{text}");
        }
    }
}
