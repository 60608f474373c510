//! The process that is a pod: holds its namespace and cgroup, serves its ports, and goes where it is told.
//!
//! It is the hidden verb `lab pod`. Its first line of standard input is its [`ProcessConfig`]; when everything
//! listens it says `ready`. From then on standard input is its lifeline: at the end of it the process
//! ends, however its parent went, unless the word `keep` came first.

mod connect;
mod serve;
mod stream;

use std::{io, net::SocketAddr, path::Path, sync::Arc, thread};

use anyhow::{Context as _, Result, bail};
use futures::{StreamExt as _, stream::iter};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpSocket, UdpSocket, UnixListener, UnixStream},
    runtime,
};

use super::{
    cgroup, netns,
    wire::{AT_ONCE, Command, Connect, Listen, ProcessConfig, Refusal, Transport},
};

/// What the process says when everything listens.
pub(super) const READY: &str = "ready";
/// What it is told on standard input if it is to outlive its parent.
pub(super) const KEEP: &str = "keep";

/// Runs the verb, until the process is killed or its lifeline ends.
pub fn run() -> Result<()> {
    let mut line = String::new();
    io::stdin()
        .read_line(&mut line)
        .context("cannot read the configuration from standard input")?;
    let config: ProcessConfig =
        serde_json::from_str(&line).context("the configuration is not what is expected")?;
    thread::spawn(lifeline);
    // The network namespace is the thread's, and so it does not matter which threads the caller has.
    match thread::spawn(move || serve_all(&config)).join() {
        Ok(result) => result,
        Err(_) => bail!("the process's main thread panicked"),
    }
}

/// Ends the process when its parent ends.
fn lifeline() {
    let mut line = String::new();
    loop {
        line.clear();
        match io::stdin().read_line(&mut line) {
            Ok(0) | Err(_) => std::process::exit(0),
            Ok(_) if line.trim_end() == KEEP => return,
            Ok(_) => {}
        }
    }
}

fn serve_all(config: &ProcessConfig) -> Result<()> {
    // First the cgroup: hooks on it must see this process from its first socket on.
    cgroup::enter(&config.cgroup)?;
    netns::enter(&config.netns)?;
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the asynchronous runtime")?;
    runtime.block_on(async {
        let visits = Arc::new(serve::Visits::default());
        for listen in &config.listen {
            listen_on(listen, &visits).await?;
        }
        let control = UnixListener::bind(&config.control).with_context(|| {
            format!(
                "cannot make the control socket {}",
                config.control.display()
            )
        })?;
        println!("{READY}");
        obey(&control, &visits, &config.control).await
    })
}

async fn listen_on(listen: &Listen, visits: &Arc<serve::Visits>) -> Result<()> {
    let Listen {
        name,
        protocol,
        address,
        port,
    } = listen;
    let at = SocketAddr::new(*address, *port);
    match protocol {
        Transport::Tcp => {
            let listener = TcpListener::bind(at)
                .await
                .with_context(|| format!("{name} cannot listen on {at}/tcp"))?;
            tokio::spawn(serve::tcp(listener, name.clone(), at, Arc::clone(visits)));
        }
        Transport::Udp => {
            let socket = UdpSocket::bind(at)
                .await
                .with_context(|| format!("{name} cannot listen on {at}/udp"))?;
            tokio::spawn(serve::udp(socket, name.clone(), at, Arc::clone(visits)));
        }
    }
    Ok(())
}

async fn obey(control: &UnixListener, visits: &Arc<serve::Visits>, path: &Path) -> Result<()> {
    let streams = Arc::new(stream::Streams::default());
    loop {
        let (client, _) = control
            .accept()
            .await
            .with_context(|| format!("cannot accept on the control socket {}", path.display()))?;
        let (visits, streams) = (Arc::clone(visits), Arc::clone(&streams));
        tokio::spawn(async move {
            // A client that goes away takes only its own answer with it.
            drop(talk(client, &visits, &streams).await);
        });
    }
}

async fn talk(
    client: UnixStream,
    visits: &serve::Visits,
    streams: &stream::Streams,
) -> io::Result<()> {
    let (read, mut write) = client.into_split();
    let mut lines = BufReader::new(read).lines();
    while let Some(line) = lines.next_line().await? {
        let mut answer = match answer(&line, visits, streams).await {
            Ok(answer) => answer,
            Err(error) => serde_json::to_string(&Refusal {
                refusal: format!("{error:#}"),
            })?,
        };
        answer.push('\n');
        write.write_all(answer.as_bytes()).await?;
    }
    Ok(())
}

async fn answer(line: &str, visits: &serve::Visits, streams: &stream::Streams) -> Result<String> {
    let answer =
        match serde_json::from_str(line).with_context(|| format!("not a command: {line}"))? {
            Command::Connect(wanted) => serde_json::to_string(&connect::connect(&wanted).await),
            Command::ConnectAll { attempts } => {
                let answers: Vec<_> = iter(&attempts)
                    .map(connect::connect)
                    .buffered(AT_ONCE)
                    .collect()
                    .await;
                serde_json::to_string(&answers)
            }
            Command::Stream(wanted) => {
                streams.start(wanted).await?;
                Ok("{}".to_owned())
            }
            Command::Report { id } => serde_json::to_string(&streams.report(&id)?),
            Command::Stop { id } => serde_json::to_string(&streams.stop(&id).await?),
            Command::Served {} => serde_json::to_string(&visits.list()),
        };
    answer.context("the answer has no JSON form")
}

/// A TCP connection from a chosen source address.
async fn tcp_to(
    from: Option<std::net::IpAddr>,
    to: SocketAddr,
) -> io::Result<tokio::net::TcpStream> {
    let socket = if to.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    if let Some(from) = from {
        socket.bind(SocketAddr::new(from, 0))?;
    }
    socket.connect(to).await
}

/// A connected UDP socket from a chosen source address.
async fn udp_to(from: Option<std::net::IpAddr>, to: SocketAddr) -> io::Result<UdpSocket> {
    let any: std::net::IpAddr = if to.is_ipv4() {
        std::net::Ipv4Addr::UNSPECIFIED.into()
    } else {
        std::net::Ipv6Addr::UNSPECIFIED.into()
    };
    let socket = UdpSocket::bind(SocketAddr::new(from.unwrap_or(any), 0)).await?;
    socket.connect(to).await?;
    Ok(socket)
}

impl Connect {
    fn destination(&self) -> SocketAddr {
        SocketAddr::new(self.to, self.port)
    }
}
