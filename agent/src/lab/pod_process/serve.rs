//! What a pod's ports do: answer, and remember who came.

use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream, UdpSocket},
};

use crate::lab::wire::{ServedList, Transport, Visit};

/// How many visits are remembered.
const REMEMBERED: usize = 4096;
/// The largest datagram that is answered in full.
const DATAGRAM: usize = 2048;

/// Who came: the server's own word on whether a packet got through.
#[derive(Default)]
pub(super) struct Visits(Mutex<(VecDeque<Visit>, u64)>);

impl Visits {
    fn add(&self, visit: Visit) {
        let mut visits = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if visits.0.len() == REMEMBERED {
            visits.0.pop_front();
            visits.1 += 1;
        }
        visits.0.push_back(visit);
    }

    pub(super) fn list(&self) -> ServedList {
        let visits = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ServedList {
            visits: visits.0.iter().cloned().collect(),
            forgotten: visits.1,
        }
    }
}

/// Accepts connections and answers each line of them with the name and the line.
pub(super) async fn tcp(listener: TcpListener, name: String, at: SocketAddr, visits: Arc<Visits>) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                visits.add(Visit {
                    protocol: Transport::Tcp,
                    address: at.ip(),
                    port: at.port(),
                    peer: peer.ip(),
                });
                let name = name.clone();
                tokio::spawn(async move {
                    // A connection that breaks is the client's to report.
                    drop(converse(stream, &name).await);
                });
            }
            Err(error) => {
                eprintln!("{name} {at}: cannot accept: {error}");
                tokio::task::yield_now().await;
            }
        }
    }
}

async fn converse(stream: TcpStream, name: &str) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    let mut first = true;
    while let Some(line) = lines.next_line().await? {
        // So that `curl` and `wget` in the lab show something.
        if first && line.starts_with("GET ") {
            let answer = format!(
                "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{name}\n",
                name.len() + 1
            );
            write.write_all(answer.as_bytes()).await?;
            // Until the end of the request: closing earlier would reset the connection.
            while lines
                .next_line()
                .await?
                .is_some_and(|line| !line.is_empty())
            {}
            return write.shutdown().await;
        }
        first = false;
        write
            .write_all(format!("{name} {line}\n").as_bytes())
            .await?;
    }
    Ok(())
}

/// Answers each datagram with the name and its payload.
pub(super) async fn udp(socket: UdpSocket, name: String, at: SocketAddr, visits: Arc<Visits>) {
    let mut buffer = [0; DATAGRAM];
    loop {
        match socket.recv_from(&mut buffer).await {
            Ok((length, peer)) => {
                visits.add(Visit {
                    protocol: Transport::Udp,
                    address: at.ip(),
                    port: at.port(),
                    peer: peer.ip(),
                });
                let payload = buffer.get(..length).unwrap_or_default();
                let answer = [name.as_bytes(), b" ", payload].concat();
                if let Err(error) = socket.send_to(&answer, peer).await {
                    eprintln!("{name} {at}: cannot answer {peer}: {error}");
                }
            }
            // A port unreachable that came back for an earlier answer.
            Err(error) => eprintln!("{name} {at}: {error}"),
        }
    }
}
