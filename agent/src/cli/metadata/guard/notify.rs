//! Telling the service manager that a service has come up (`sd_notify(3)`): one datagram.

use std::{
    env,
    ffi::OsStr,
    io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            ffi::OsStrExt as _,
            net::{SocketAddr, UnixDatagram},
        },
    },
};

/// Says so, if anybody asked to be told.
pub(super) fn ready() {
    if let Some(socket) = env::var_os("NOTIFY_SOCKET").filter(|socket| !socket.is_empty())
        && let Err(error) = send(&socket, b"READY=1")
    {
        tracing::warn!(%error, ?socket, "the service manager cannot be told that everything stands");
    }
}

fn send(socket: &OsStr, word: &[u8]) -> io::Result<()> {
    let address = match socket.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(socket)?,
    };
    UnixDatagram::unbound()?.send_to_addr(word, &address)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_arrives_at_files_and_at_abstract_sockets() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("notify");
        let abstract_name = format!("ringfence-notify-{}", std::process::id());
        let name = SocketAddr::from_abstract_name(&abstract_name).unwrap();
        for (receiver, to) in [
            (UnixDatagram::bind(&file).unwrap(), file.into_os_string()),
            (
                UnixDatagram::bind_addr(&name).unwrap(),
                format!("@{abstract_name}").into(),
            ),
        ] {
            send(&to, b"READY=1").unwrap();
            let mut buffer = [0; 32];
            let length = receiver.recv(&mut buffer).unwrap();
            assert_eq!(&buffer[..length], b"READY=1");
        }
    }
}
