//! Labs for tests: the binary that their processes run, and small ones made by hand.

use std::{
    env,
    net::IpAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use ringfence_agent::lab::{LabPod, LabSpec, OutsideHost, OutsidePort, wire::Transport};

/// How long a test waits for what must come to pass.
const LIMIT: Duration = Duration::from_secs(30);

/// The `ringfence` binary, as new as its sources: `RINGFENCE_BINARY`, else what cargo builds.
///
/// # Panics
///
/// If it does not build.
#[must_use]
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        env::var_os("RINGFENCE_BINARY")
            .map_or_else(build, |path| Ok(path.into()))
            .expect(
                "the tests need the ringfence binary; `cargo build -p ringfence-agent` must pass",
            )
    })
}

fn build() -> Result<PathBuf> {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args([
        "build",
        "--quiet",
        "--package",
        "ringfence-agent",
        "--bin",
        "ringfence",
    ]);
    cargo.args(["--message-format", "json-render-diagnostics"]);
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    let output = cargo
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo")?;
    let built = String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == "ringfence")
        .find_map(|message| message["executable"].as_str().map(PathBuf::from));
    match built {
        Some(path) if output.status.success() => Ok(path),
        _ => bail!("cargo built no ringfence ({})", output.status),
    }
}

/// A lab of pods in the namespace `t`, one per name, each with the given ports, and one host outside, `client`, that
/// serves port 80. Pod number N has the addresses 10.244.9.N and fd00:10:244:9::N, from 1.
#[must_use]
pub fn small(name: &str, pods: &[&str], ports: &[u16]) -> LabSpec {
    let pods = pods.iter().zip(1..).map(|(pod, number)| LabPod {
        namespace: "t".to_owned(),
        name: (*pod).to_owned(),
        netns: (*pod).to_owned(),
        cgroup: None,
        addresses: addresses(number).to_vec(),
        ports: ports.to_vec(),
    });
    LabSpec {
        name: LabSpec::unique_name(name),
        binary: binary().to_owned(),
        node: both("10.0.9.1", "fd00:9::1"),
        node_ports: Vec::new(),
        pods: pods.collect(),
        outside: vec![OutsideHost {
            name: "client".to_owned(),
            addresses: both("203.0.113.9", "2001:db8:9::9"),
            serves: vec![OutsidePort {
                protocol: Transport::Tcp,
                port: 80,
            }],
            only_answers: false,
        }],
    }
}

/// The addresses of pod number N of a [`small`] lab.
#[must_use]
pub fn addresses(number: u8) -> [IpAddr; 2] {
    [
        [10, 244, 9, number].into(),
        [0xfd00, 0x10, 0x244, 9, 0, 0, 0, u16::from(number)].into(),
    ]
}

fn both(v4: &str, v6: &str) -> Vec<IpAddr> {
    [v4, v6]
        .map(|address| address.parse().expect("an address"))
        .to_vec()
}

/// Asks again and again until something is so, or too long is over.
///
/// # Panics
///
/// If it does not come to pass.
pub fn eventually<T>(what: &str, ask: impl FnMut() -> Option<T>) -> T {
    within(LIMIT, Duration::ZERO, what, ask)
}

/// The same for what takes its time by design: an API server's start, a backoff's end. Asks less often.
///
/// # Panics
///
/// If it does not come to pass.
pub fn patiently<T>(what: &str, ask: impl FnMut() -> Option<T>) -> T {
    within(4 * LIMIT, Duration::from_millis(50), what, ask)
}

fn within<T>(
    limit: Duration,
    pause: Duration,
    what: &str,
    mut ask: impl FnMut() -> Option<T>,
) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = ask() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}: not within {limit:?}");
        // Yields the processor even without a pause.
        std::thread::sleep(pause);
    }
}
