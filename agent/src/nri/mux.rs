//! Two connections over one socket, as NRI has it: each frame is the connection's number and a length, both 32 bits in
//! network order, and that many bytes. On one the plugin serves, on the other the runtime.

use std::{collections::BTreeMap, io, pin::pin};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadHalf, WriteHalf, duplex, split},
    net::UnixStream,
    sync::mpsc,
    task::JoinSet,
};

/// Number of the connection on which the plugin serves.
pub const PLUGIN: u32 = 1;
/// Number of the connection on which the runtime serves.
pub const RUNTIME: u32 = 2;

/// Largest frame that is read: the largest message of ttrpc with its header.
const LARGEST: u32 = (4 << 20) + 10;
/// Largest frame that is written: the other side reads frames whole, into a buffer of this size.
const CHUNK: usize = 4096;
/// Bytes that wait for whoever reads a connection.
const WAITING: usize = 256 << 10;

/// The two connections.
#[derive(Debug)]
pub struct Connections {
    /// The one on which the plugin serves.
    pub plugin: DuplexStream,
    /// The one on which the runtime serves.
    pub runtime: DuplexStream,
}

/// Divides a socket. The future carries the bytes until the socket or a connection ends, and what was written before that
/// too.
pub fn divide(trunk: UnixStream) -> (Connections, impl Future<Output = io::Result<()>> + Send) {
    let (plugin, plugin_end) = duplex(WAITING);
    let (runtime, runtime_end) = duplex(WAITING);
    let carry = carry(trunk, [(PLUGIN, plugin_end), (RUNTIME, runtime_end)]);
    (Connections { plugin, runtime }, carry)
}

async fn carry(trunk: UnixStream, ends: [(u32, DuplexStream); 2]) -> io::Result<()> {
    let (reader, mut writer) = trunk.into_split();
    let (frames, mut queue) = mpsc::channel::<Vec<u8>>(1);
    let mut incoming = BTreeMap::new();
    let mut tasks = JoinSet::new();
    for (number, end) in ends {
        let (out, into) = split(end);
        incoming.insert(number, into);
        tasks.spawn(frame(number, out, frames.clone()));
    }
    drop(frames);
    tasks.spawn(unframe(reader, incoming));
    let mut write = pin!(async move {
        while let Some(frame) = queue.recv().await {
            writer.write_all(&frame).await?;
        }
        Ok(())
    });
    // What ends first ends all: half a trunk is of no use.
    let ended = tokio::select! {
        ended = tasks.join_next() => ended,
        written = &mut write => return written,
    };
    tasks.shutdown().await;
    let written = write.await;
    match ended {
        Some(Ok(result)) => result.and(written),
        Some(Err(error)) => Err(io::Error::other(error)),
        None => written,
    }
}

/// Puts what is written to a connection into frames.
async fn frame(
    number: u32,
    mut from: ReadHalf<DuplexStream>,
    frames: mpsc::Sender<Vec<u8>>,
) -> io::Result<()> {
    let mut bytes = vec![0; CHUNK];
    loop {
        let length = from.read(&mut bytes).await?;
        if length == 0 {
            return Ok(());
        }
        let mut frame = Vec::with_capacity(8 + length);
        frame.extend(number.to_be_bytes());
        frame.extend(
            u32::try_from(length)
                .map_err(io::Error::other)?
                .to_be_bytes(),
        );
        frame.extend(&bytes[..length]);
        if frames.send(frame).await.is_err() {
            return Ok(());
        }
    }
}

/// Hands what is in frames to their connections; frames of others are passed over.
async fn unframe(
    mut from: impl tokio::io::AsyncRead + Unpin,
    mut to: BTreeMap<u32, WriteHalf<DuplexStream>>,
) -> io::Result<()> {
    loop {
        let number = match from.read_u32().await {
            Ok(number) => number,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error),
        };
        let length = from.read_u32().await?;
        if length > LARGEST {
            let message = format!("a frame of {length} bytes; at most {LARGEST} are allowed");
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        let mut bytes = vec![0; length as usize];
        from.read_exact(&mut bytes).await?;
        if let Some(to) = to.get_mut(&number) {
            to.write_all(&bytes).await?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn both_connections_carry_both_ways_and_end_together() {
        let (near, far) = UnixStream::pair().unwrap();
        let (mut near, near_carries) = divide(near);
        let (mut far, far_carries) = divide(far);
        let near_ends = tokio::spawn(near_carries);
        let far_ends = tokio::spawn(far_carries);

        let long = vec![7; 100_000];
        near.plugin.write_all(&long).await.unwrap();
        far.runtime.write_all(b"second").await.unwrap();
        let mut read = vec![0; long.len()];
        far.plugin.read_exact(&mut read).await.unwrap();
        assert_eq!(read, long);
        let mut read = [0; 6];
        near.runtime.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"second");

        drop(far);
        far_ends.await.unwrap().unwrap();
        near_ends.await.unwrap().unwrap();
        assert_eq!(near.plugin.read(&mut [0]).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn frames_of_others_are_passed_over_and_monstrous_ones_end_it() {
        let (mut raw, near) = UnixStream::pair().unwrap();
        let (mut near, carries) = divide(near);
        let ends = tokio::spawn(carries);
        raw.write_all(b"\0\0\0\x09\0\0\0\x03abc\0\0\0\x01\0\0\0\x02de")
            .await
            .unwrap();
        let mut read = [0; 2];
        near.plugin.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"de");
        near.runtime.write_all(b"fg").await.unwrap();
        let mut frame = [0; 10];
        raw.read_exact(&mut frame).await.unwrap();
        assert_eq!(&frame, b"\0\0\0\x02\0\0\0\x02fg");

        raw.write_all(b"\0\0\0\x01\xff\0\0\0").await.unwrap();
        assert!(ends.await.unwrap().is_err());
    }
}
