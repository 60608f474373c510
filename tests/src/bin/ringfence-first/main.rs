//! What a pod does first. Nothing here knows Ringfence.
//!
//! `ringfence-first PORT ADDRESS...` reads lines `NAME NETNS CGROUP`. For each it forks a process that joins the cgroup and the network
//! namespace, as a container runtime has it done, and then, before anything else, connects to each address and sends each a
//! datagram. Each says in one line what the kernel said: its name, and an error's number for each of these acts, 0 for none.
//! Whether anything arrived is for the server to say.
//!
//! **Invariant.** There is one thread, so that a fork may do whatever it likes.

use std::{
    fs::{self, File},
    io::{self, BufRead as _, Write as _},
    net::{IpAddr, SocketAddr},
    process::ExitCode,
};

use nix::{
    sched::{CloneFlags, setns},
    sys::wait::{WaitPidFlag, WaitStatus, waitpid},
    unistd::{ForkResult, fork},
};
use socket2::{Domain, Protocol, Socket, Type};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> io::Result<()> {
    let mut words = std::env::args().skip(1);
    let wrong = |error: &dyn std::fmt::Display| io::Error::other(format!("not so: {error}"));
    let port: u16 = words
        .next()
        .unwrap_or_default()
        .parse()
        .map_err(|error| wrong(&error))?;
    let mut to = Vec::new();
    for word in words {
        let address: IpAddr = word.parse().map_err(|error| wrong(&error))?;
        to.push(SocketAddr::new(address, port));
    }
    for line in io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split(' ').collect();
        let [name, netns, cgroup] = words[..] else {
            return Err(wrong(&line));
        };
        // SAFETY: there is one thread, which holds no lock that the child could need: the one on standard input is not used there.
        match unsafe { fork() }? {
            ForkResult::Parent { .. } => reap(WaitPidFlag::WNOHANG)?,
            ForkResult::Child => {
                let told = live(netns, cgroup, &to).unwrap_or_else(|error| error.to_string());
                // One write: lines of others are whole.
                io::stdout().write_all(format!("{name} {told}\n").as_bytes())?;
                return Ok(());
            }
        }
    }
    reap(WaitPidFlag::empty())
}

/// Takes note of children that have ended.
fn reap(how: WaitPidFlag) -> io::Result<()> {
    loop {
        match waitpid(None, Some(how)) {
            Ok(WaitStatus::StillAlive) | Err(nix::errno::Errno::ECHILD) => return Ok(()),
            Ok(_ended) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// What the runtime has a container do, and then what the container does.
fn live(netns: &str, cgroup: &str, to: &[SocketAddr]) -> io::Result<String> {
    fs::write(format!("{cgroup}/cgroup.procs"), "0")?;
    setns(File::open(netns)?, CloneFlags::CLONE_NEWNET)?;
    let mut told = Vec::new();
    for &address in to {
        told.push(number(connect(address)));
        told.push(number(send(address)));
    }
    Ok(told.join(" "))
}

fn connect(to: SocketAddr) -> io::Result<()> {
    let socket = Socket::new(
        Domain::for_address(to),
        Type::STREAM.nonblocking(),
        Some(Protocol::TCP),
    )?;
    match socket.connect(&to.into()) {
        // The question is on its way: nobody waits for the answer.
        Err(error) if error.raw_os_error() == Some(nix::errno::Errno::EINPROGRESS as i32) => Ok(()),
        done => done,
    }
}

fn send(to: SocketAddr) -> io::Result<()> {
    let socket = Socket::new(Domain::for_address(to), Type::DGRAM, Some(Protocol::UDP))?;
    socket.send_to(b"first", &to.into())?;
    Ok(())
}

fn number(done: io::Result<()>) -> String {
    let error = done.err();
    let number = error.map_or(0, |error| error.raw_os_error().unwrap_or(-1));
    number.to_string()
}
