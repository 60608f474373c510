//! The network between the API server and the nodes: a namespace with a bridge, and a link to each node.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    process::{self, Command},
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context as _, Result, bail};
use ringfence_agent::lab::netns;

/// The API server's address.
pub(super) const SERVER: &str = "192.168.77.1";
/// What names of these namespaces begin with; then the process that made it.
const PREFIX: &str = "rfapi-";

/// The network. Goes when dropped.
#[derive(Debug)]
pub(super) struct Fabric {
    pub netns: String,
}

impl Fabric {
    pub fn lay() -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        sweep()?;
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let netns = format!("{PREFIX}{}-{number}", process::id());
        netns::create(&netns)?;
        let fabric = Self { netns };
        let this = &fabric.netns;
        ip(&format!("-n {this} link set lo up"))?;
        ip(&format!("-n {this} link add fabric type bridge"))?;
        ip(&format!("-n {this} address add {SERVER}/24 dev fabric"))?;
        ip(&format!(
            "-n {this} address add fd77::1/64 dev fabric nodad"
        ))?;
        ip(&format!("-n {this} link set fabric up"))?;
        Ok(fabric)
    }

    /// Addresses of node number N.
    pub fn addresses(number: u8) -> [IpAddr; 2] {
        [
            Ipv4Addr::new(192, 168, 77, 10 + number).into(),
            Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 0x10 + u16::from(number)).into(),
        ]
    }

    /// Connects the namespace of node number N.
    pub fn connect(&self, number: u8, node: &str) -> Result<()> {
        let this = &self.netns;
        let [v4, v6] = Self::addresses(number);
        ip(&format!(
            "-n {this} link add node{number} type veth peer name fabric0 netns {node}"
        ))?;
        ip(&format!("-n {this} link set node{number} master fabric up"))?;
        ip(&format!("-n {node} address add {v4}/24 dev fabric0"))?;
        ip(&format!("-n {node} address add {v6}/64 dev fabric0 nodad"))?;
        ip(&format!("-n {node} link set fabric0 up"))
    }

    /// Routes networks of one node from another one.
    pub fn route(node: &str, networks: &[String], via: u8) -> Result<()> {
        let [v4, v6] = Self::addresses(via);
        for network in networks {
            let gateway = if network.contains(':') { v6 } else { v4 };
            ip(&format!("-n {node} route add {network} via {gateway}"))?;
        }
        Ok(())
    }

    /// Cuts the link of a node, or mends it.
    pub fn set(&self, number: u8, state: &str) -> Result<()> {
        ip(&format!("-n {} link set node{number} {state}", self.netns))
    }
}

impl Drop for Fabric {
    fn drop(&mut self) {
        if let Err(error) = netns::delete(&self.netns) {
            eprintln!("{error:#}");
        }
    }
}

/// Removes what tests left that were killed.
fn sweep() -> Result<()> {
    for name in netns::with_prefix(PREFIX)? {
        let owner = name[PREFIX.len()..].split('-').next().unwrap_or_default();
        if !std::path::Path::new("/proc").join(owner).exists() {
            netns::delete(&name)?;
        }
    }
    Ok(())
}

fn ip(words: &str) -> Result<()> {
    let output = Command::new("ip")
        .args(words.split(' '))
        .output()
        .context("cannot run ip")?;
    if !output.status.success() {
        bail!(
            "ip {words}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}
