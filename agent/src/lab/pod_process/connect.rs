//! One attempt to reach somebody.

use std::{
    io,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    time,
};

use crate::lab::wire::{Connect, Connected, Transport};

/// What is said; the answer is the server's name before it.
const QUESTION: &str = "who";

pub(super) async fn connect(wanted: &Connect) -> Connected {
    let start = Instant::now();
    let attempt = async {
        match wanted.protocol {
            Transport::Tcp => tcp(wanted).await,
            Transport::Udp => udp(wanted).await,
        }
    };
    let result = time::timeout(Duration::from_millis(wanted.timeout_ms), attempt).await;
    let ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
    let failed = |error, errno| Connected {
        ok: false,
        who: None,
        error: Some(error),
        errno,
        ms,
    };
    match result {
        Err(_) => failed("timeout".to_owned(), None),
        Ok(Err(error)) => failed(in_words(&error), error.raw_os_error()),
        Ok(Ok(answer)) => match answer.trim_end().strip_suffix(QUESTION) {
            Some(who) => Connected {
                ok: true,
                who: Some(who.trim_end().to_owned()),
                error: None,
                errno: None,
                ms,
            },
            None => failed(
                format!("closed, or an answer that is none: {answer:?}"),
                None,
            ),
        },
    }
}

async fn tcp(wanted: &Connect) -> io::Result<String> {
    let mut stream = super::tcp_to(wanted.from, wanted.destination()).await?;
    stream.write_all(format!("{QUESTION}\n").as_bytes()).await?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).await?;
    Ok(answer)
}

async fn udp(wanted: &Connect) -> io::Result<String> {
    let socket = super::udp_to(wanted.from, wanted.destination()).await?;
    socket.send(QUESTION.as_bytes()).await?;
    let mut buffer = [0; 512];
    let length = socket.recv(&mut buffer).await?;
    Ok(String::from_utf8_lossy(buffer.get(..length).unwrap_or_default()).into_owned())
}

fn in_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "refused".to_owned(),
        io::ErrorKind::ConnectionReset => "reset".to_owned(),
        io::ErrorKind::TimedOut => "timeout".to_owned(),
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            format!("unreachable ({error})")
        }
        io::ErrorKind::PermissionDenied
            if error.raw_os_error() == Some(nix::errno::Errno::EPERM as i32) =>
        {
            "denied (EPERM)".to_owned()
        }
        _ => error.to_string(),
    }
}
