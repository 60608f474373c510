//! Probes: who reaches whom, by real sockets.

use std::{
    collections::BTreeMap, fmt, net::IpAddr, path::Path, str::FromStr, thread, time::Duration,
};

use anyhow::{Context as _, Result};
use nix::errno::Errno;

use super::{
    up::Lab,
    wire::{self, Command, Connect, Connected, Transport},
};

/// How much longer than its own limit a probe's answer may take to come back over the control socket.
const CONTROL_LIMIT: Duration = Duration::from_secs(30);

/// Somebody who can send.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Actor {
    /// A pod.
    Pod {
        /// Kubernetes namespace.
        namespace: String,
        /// Name.
        name: String,
    },
    /// A host outside.
    Outside(String),
    /// The node itself.
    Node,
}

impl Actor {
    /// A pod.
    #[must_use]
    pub fn pod(namespace: &str, name: &str) -> Self {
        Self::Pod {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }

    /// A host outside.
    #[must_use]
    pub fn outside(name: &str) -> Self {
        Self::Outside(name.to_owned())
    }
}

/// `NAMESPACE/NAME`, the outside host's name, or `node`.
impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pod { namespace, name } => f.pad(&format!("{namespace}/{name}")),
            Self::Outside(name) => f.pad(name),
            Self::Node => f.pad("node"),
        }
    }
}

impl FromStr for Actor {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text.split_once('/') {
            Some((namespace, name)) => Self::pod(namespace, name),
            None if text == "node" => Self::Node,
            None => Self::outside(text),
        })
    }
}

/// One question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Who sends.
    pub from: Actor,
    /// Address that is sent to.
    pub to: IpAddr,
    /// Port that is sent to.
    pub port: u16,
    /// Transport.
    pub protocol: Transport,
    /// How long to wait for an answer.
    pub timeout: Duration,
}

/// What a probe asks of policy: who, from which address, to which address and port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Who sends.
    pub from: Actor,
    /// Address that is sent from.
    pub source: IpAddr,
    /// Address that is sent to.
    pub to: IpAddr,
    /// Port that is sent to.
    pub port: u16,
    /// Transport.
    pub protocol: Transport,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was answered.
    Answered {
        /// By whom: an [`Actor`] as it is written.
        who: String,
    },
    /// No answer came in time.
    Timeout,
    /// The destination refused: nothing listens there.
    Refused,
    /// The kernel forbade it at once (`EPERM`).
    Denied,
    /// Anything else, in words.
    Failed(String),
}

impl Outcome {
    /// True if it was answered.
    #[must_use]
    pub const fn is_answered(&self) -> bool {
        matches!(self, Self::Answered { .. })
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answered { who } => write!(f, "answered by {who}"),
            Self::Timeout => f.write_str("timeout"),
            Self::Refused => f.write_str("refused"),
            Self::Denied => f.write_str("denied (EPERM)"),
            Self::Failed(error) => f.write_str(error),
        }
    }
}

impl From<Connected> for Outcome {
    fn from(answer: Connected) -> Self {
        let Connected {
            ok,
            who,
            error,
            errno,
            ms: _,
        } = answer;
        if ok {
            return Self::Answered {
                who: who.unwrap_or_default(),
            };
        }
        match errno.map(Errno::from_raw) {
            Some(Errno::ETIMEDOUT) => Self::Timeout,
            Some(Errno::ECONNREFUSED) => Self::Refused,
            Some(Errno::EPERM) => Self::Denied,
            None if error.as_deref() == Some("timeout") => Self::Timeout,
            _ => Self::Failed(error.unwrap_or_default()),
        }
    }
}

impl Lab {
    /// Tries to reach somebody. An error is the lab's own: whatever the network does is an [`Outcome`].
    pub fn probe(
        &self,
        from: &Actor,
        to: IpAddr,
        port: u16,
        protocol: Transport,
        timeout: Duration,
    ) -> Result<Outcome> {
        let (control, from) = self.sender(from, to)?;
        let timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        let command = Command::Connect(Connect {
            protocol,
            from,
            to,
            port,
            timeout_ms,
        });
        let answer: Connected =
            wire::command(control, &command, timeout.saturating_add(CONTROL_LIMIT))?;
        Ok(answer.into())
    }

    /// Asks all of these, many at once; the outcomes are in the order of the probes.
    pub fn probe_all(&self, probes: &[Probe]) -> Result<Vec<Outcome>> {
        let mut by_sender: BTreeMap<&Path, (Vec<usize>, Vec<Connect>)> = BTreeMap::new();
        for (index, probe) in probes.iter().enumerate() {
            let (control, from) = self.sender(&probe.from, probe.to)?;
            let (indices, attempts) = by_sender.entry(control).or_default();
            indices.push(index);
            attempts.push(Connect {
                protocol: probe.protocol,
                from,
                to: probe.to,
                port: probe.port,
                timeout_ms: u64::try_from(probe.timeout.as_millis()).unwrap_or(u64::MAX),
            });
        }
        let answers: Vec<Result<(Vec<usize>, Vec<Connected>)>> = thread::scope(|scope| {
            let senders: Vec<_> = by_sender
                .into_iter()
                .map(|(control, (indices, attempts))| {
                    scope.spawn(move || Ok((indices, connect_all(control, attempts)?)))
                })
                .collect();
            senders
                .into_iter()
                .map(|sender| {
                    sender
                        .join()
                        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
                })
                .collect()
        });
        let mut outcomes: Vec<Option<Outcome>> = probes.iter().map(|_| None).collect();
        for answer in answers {
            let (indices, answers) = answer?;
            for (index, answer) in indices.into_iter().zip(answers) {
                if let Some(slot) = outcomes.get_mut(index) {
                    *slot = Some(answer.into());
                }
            }
        }
        outcomes
            .into_iter()
            .map(|outcome| outcome.context("a probe was not made"))
            .collect()
    }
}

/// Has one sender make all these attempts.
fn connect_all(control: &Path, attempts: Vec<Connect>) -> Result<Vec<Connected>> {
    let longest = attempts.iter().map(|it| it.timeout_ms).max().unwrap_or(0);
    let rounds = u32::try_from(attempts.len().div_ceil(wire::AT_ONCE)).unwrap_or(u32::MAX);
    let limit = Duration::from_millis(longest)
        .saturating_mul(rounds)
        .saturating_add(CONTROL_LIMIT);
    wire::command(control, &Command::ConnectAll { attempts }, limit)
}
