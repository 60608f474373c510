//! What must get through, and the manifests that say so.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};

use super::{
    launch::{Attacker, Call, Rights, Running, Told},
    matrix::Control,
    place::{AZURE, Family, GOOGLE, HOST_POD, NODE, OPEN, OTHER_NODE, addresses},
    stage::{Stage, family_of},
};

/// How often a control is tried: others are at work on this machine.
const TRIES: usize = 4;

impl Stage {
    /// The manifests of the pods as they are now.
    #[must_use]
    pub fn manifests(&self) -> String {
        let [v4, v6] = NODE;
        let mut text = format!(
            "apiVersion: v1\nkind: Namespace\nmetadata: {{ name: t }}\n\
             ---\napiVersion: v1\nkind: Node\nmetadata: {{ name: w1 }}\nstatus: {{ addresses: [ \
             {{ type: InternalIP, address: {v4} }}, {{ type: InternalIP, address: \"{v6}\" }} ] }}\n\
             ---\napiVersion: v1\nkind: Node\nmetadata: {{ name: w2 }}\nstatus: {{ addresses: [ \
             {{ type: InternalIP, address: {OTHER_NODE} }} ] }}\n"
        );
        // The kernel's half of the pod with the node's network: its cgroup is below the pods' root.
        write!(
            text,
            "---\napiVersion: v1\nkind: Pod\nmetadata: {{ name: {HOST_POD}, namespace: t }}\n\
             spec: {{ nodeName: w1, hostNetwork: true, containers: [] }}\n\
             status: {{ phase: Running, hostIP: {v4}, podIPs: [ {{ ip: {v4} }}, {{ ip: \"{v6}\" }} ] }}\n"
        )
        .expect("a string takes everything");
        for (pod, whose, granted) in &self.pods {
            let [v4, v6] = addresses(whose);
            let grant = if *granted {
                ", metadata.ringfence.dev/access: imds"
            } else {
                ""
            };
            write!(
                text,
                "---\napiVersion: v1\nkind: Pod\nmetadata:\n  name: {pod}\n  namespace: t\n  \
                 annotations: {{ ringfence.dev/netns: {pod}{grant} }}\n\
                 spec: {{ nodeName: w1, containers: [] }}\n\
                 status: {{ phase: Running, podIPs: [ {{ ip: {v4} }}, {{ ip: \"{v6}\" }} ] }}\n"
            )
            .expect("a string takes everything");
        }
        text
    }

    /// Tries what must get through: a granted pod, the node, DNS and NTP of everybody.
    pub fn controls(&self, when: &str) -> Result<Vec<Control>> {
        let mut controls = Vec::new();
        let granted = ["a", "c"];
        for pod in granted {
            let attacker = Attacker::pod(&self.place, pod, Rights::Unprivileged)?;
            for &family in Family::BOTH {
                for technique in ["tcp", "udp"] {
                    let name = format!("granted pod {pod}, {technique} {family:?}");
                    let passed = self.control(&attacker, family, &Call::new(technique))?;
                    controls.push(Control::new(name, when, passed));
                }
            }
        }
        let other = Attacker::pod(&self.place, "b", Rights::Unprivileged)?;
        let host = Attacker::host(&self.place, Rights::Unprivileged)?;
        for (technique, port, name) in [
            ("udp", 53, "DNS by UDP"),
            ("tcp", 53, "DNS by TCP"),
            ("udp", 123, "NTP"),
        ] {
            let call = Call::new(technique).with("port", port);
            for (attacker, whom) in [(&other, "pod b"), (&host, "hostNetwork pod")] {
                let passed = self.control(attacker, Family::V4, &call)?;
                controls.push(Control::new(format!("{name}, {whom}"), when, passed));
            }
        }
        for to in OPEN {
            let call = Call::new("tcp").to(to);
            let passed = self.control(&other, family_of(to), &call)?;
            controls.push(Control::new(
                format!("{to}, no metadata service"),
                when,
                passed,
            ));
        }
        for to in [AZURE, GOOGLE] {
            let call = Call::new("udp").to(to).with("port", 53);
            let passed = self.control(&other, family_of(to), &call)?;
            controls.push(Control::new(format!("DNS at {to}"), when, passed));
        }
        let kubelet = host.in_cgroup(ringfence_agent::lab::names::host_cgroup(
            self.place.lab.name(),
        )?);
        for &family in Family::BOTH {
            let passed = self.control(&kubelet, family, &Call::new("tcp"))?;
            controls.push(Control::new(
                format!("the node itself, {family:?}"),
                when,
                passed,
            ));
        }
        Ok(controls)
    }

    /// True if somebody answers.
    fn control(&self, attacker: &Attacker, family: Family, call: &Call) -> Result<bool> {
        for _ in 0..TRIES {
            let attempt = self.judge.begin();
            let running = Running::start(&self.program(), attacker, family, attempt, call)?;
            if running.finish().context("a control")? == Told::Answered {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
