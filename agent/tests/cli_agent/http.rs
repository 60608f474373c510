//! Who may take what of the agent over its TCP port.

use std::time::Duration;

use tokio::{io::AsyncReadExt as _, net::TcpStream, time::timeout};

use crate::{common::Agent, eventually, http, text, world};

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

/// A pod's start is only then held back when the runtime asks: without that, `--nri on` is not fulfilled.
#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_must_be_asked_is_not_ready_before() {
    let directory = tempfile::tempdir().unwrap();
    let run_dir = directory.path();
    let socket = run_dir.join("nri.sock").display().to_string();
    for (mode, ready) in [("on", false), ("auto", true)] {
        let run_dir = run_dir.join(mode);
        std::fs::create_dir(&run_dir).unwrap();
        let flags = ["--nri", mode, "--nri-socket", &socket];
        let agent = Agent::start_with(&run_dir, "127.0.0.1:0", &flags).await;
        agent.world.send_replace(world("one"));
        let status = eventually(&run_dir, &["status", "-o", "json"], |status| {
            let faults = status["notReady"].as_array().unwrap();
            status["revision"] == 1
                && faults.len() == usize::from(!ready)
                && (ready || status["diagnostics"][0]["object"] == "nri")
        })
        .await;
        assert_eq!(status["ready"], ready);
        let answer = http(status["http"].as_str().unwrap(), "/readyz?verbose").await;
        let expect = if ready { "200" } else { "503" };
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {expect}")),
            "{answer}"
        );
        if !ready {
            let fault = status["notReady"][0].as_str().unwrap();
            assert!(
                fault.starts_with("the container runtime asks") && fault.contains(&socket),
                "{fault}"
            );
            assert!(
                answer.contains("[-] the container runtime asks"),
                "{answer}"
            );
            assert!(!answer.contains(&socket), "{answer}");
        }
        agent.stop().await;
    }
}

/// Whoever reaches the port is told that something is wrong and how much, and not with what.
#[tokio::test(flavor = "multi_thread")]
async fn probes_on_the_port_name_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let run_dir = directory.path();
    let agent = Agent::start(run_dir, "127.0.0.1:0").await;
    agent.kernel.inner().refuse = true;
    agent.world.send_replace(world("secret-project"));
    let status = eventually(run_dir, &["status", "-o", "json"], |status| {
        status["refused"].is_string()
    })
    .await;
    let answer = http(status["http"].as_str().unwrap(), "/readyz?verbose").await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(
        answer.contains("[-] the latest state is in force: the kernel does not take it")
            && answer.contains("[!] problems: 1\n"),
        "{answer}"
    );
    assert!(!answer.contains("CELLS"), "{answer}");
    let answer = text(run_dir, &["status"]).await;
    assert!(
        answer.contains("the latest state is in force: map CELLS"),
        "{answer}"
    );
    agent.stop().await;
}
