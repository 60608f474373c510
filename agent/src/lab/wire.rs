//! What is said to a pod process: its configuration on standard input, then commands on its control socket,
//! one JSON value per line each way.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::IpAddr,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::model::Protocol;

/// A transport that the lab's sockets speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Transport {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Tcp, Self::Udp];
}

impl From<Transport> for Protocol {
    fn from(transport: Transport) -> Self {
        match transport {
            Transport::Tcp => Self::Tcp,
            Transport::Udp => Self::Udp,
        }
    }
}

/// What a pod process is to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProcessConfig {
    /// Network namespace to enter.
    pub netns: String,
    /// Cgroup to enter.
    pub cgroup: PathBuf,
    /// Path of the control socket to make.
    pub control: PathBuf,
    /// Where to listen.
    pub listen: Vec<Listen>,
}

/// One listening socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listen {
    /// Who answers: the first word of each answer.
    pub name: String,
    /// Transport.
    pub protocol: Transport,
    /// Address.
    pub address: IpAddr,
    /// Port.
    pub port: u16,
}

/// How many attempts of one [`Command::ConnectAll`] are under way at once.
pub const AT_ONCE: usize = 128;

/// A command to a pod process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// Connect, say a line, wait for the answer: [`Connected`].
    Connect(Connect),
    /// Many of them, up to [`AT_ONCE`] at once: a list of [`Connected`], in the same order.
    ConnectAll {
        /// The attempts.
        attempts: Vec<Connect>,
    },
    /// Start a [`Stream`]: `{}`.
    Stream(Stream),
    /// How a stream fares: [`StreamReport`].
    Report {
        /// The stream's name.
        id: String,
    },
    /// End a stream, once its last answers had time to come: [`StreamReport`].
    Stop {
        /// The stream's name.
        id: String,
    },
    /// Who was here: [`ServedList`].
    Served {},
}

/// One attempt to reach somebody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Connect {
    /// Transport.
    pub protocol: Transport,
    /// Source address; absent: the kernel's choice.
    pub from: Option<IpAddr>,
    /// Destination address.
    pub to: IpAddr,
    /// Destination port.
    pub port: u16,
    /// How long to wait for the answer, all in all.
    pub timeout_ms: u64,
}

/// What became of a [`Connect`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Connected {
    /// True if an answer came.
    pub ok: bool,
    /// Who answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub who: Option<String>,
    /// What went wrong: `timeout`, or the error in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The error's number; absent for a timeout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errno: Option<i32>,
    /// How long it took.
    pub ms: u64,
}

/// Numbered messages over one connection (TCP) or flow (UDP), each of which is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stream {
    /// Name to ask about it by.
    pub id: String,
    /// Transport.
    pub protocol: Transport,
    /// Source address; absent: the kernel's choice.
    pub from: Option<IpAddr>,
    /// Destination address.
    pub to: IpAddr,
    /// Destination port.
    pub port: u16,
    /// Time between messages.
    pub interval_ms: u64,
}

/// How a stream fared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StreamReport {
    /// Messages sent.
    pub sent: u64,
    /// Messages answered.
    pub answered: u64,
    /// Messages not answered (so far).
    pub lost: u64,
    /// Answers to a message that had been answered.
    pub repeated: u64,
    /// The longest time without an answer, from the first message on.
    pub longest_gap_ms: u64,
    /// The slowest answer. A lost TCP segment is sent again after 200 ms at the earliest, so what is well below
    /// that says that none was lost.
    pub slowest_ms: u64,
    /// TCP segments that the pod's network namespace had to send again since the stream began.
    pub retransmitted: u64,
    /// The last error of the socket. It ends a TCP stream.
    pub error: Option<String>,
}

/// Who reached a process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServedList {
    /// The latest visits, oldest first.
    pub visits: Vec<Visit>,
    /// How many older ones are no longer in the list.
    pub forgotten: u64,
}

/// A connection that was accepted, or a datagram that arrived.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Visit {
    /// Transport.
    pub protocol: Transport,
    /// Address that was reached.
    pub address: IpAddr,
    /// Port that was reached.
    pub port: u16,
    /// Who came.
    pub peer: IpAddr,
}

/// The answer to a command that cannot be obeyed.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Refusal {
    /// Why.
    pub refusal: String,
}

/// Gives a pod process a command and waits for its answer for at most `limit`.
pub fn command<T: DeserializeOwned>(
    control: &Path,
    command: &Command,
    limit: Duration,
) -> Result<T> {
    let say = || format!("control socket {}", control.display());
    let stream = UnixStream::connect(control).with_context(say)?;
    stream.set_read_timeout(Some(limit)).with_context(say)?;
    let mut line = serde_json::to_string(command).context("a command has no JSON form")?;
    line.push('\n');
    (&stream).write_all(line.as_bytes()).with_context(say)?;
    let mut answer = String::new();
    BufReader::new(&stream)
        .read_line(&mut answer)
        .with_context(say)?;
    if let Ok(Refusal { refusal }) = serde_json::from_str(&answer) {
        bail!("{}: {refusal}", say());
    }
    serde_json::from_str(&answer).with_context(|| format!("{}: answered {answer:?}", say()))
}
