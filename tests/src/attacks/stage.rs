//! A place with an agent in it, or without, and the judge: what techniques act on.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use super::{
    Options,
    balancer::Balancer,
    columns::Column,
    judge::{Attempt, Judge},
    launch::{self, Attacker, Call, Rights, Running, Told},
    place::{Family, NAT64_PREFIX, PODS, Place, SERVICE, addresses},
    standins::StandIns,
};
use crate::agent::{Agent, get};

/// Addresses that socket load balancers make the service's: attached above the agent's cgroup, at it before the agent, at it
/// after the agent, and at the pod's own.
pub const BALANCED: [(&str, u8); 4] = [("above", 1), ("before", 2), ("after", 3), ("below", 4)];

/// What one technique tried in one family.
#[derive(Debug, Default)]
pub struct Tried {
    /// Its attempts.
    pub attempts: Vec<Attempt>,
    /// What the kernel said to each.
    pub told: Vec<Told>,
    /// What reached the attacker's goal where that is not the service: in words.
    pub otherwise: Vec<String>,
}

impl Tried {
    /// Waits until each attempt has arrived, or the attacker has what it wants otherwise.
    pub fn awaited(&self, judge: &Judge, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline {
            if !self.otherwise.is_empty() {
                return true;
            }
            if self
                .attempts
                .iter()
                .all(|it| !judge.arrivals(*it).is_empty())
            {
                return true;
            }
            thread::sleep(Duration::from_millis(5));
        }
        false
    }

    /// True if the kernel has no means for it.
    #[must_use]
    pub fn is_unsupported(&self) -> bool {
        !self.told.is_empty()
            && self
                .told
                .iter()
                .all(|told| matches!(told, Told::Unsupported(_)))
    }
}

/// Packets denied, by hook and reason.
pub type Counters = BTreeMap<(String, String), u64>;

/// A place with everything in it.
pub struct Stage {
    /// The attack program, where every user finds it.
    program: tempfile::TempDir,
    /// The agent, running or not.
    pub agent: Option<Agent>,
    /// Connections from before the agent.
    pub held: Vec<(Family, Attempt, Running)>,
    /// Attached socket load balancers.
    pub balancers: Vec<Balancer>,
    _standins: StandIns,
    /// The judge.
    pub judge: Judge,
    /// The lab.
    pub place: Place,
    /// Pods that the manifests have, with or without a grant: name, whose addresses, granted.
    pub pods: Vec<(String, String, bool)>,
}

impl Stage {
    /// Builds the place, does what is to be done before the agent, starts it.
    pub fn up(options: &Options, column: Column) -> Result<Self> {
        let place = Place::up("attack")?;
        let granted: Vec<_> = PODS
            .iter()
            .filter(|(_, granted)| *granted)
            .flat_map(|(pod, _)| addresses(pod))
            .collect();
        let judge = Judge::new(&place.netns("outside"), granted)?;
        let standins = StandIns::start(&place.node())?;
        let pods = PODS
            .iter()
            .map(|(pod, granted)| ((*pod).to_owned(), (*pod).to_owned(), *granted))
            .collect();
        let mut stage = Self {
            program: launch::program(&options.program)?,
            agent: None,
            held: Vec::new(),
            balancers: Vec::new(),
            _standins: standins,
            judge,
            place,
            pods,
        };
        stage.hold(options)?;
        let root = stage.place.pods_cgroup()?;
        stage.balance("above", &stage.place.outer_cgroup()?)?;
        stage.balance("before", &root)?;
        if column != Column::None {
            stage.protect(column)?;
        }
        stage.balance("after", &root)?;
        stage.balance("below", &stage.place.cgroup("b")?)?;
        Ok(stage)
    }

    /// Takes it all down.
    pub fn down(self) -> Result<()> {
        let Self {
            agent, place, held, ..
        } = self;
        drop(held);
        drop(agent);
        place.lab.down()
    }

    /// Connects before there is an agent.
    fn hold(&mut self, options: &Options) -> Result<()> {
        if !options
            .techniques()
            .any(|it| it.name.starts_with("before-attach"))
        {
            return Ok(());
        }
        let attacker = Attacker::pod(&self.place, "b", Rights::Unprivileged)?;
        for &family in Family::BOTH {
            for technique in ["tcp-held", "udp-held"] {
                let (attempt, running) = self
                    .held_now(&attacker, family, technique)?
                    .with_context(|| format!("{technique} does not come up without an agent"))?;
                self.held.push((family, attempt, running));
            }
        }
        Ok(())
    }

    fn balance(&mut self, name: &str, cgroup: &Path) -> Result<()> {
        let balancer = Balancer::attach(cgroup, balanced(name), [SERVICE[0], SERVICE[1]])?;
        self.balancers.push(balancer);
        Ok(())
    }

    fn protect(&mut self, column: Column) -> Result<()> {
        let root = self.place.pods_cgroup()?.display().to_string();
        let mut more = vec!["--cgroup-root".to_owned(), root];
        more.extend(["--nat64-prefix".to_owned(), NAT64_PREFIX.to_owned()]);
        if let Column::Only(layer) = column {
            more.extend(["--metadata-layers".to_owned(), layer.to_owned()]);
        }
        let more: Vec<&str> = more.iter().map(String::as_str).collect();
        let agent = Agent::start(&self.place.lab, &self.manifests(), &more);
        self.agent = Some(agent);
        Ok(())
    }

    /// Puts the manifests in force as the pods are now.
    pub fn apply(&self) {
        if let Some(agent) = &self.agent {
            let revision = agent.revision();
            agent.edit("manifests.yaml", &self.manifests());
            agent.wait_beyond(revision);
        }
    }

    pub(super) fn program(&self) -> PathBuf {
        self.program.path().join("ringfence-attack")
    }

    /// Runs the attack program once, and notes what became of it.
    pub fn attack(
        &self,
        tried: &mut Tried,
        attacker: &Attacker,
        family: Family,
        call: &Call,
    ) -> Result<()> {
        let attempt = self.judge.begin();
        let running = Running::start(&self.program(), attacker, family, attempt, call)?;
        tried.attempts.push(attempt);
        tried.told.push(running.finish()?);
        Ok(())
    }

    /// Starts an attack that holds a connection; `None` if none comes up.
    pub fn held_now(
        &self,
        attacker: &Attacker,
        family: Family,
        technique: &str,
    ) -> Result<Option<(Attempt, Running)>> {
        let attempt = self.judge.prepare();
        let call = Call::new(technique);
        let mut running = Running::start(&self.program(), attacker, family, attempt, &call)?;
        Ok(running.held()?.is_none().then_some((attempt, running)))
    }

    /// Has a held connection say something. Only that counts: how the connection came up is no news.
    pub fn let_go(&self, tried: &mut Tried, attempt: Attempt, mut running: Running) -> Result<()> {
        self.judge.resume(attempt);
        let before = self.judge.arrivals(attempt).len();
        running.go_on()?;
        tried.told.push(running.finish()?);
        self.judge.fence(&self.place.node())?;
        let after: Vec<_> = self
            .judge
            .arrivals(attempt)
            .into_iter()
            .skip(before)
            .collect();
        let said = after.iter().find(|arrival| arrival.token.is_some());
        tried
            .otherwise
            .extend(said.map(|arrival| format!("{arrival:?}")));
        Ok(())
    }

    /// Gives a pod a grant or takes it, and waits until that is in force.
    pub fn grant(&mut self, pod: &str, granted: bool) {
        let mut changed = false;
        for (_, _, its) in self.pods.iter_mut().filter(|(name, _, _)| name == pod) {
            changed |= *its != granted;
            *its = granted;
        }
        if changed {
            self.apply();
        }
    }

    /// Waits until the agent guards the way out by a device, if there is an agent.
    pub fn guards(&self, device: &str, program: &str) -> Result<()> {
        let link = self
            .place
            .on_node(&format!("ip -o link show dev {device}"))?;
        let pin = format!("{}-{program}", link.split(':').next().unwrap_or_default());
        let Some(agent) = &self.agent else {
            return Ok(());
        };
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let shown = agent.ringfence(&["bpf", "show"]);
            if String::from_utf8_lossy(&shown.stdout).contains(&pin) {
                return Ok(());
            }
            if Instant::now() > deadline {
                anyhow::bail!("the agent does not guard {device}");
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// What the agent has denied so far; empty without one.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let text = self
            .agent
            .as_ref()
            .and_then(|agent| get(&agent.run_dir(), "/metrics"))
            .unwrap_or_default();
        text.lines()
            .filter_map(|line| line.strip_prefix("ringfence_packets_total{"))
            .filter_map(|line| {
                let (labels, value) = line.split_once("} ")?;
                let label = |name: &str| {
                    let rest = labels.split(&format!("{name}=\"")).nth(1)?;
                    rest.split('"').next().map(str::to_owned)
                };
                (label("verdict")? == "denied").then_some(())?;
                let value = value.split(' ').next()?.parse().ok()?;
                Some(((label("hook")?, label("reason")?), value))
            })
            .collect()
    }

    /// Who denied something since then: `hook: reason`.
    #[must_use]
    pub fn counted_since(&self, before: &Counters) -> Vec<String> {
        self.counters()
            .into_iter()
            .filter(|(key, value)| before.get(key).copied().unwrap_or(0) < *value)
            .map(|((hook, reason), _)| format!("{hook}: {reason}"))
            .collect()
    }
}

/// The family of an address.
#[must_use]
pub const fn family_of(address: std::net::IpAddr) -> Family {
    if address.is_ipv4() {
        Family::V4
    } else {
        Family::V6
    }
}

/// The addresses that a load balancer makes the service's.
#[must_use]
pub fn balanced(name: &str) -> [std::net::IpAddr; 2] {
    let number = BALANCED
        .iter()
        .find_map(|(known, number)| (*known == name).then_some(*number))
        .unwrap_or_default();
    [
        [198, 18, 0, number].into(),
        [0x2001, 0xdb8, 0x18, 0, 0, 0, 0, u16::from(number)].into(),
    ]
}
