//! Services, as kube-proxy would make them: the node translates their addresses to the pod behind.
//!
//! Cases say which pod is behind a service and how it is reached, not by which address, so addresses are given here.

use std::{collections::BTreeMap, fmt::Write as _, fs, net::IpAddr};

use anyhow::{Context as _, Result, ensure};
use ringfence_agent::{
    lab::{Actor, Lab},
    model::Protocol,
};

use crate::conformance::case::{Question, Way};

/// What is added to a port to make it a node's.
const NODE_PORTS: u16 = 30_000;

/// Where questions by way of a service are sent.
#[derive(Debug, Default)]
pub struct Translations(BTreeMap<(IpAddr, u16, bool), (IpAddr, u16)>);

impl Translations {
    /// Lays them on the lab's node, whose addresses these are.
    pub fn lay(lab: &Lab, node: &[IpAddr], questions: &[&Question]) -> Result<Self> {
        let mut all = Self::default();
        for question in questions {
            let (Some((Protocol::Tcp, port)), way) = (question.port, &question.way) else {
                continue;
            };
            let behind = question.to.address;
            let given = match way {
                Way::Direct => continue,
                Way::ClusterAddress => (virtual_address(behind, all.0.len())?, port),
                Way::NodePort => {
                    let own = node.iter().find(|own| own.is_ipv4() == behind.is_ipv4());
                    (
                        *own.context("the node has no address of this family")?,
                        port + NODE_PORTS,
                    )
                }
            };
            all.0
                .entry((behind, port, *way == Way::NodePort))
                .or_insert(given);
        }
        if !all.0.is_empty() {
            all.install(lab)?;
        }
        Ok(all)
    }

    /// Where to send a question.
    pub fn target(&self, question: &Question) -> Option<(IpAddr, u16)> {
        let (_, port) = question.port?;
        match question.way {
            Way::Direct => Some((question.to.address, port)),
            Way::ClusterAddress => self.0.get(&(question.to.address, port, false)).copied(),
            Way::NodePort => self.0.get(&(question.to.address, port, true)).copied(),
        }
    }

    fn install(&self, lab: &Lab) -> Result<()> {
        let (mut before, mut after) = (String::new(), String::new());
        for (&(behind, port, _), (given, given_port)) in &self.0 {
            let (family, shown) = match behind {
                IpAddr::V4(_) => ("ip", behind.to_string()),
                IpAddr::V6(_) => ("ip6", format!("[{behind}]")),
            };
            writeln!(
                before,
                "{family} daddr {given} tcp dport {given_port} dnat {family} to {shown}:{port}"
            )?;
            // A pod that reaches itself must be answered by way of the node.
            writeln!(
                after,
                "{family} saddr {behind} {family} daddr {behind} masquerade"
            )?;
        }
        let rules = format!(
            "table inet conformance\ndelete table inet conformance\ntable inet conformance {{\n\
             chain before {{ type nat hook prerouting priority dstnat\n{before}}}\n\
             chain after {{ type nat hook postrouting priority srcnat\n{after}}}\n}}\n"
        );
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("rules");
        fs::write(&path, rules)?;
        let output = lab.exec(
            &Actor::Node,
            ["nft".as_ref(), "-f".as_ref(), path.as_os_str()],
        )?;
        ensure!(
            output.status.success(),
            "nft: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    }
}

/// A service's address, of the family of the pod behind.
fn virtual_address(behind: IpAddr, number: usize) -> Result<IpAddr> {
    let number = u8::try_from(number + 1).context("too many services")?;
    Ok(match behind {
        IpAddr::V4(_) => [10, 96, 0, number].into(),
        IpAddr::V6(_) => [0xfd00, 0x96, 0, 0, 0, 0, 0, u16::from(number)].into(),
    })
}
