//! The world outside the cluster, as one process: it has addresses of its own, serves on them, and goes from them where it
//! is told.
//!
//! It is the hidden verb `e2e-outsider`, run by what `--outside` names. Its first line of standard input is a [`World`]; it
//! answers `ready`. Every later line is a list of [`Attempt`]s, answered by a list of booleans. At the end of its input it
//! takes its addresses and routes off and ends.

use std::{
    io::{BufRead as _, BufReader, Lines, Write as _, stdin, stdout},
    net::{IpAddr, SocketAddr, TcpListener, UdpSocket},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use socket2::{Domain, Socket, Type};

use super::probe::{QUESTION, Transport};

/// What it is to be.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct World {
    /// Addresses that it takes.
    pub addresses: Vec<IpAddr>,
    /// Where it listens.
    pub serves: Vec<(Transport, SocketAddr)>,
    /// How networks of the cluster are reached: `(network, by which node)`.
    pub routes: Vec<(String, IpAddr)>,
}

/// A way to try.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Attempt {
    /// By what.
    pub transport: Transport,
    /// From which of its addresses.
    pub from: IpAddr,
    /// Where to.
    pub to: SocketAddr,
}

/// How long an answer may take: the second attempt of TCP falls within.
const TIMEOUT: Duration = Duration::from_millis(2_500);
/// What it says when it has its addresses and listens.
const READY: &str = "ready";

/// The process, seen from the tests. It ends when this is dropped.
pub struct Outsider {
    child: Child,
    input: Option<ChildStdin>,
    output: Lines<BufReader<ChildStdout>>,
}

impl Outsider {
    /// Starts it by the user's command.
    pub fn start(before: &str, world: &World) -> Result<Self> {
        let itself = std::env::current_exe().context("this program's own place is not known")?;
        // What the user gave is words for a shell; this program's place is one word.
        let command = format!("exec {before} \"$0\" e2e-outsider");
        let mut child = Command::new("sh")
            .args(["-c", &command])
            .arg(&itself)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run `{command}`"))?;
        let input = child.stdin.take();
        let output = child.stdout.take().context("a pipe")?;
        let mut outsider = Self {
            child,
            input,
            output: BufReader::new(output).lines(),
        };
        let answer = outsider.ask(&serde_json::to_string(world)?)?;
        ensure!(answer == READY, "`{command}` says {answer:?}");
        Ok(outsider)
    }

    /// Tries all at once; which of them connected.
    pub fn connect(&mut self, attempts: &[Attempt]) -> Result<Vec<bool>> {
        let answer = self.ask(&serde_json::to_string(attempts)?)?;
        serde_json::from_str(&answer).with_context(|| format!("it answers {answer:?}"))
    }

    fn ask(&mut self, line: &str) -> Result<String> {
        let input = self.input.as_mut().context("it has been told to end")?;
        writeln!(input, "{line}").context("the process outside does not listen")?;
        let answer = self.output.next();
        answer
            .context("the process outside ended; its own words are above")?
            .context("the process outside cannot be heard")
    }
}

impl Drop for Outsider {
    fn drop(&mut self) {
        // Its lifeline: it cleans up and ends.
        drop(self.input.take());
        drop(self.child.wait());
    }
}

/// Runs the verb.
pub fn run() -> Result<()> {
    let mut lines = stdin().lines();
    let world = lines.next().context("nobody says what to be")??;
    let world: World = serde_json::from_str(&world)?;
    let mut taken = Taken::default();
    for address in &world.addresses {
        taken.take(&["addr", "add", &single(*address), "dev", "lo"])?;
    }
    for (network, node) in &world.routes {
        taken.take(&["route", "add", network, "via", &node.to_string()])?;
    }
    for &(transport, address) in &world.serves {
        serve(transport, address)
            .with_context(|| format!("cannot listen at {address}/{transport}"))?;
    }
    answer(READY)?;
    for line in lines {
        let attempts: Vec<Attempt> = serde_json::from_str(&line?)?;
        let tries: Vec<_> = attempts
            .into_iter()
            .map(|attempt| thread::spawn(move || reach(attempt).is_ok()))
            .collect();
        let reached: Vec<bool> = tries
            .into_iter()
            .map(|it| it.join().unwrap_or(false))
            .collect();
        answer(&serde_json::to_string(&reached)?)?;
    }
    Ok(())
}

fn answer(line: &str) -> Result<()> {
    let mut out = stdout();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

fn single(address: IpAddr) -> String {
    let bits = if address.is_ipv4() { 32 } else { 128 };
    format!("{address}/{bits}")
}

fn serve(transport: Transport, address: SocketAddr) -> Result<()> {
    match transport {
        Transport::Tcp => {
            let listener = TcpListener::bind(address)?;
            // Who is let in has been answered by that.
            thread::spawn(move || listener.incoming().for_each(drop));
        }
        Transport::Udp => {
            let socket = UdpSocket::bind(address)?;
            thread::spawn(move || {
                let mut datagram = [0; 64];
                // What came back for an earlier answer is an error of this socket.
                loop {
                    if let Ok((length, peer)) = socket.recv_from(&mut datagram) {
                        drop(socket.send_to(&datagram[..length], peer));
                    }
                }
            });
        }
    }
    Ok(())
}

fn reach(attempt: Attempt) -> Result<()> {
    let own = SocketAddr::new(attempt.from, 0);
    match attempt.transport {
        Transport::Tcp => {
            let socket = Socket::new(Domain::for_address(attempt.to), Type::STREAM, None)?;
            socket.bind(&own.into())?;
            socket.connect_timeout(&attempt.to.into(), TIMEOUT)?;
        }
        Transport::Udp => {
            let socket = UdpSocket::bind(own)?;
            socket.connect(attempt.to)?;
            socket.set_read_timeout(Some(TIMEOUT))?;
            socket.send(QUESTION.as_bytes())?;
            socket.recv(&mut [0; 64])?;
        }
    }
    Ok(())
}

/// What `ip` has added, and takes away at the end.
#[derive(Default)]
struct Taken(Vec<Vec<String>>);

impl Taken {
    fn take(&mut self, words: &[&str]) -> Result<()> {
        let output = Command::new("ip")
            .args(words)
            .output()
            .context("cannot run ip (package iproute2)")?;
        let errors = String::from_utf8_lossy(&output.stderr);
        // A route that is there already leads there already; an address is somebody's.
        if !output.status.success() {
            if words.first() == Some(&"route") && errors.contains("File exists") {
                return Ok(());
            }
            bail!("ip {}: {}", words.join(" "), errors.trim());
        }
        self.0.push(words.iter().map(|&it| it.to_owned()).collect());
        Ok(())
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        for words in self.0.iter_mut().rev() {
            if let Some(verb) = words.get_mut(1) {
                "del".clone_into(verb);
            }
            // It may be gone with the device.
            drop(Command::new("ip").args(&*words).output());
        }
    }
}
