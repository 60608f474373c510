//! Cases: worlds, and questions about them.

use std::{fmt, net::IpAddr};

use ringfence_agent::model::{PodKey, Protocol};

use super::world::World;

/// A case of a suite.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its name within the suite, which is unique there.
    pub id: String,
    /// What it is about.
    pub description: String,
    /// What is peculiar about it, as its suite or its reader says.
    pub flags: Vec<String>,
    /// States, one after the other.
    pub steps: Vec<Step>,
    /// What in it the API server refuses, if it does: then nothing is asked but that the agent refuses it too.
    pub refused: Option<String>,
    /// Why it is not asked at all, if it is not.
    pub waits: Option<String>,
}

/// A state, and what holds in it.
#[derive(Clone, Debug)]
pub struct Step {
    /// The state.
    pub world: World,
    /// Questions.
    pub questions: Vec<Question>,
}

/// May this flow begin?
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Who begins it.
    pub from: End,
    /// Whom it is for: behind the service, if there is one.
    pub to: End,
    /// Protocol and port at the destination; `None` for ICMP echo.
    pub port: Option<(Protocol, u16)>,
    /// How it gets there.
    pub way: Way,
    /// What is to come of it.
    pub expect: Expect,
}

/// One end of a flow.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct End {
    /// Who it is.
    pub party: Party,
    /// Its address.
    pub address: IpAddr,
}

/// Who takes part.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Party {
    /// A pod.
    Pod(PodKey),
    /// A node.
    Node(String),
    /// Somebody else.
    Outside,
}

/// How a flow gets to its destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// By the destination's address.
    Direct,
    /// By a service's cluster address.
    ClusterAddress,
    /// By a port of a node.
    NodePort,
}

/// What is to come of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expect {
    /// By the destination's rules.
    pub ingress: Option<bool>,
    /// By the source's rules.
    pub egress: Option<bool>,
    /// By both: what a packet sees.
    pub combined: Option<bool>,
}

impl Expect {
    /// What a packet sees; nobody says why.
    #[must_use]
    pub const fn of_packet(allowed: bool) -> Self {
        Self {
            ingress: None,
            egress: None,
            combined: Some(allowed),
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.party {
            Party::Pod(key) => write!(f, "{key} ({})", self.address),
            Party::Node(name) => write!(f, "node {name} ({})", self.address),
            Party::Outside => self.address.fmt(f),
        }
    }
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {}", self.from, self.to)?;
        match self.port {
            Some((protocol, port)) => write!(f, " {protocol}/{port}")?,
            None => f.write_str(" ICMP")?,
        }
        match self.way {
            Way::Direct => Ok(()),
            Way::ClusterAddress => f.write_str(" by its ClusterIP"),
            Way::NodePort => f.write_str(" by a NodePort"),
        }
    }
}
