//! A lab with an agent, and the step that is in force there.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr},
};

use anyhow::{Context as _, Result, ensure};
use ringfence_agent::{
    admin::api::{Endpoint, List},
    lab::{Actor, Lab},
};
use serde_json::Value;

use super::{
    Heard,
    fit::{Fit, MARKER},
    inject::Injector,
    sockets,
    translate::Translations,
};
use crate::{
    agent::{Agent, get},
    conformance::{case::Question, world::World},
    lab::eventually,
};

/// A lab with an agent.
pub struct Bed {
    injector: Injector,
    // Before the lab: it goes first.
    agent: Agent,
    lab: Lab,
    fit: Fit,
    step: u64,
    endpoints: BTreeMap<String, Endpoint>,
}

impl Bed {
    /// Makes the lab and starts the agent, with nothing but the marker to enforce.
    pub fn make(fit: &Fit) -> Result<Self> {
        let lab = Lab::up(&fit.lab())?;
        let agent = Agent::start(&lab, &marker(0), &[]);
        let injector = Injector::find(&lab)?;
        Ok(Self {
            injector,
            agent,
            lab,
            fit: fit.clone(),
            step: 0,
            endpoints: BTreeMap::new(),
        })
    }

    /// Brings a world into force.
    pub fn apply(&mut self, world: &World) -> Result<()> {
        self.step += 1;
        let wanted = address(self.step);
        self.agent
            .edit("manifests.yaml", &(marker(self.step) + &world.manifests()));
        self.endpoints = eventually(
            &format!("step {} is in force: {}", self.step, self.agent.said()),
            || {
                let endpoints = self.endpoints()?;
                let marker = endpoints.get(MARKER)?;
                marker.addresses.contains(&wanted).then_some(endpoints)
            },
        );
        let there = self.endpoints.keys().filter(|pod| *pod != MARKER);
        ensure!(
            there.eq(Fit::endpoints(world).iter()),
            "the agent enforces {:?}, the world has {:?}",
            self.endpoints.keys(),
            Fit::endpoints(world)
        );
        Ok(())
    }

    fn endpoints(&self) -> Option<BTreeMap<String, Endpoint>> {
        let answer = get(&self.agent.run_dir(), "/v1/endpoints")?;
        let (_, body) = answer.split_once("\r\n\r\n")?;
        let list: List<Endpoint> = serde_json::from_str(body).ok()?;
        Some(
            list.items
                .into_iter()
                .map(|endpoint| (endpoint.pod.clone(), endpoint))
                .collect(),
        )
    }

    /// Asks by real sockets.
    pub fn sockets<'a>(&self, questions: &[&'a Question]) -> Result<Vec<Heard<'a>>> {
        let node = self.lab.addresses(&Actor::Node)?;
        let translations = Translations::lay(&self.lab, node, questions)?;
        sockets::ask(&self.lab, &self.fit, &translations, questions)
    }

    /// What the agent remembers of the last packet like this that was denied, as words to add.
    pub fn last_denial(&self, question: &Question) -> String {
        let port = question.port.map_or(0, |(_, port)| port);
        let path = format!(
            "/v1/events?verdict=deny&from={}&to={}&port={port}",
            question.from.address, question.to.address
        );
        let answer = get(&self.agent.run_dir(), &path).unwrap_or_default();
        let body = answer.split_once("\r\n\r\n").unwrap_or_default().1;
        let last = body
            .lines()
            .last()
            .and_then(|line| serde_json::from_str(line).ok());
        last.map(|flow: Value| {
            format!(
                "; the kernel denied one for {}, by {}",
                flow["reason"], flow["rule"]["name"]
            )
        })
        .unwrap_or_default()
    }

    /// Asks by injected packets.
    pub fn inject<'a>(&mut self, questions: &[&'a Question]) -> Result<Vec<Heard<'a>>> {
        if questions.is_empty() {
            return Ok(Vec::new());
        }
        self.injector
            .ask(&self.lab, &self.endpoints, questions)
            .context("cannot inject packets")
    }
}

/// The marker's address in a step.
fn address(step: u64) -> IpAddr {
    let mut segments = [0x2001, 0xdb8, 0xc0de, 0, 0, 0, 0, 0];
    for (segment, shift) in segments.iter_mut().skip(4).zip([48, 32, 16, 0]) {
        *segment = u16::try_from(step >> shift & 0xffff).expect("sixteen bits");
    }
    Ipv6Addr::from(segments).into()
}

fn marker(step: u64) -> String {
    let (namespace, name) = MARKER.split_once('/').expect("a pod");
    format!(
        "---\napiVersion: v1\nkind: Namespace\nmetadata: {{ name: {namespace} }}\n\
         ---\napiVersion: v1\nkind: Pod\nmetadata:\n  name: {name}\n  namespace: {namespace}\n  \
         annotations: {{ ringfence.dev/netns: {namespace}.{name} }}\n\
         status: {{ phase: Running, podIPs: [ {{ ip: \"{}\" }} ] }}\n",
        address(step)
    )
}
