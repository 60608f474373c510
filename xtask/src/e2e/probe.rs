//! Connects from inside pods.

use std::{collections::BTreeMap, fmt};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::{cluster::Cluster, expect::Pod};

/// The datagram that asks for an answer.
pub const QUESTION: &str = "hostname";

/// By what a way is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// TCP: reached if it connects.
    Tcp,
    /// UDP: reached if a datagram is answered.
    Udp,
}

/// As the binary under test writes it behind a port.
impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

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

/// Tries every target from a pod by TCP, all at once: `address:port` -> outcome.
pub fn connect(
    cluster: &Cluster,
    from: &Pod,
    targets: &[String],
) -> Result<BTreeMap<String, Outcome>> {
    connect_by(cluster, from, Transport::Tcp, targets)
}

/// Tries every target from a pod, all at once: `address:port` -> outcome.
pub fn connect_by(
    cluster: &Cluster,
    from: &Pod,
    transport: Transport,
    targets: &[String],
) -> Result<BTreeMap<String, Outcome>> {
    if targets.is_empty() {
        return Ok(BTreeMap::new());
    }
    let how = match transport {
        Transport::Tcp => String::new(),
        // What servers of UDP in test images answer.
        Transport::Udp => format!("--protocol=udp --udp-data={QUESTION}"),
    };
    let script = format!(
        "for t in {}; do (r=$(/agnhost connect --timeout=2s {how} $t 2>&1) && echo \"$t ok\" || echo \"$t $r\") & done; wait",
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
