//! Who may take what of the agent over its TCP port.

use std::time::Duration;

use tokio::{io::AsyncReadExt as _, net::TcpStream, time::timeout};

use crate::{common::Agent, eventually, http};

/// A stranger opens connections and says nothing: the oldest are closed, and probes are answered all the while.
#[tokio::test(flavor = "multi_thread")]
async fn silent_connections_are_bounded_and_probes_answered() {
    let directory = tempfile::tempdir().unwrap();
    let agent = Agent::start(directory.path(), "127.0.0.1:0").await;
    let status = eventually(directory.path(), &["status", "-o", "json"], |status| {
        status["http"].is_string()
    })
    .await;
    let address = status["http"].as_str().unwrap();
    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    assert!(http(address, "/livez").await.starts_with("HTTP/1.1 200"));
    // Ends without a byte, or with a reset: either way it is gone.
    let mut byte = [0; 1];
    let said = timeout(Duration::from_mins(1), silent[0].read(&mut byte)).await;
    assert!(matches!(said, Ok(Ok(0) | Err(_))), "{said:?}");
    agent.stop().await;
}
