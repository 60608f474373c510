//! A kernel made of plain values, and an agent that runs on it.

use std::{
    collections::BTreeSet,
    path::Path,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use clap::Parser as _;
use ringfence_agent::{
    args::{Args, Verb},
    compile::Desired,
    config::Config,
    dataplane::{
        Applied, ConnectionView, Counters, EndpointView, EventView, Kernel, KernelError,
        ObjectView, ProgramView,
    },
    locate::World,
    model::HostDevice,
    run::{self, Parts},
};
use ringfence_common::{
    Direction, Hook,
    cell::{RuleId, Tier, Verdict},
    event::Reason,
};
use tokio::{
    sync::{oneshot, watch},
    task::JoinHandle,
};

/// What the test can see and change of the kernel.
#[derive(Default)]
pub struct Inner {
    pub applied: Vec<Desired>,
    pub refuse: bool,
    pub guarded: BTreeSet<HostDevice>,
    pub connections: Vec<ConnectionView>,
    pub events: Vec<EventView>,
}

/// A kernel made of plain values.
#[derive(Clone, Default)]
pub struct FakeKernel(Arc<Mutex<Inner>>);

impl FakeKernel {
    pub fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }
}

impl Kernel for FakeKernel {
    fn apply(&mut self, desired: &Desired) -> Result<Applied, KernelError> {
        let mut inner = self.inner();
        if inner.refuse {
            return Err(KernelError::Full {
                map: "CELLS",
                needed: 9,
                limit: 8,
                flag: "--cell-entries",
            });
        }
        inner.applied.push(desired.clone());
        Ok(Applied {
            revision: inner.applied.len() as u64,
            operations: 1,
            endpoints: 1,
            in_force: Duration::ZERO,
        })
    }

    fn guard(&mut self, devices: &BTreeSet<HostDevice>) -> Result<(), KernelError> {
        self.inner().guarded.clone_from(devices);
        Ok(())
    }

    fn is_stale(&mut self, _desired: &Desired) -> bool {
        false
    }

    fn endpoints(&self) -> Result<Vec<EndpointView>, KernelError> {
        Ok(vec![EndpointView {
            id: 3,
            pod: "shop/web".to_owned(),
            ifindex: 1,
            addresses: vec!["10.0.0.7".parse().unwrap()],
            hardware_address: Some([2, 0, 0, 0, 0, 7]),
            generation: 12,
            ingress_isolated: true,
            egress_isolated: false,
            metadata_granted: false,
            metadata_endpoints: Vec::new(),
        }])
    }

    fn connections(&self) -> Result<Vec<ConnectionView>, KernelError> {
        Ok(self.inner().connections.clone())
    }

    fn flush(&mut self, doomed: &dyn Fn(&ConnectionView) -> bool) -> Result<usize, KernelError> {
        let mut inner = self.inner();
        let before = inner.connections.len();
        inner.connections.retain(|connection| !doomed(connection));
        Ok(before - inner.connections.len())
    }

    fn counters(&self) -> Result<Counters, KernelError> {
        Ok(Counters {
            packets: vec![(Hook::ToPod, Reason::Policy, Verdict::Deny, 7)],
            denied_bytes: vec![(Hook::ToPod, Reason::Policy, 420)],
            lost_events: 2,
            ..Counters::default()
        })
    }

    fn objects(&self) -> Result<Vec<ObjectView>, KernelError> {
        Ok(vec![ObjectView {
            pin: "/sys/fs/bpf/ringfence/v1/maps/CELLS".to_owned(),
            kind: "map",
            object_type: "array".to_owned(),
            id: 118,
            entries: Some(96),
            max_entries: 1024,
            memory: Some(9000),
        }])
    }

    fn programs(&self) -> Result<Vec<ProgramView>, KernelError> {
        Ok(vec![ProgramView {
            name: "to_pod",
            hook: Hook::ToPod,
            attached: Some(true),
            runs: Some((9, Duration::from_millis(3))),
        }])
    }

    fn rule(&self, id: RuleId) -> Option<String> {
        (id == 17).then(|| "NetworkPolicy/db/mysql".to_owned())
    }

    fn endpoint(&self, id: u32) -> Option<String> {
        (id == 3).then(|| "shop/web".to_owned())
    }

    fn events(&mut self) -> Vec<EventView> {
        std::mem::take(&mut self.inner().events)
    }
}

/// A denial at the door of db/mysql-0.
pub fn denial(source: &str, port: u16) -> EventView {
    EventView {
        time: std::time::SystemTime::UNIX_EPOCH,
        hook: Hook::ToPod,
        verdict: Verdict::Deny,
        staged: Verdict::Deny,
        reason: Reason::Policy,
        tier: Some(Tier::NetworkPolicy),
        rule: Some("NetworkPolicy/db/mysql".to_owned()),
        endpoint: Some("db/mysql-0".to_owned()),
        ifindex: 7,
        source: source.parse().unwrap(),
        destination: "10.0.0.9".parse().unwrap(),
        source_port: 40_000,
        destination_port: port,
        protocol: 6,
        length: 60,
    }
}

/// A connection from the pod 10.0.0.7.
pub fn connection(remote: &str, port: u16) -> ConnectionView {
    ConnectionView {
        local: "10.0.0.7".parse().unwrap(),
        local_port: 40_000,
        remote: remote.parse().unwrap(),
        remote_port: port,
        protocol: 6,
        direction: Direction::Egress,
        verdict: Verdict::Allow,
        rule: 17,
        own_node: false,
        adopted: false,
        deferred: false,
        after_translation: false,
        replied: true,
        idle_seconds: 4,
    }
}

/// An agent that runs.
pub struct Agent {
    pub kernel: FakeKernel,
    pub world: watch::Sender<Arc<World>>,
    stop: Option<oneshot::Sender<()>>,
    running: JoinHandle<anyhow::Result<()>>,
}

impl Agent {
    /// Starts one in `run_dir` and waits until its socket is there.
    pub async fn start(run_dir: &Path, http: &str) -> Self {
        Self::start_with(run_dir, http, &[]).await
    }

    /// The same, with more flags.
    pub async fn start_with(run_dir: &Path, http: &str, more: &[&str]) -> Self {
        let words = [
            "ringfence",
            "agent",
            "--manifests",
            "x",
            "--http",
            http,
            "--node",
            "w3",
            "--run-dir",
        ];
        let words = words
            .iter()
            .map(std::ffi::OsStr::new)
            .chain([run_dir.as_os_str()])
            .chain(more.iter().map(std::ffi::OsStr::new));
        let config = match Args::try_parse_from(words).unwrap().verb {
            Verb::Agent(args) => Config::new(*args).unwrap(),
            other => panic!("{other:?}"),
        };
        let kernel = FakeKernel::default();
        let owned = kernel.clone();
        let (world, receiver) = watch::channel(Arc::new(World::default()));
        let parts = Parts {
            world: receiver,
            source: Box::pin(std::future::pending()),
            health: Arc::default(),
            compile: Arc::new(|snapshot| {
                let rules = snapshot.policies.keys().map(ToString::to_string).collect();
                (
                    Desired {
                        rules,
                        ..Desired::default()
                    },
                    Vec::new(),
                )
            }),
            open: Box::new(|| Ok(Box::new(owned))),
            tell: None,
            status: None,
        };
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(run::run_until(config, parts, async {
            stopped.await.unwrap();
            "the test"
        }));
        let socket = run_dir.join("agent.sock");
        while tokio::net::UnixStream::connect(&socket).await.is_err() {
            assert!(
                !running.is_finished(),
                "the agent has ended: {:?}",
                running.await
            );
            tokio::task::yield_now().await;
        }
        Self {
            kernel,
            world,
            stop: Some(stop),
            running,
        }
    }

    /// Stops it as a signal would.
    pub async fn stop(mut self) {
        self.stop.take().unwrap().send(()).unwrap();
        self.running.await.unwrap().unwrap();
    }
}
