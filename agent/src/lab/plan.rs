//! What a lab will consist of: its processes, who speaks through which, its links.

use std::{net::IpAddr, path::PathBuf};

use anyhow::{Context as _, Result};

use super::{
    names,
    probe::Actor,
    process::ProcessId,
    spec::LabSpec,
    state::{self, ActorState, ProcessState, State},
    topology::Link,
    wire::{Listen, ProcessConfig, Transport},
};

/// The state of a lab that is to be, and the configurations of its processes, in the same order.
pub(super) fn plan(spec: &LabSpec) -> Result<(State, Vec<ProcessConfig>)> {
    let lab = &spec.name;
    let host = names::host_cgroup(lab)?;
    let pods = names::pods_cgroup(lab)?;
    let mut state = State {
        name: lab.clone(),
        binary: spec.binary.clone(),
        owner: ProcessId::own().context("cannot read /proc/self/stat")?,
        processes: Vec::new(),
        actors: [].into(),
        companions: Vec::new(),
    };
    let mut configs = Vec::new();
    let mut add =
        |netns: String, cgroup: PathBuf, actors: Vec<(Actor, Vec<IpAddr>)>, listen: Vec<Listen>| {
            let number = state.processes.len();
            let control = state::control_folder(&state::folder(lab)).join(number.to_string());
            for (actor, addresses) in actors {
                state.actors.insert(
                    actor.to_string(),
                    ActorState {
                        process: number,
                        addresses,
                    },
                );
            }
            configs.push(ProcessConfig {
                netns: netns.clone(),
                cgroup: cgroup.clone(),
                control: control.clone(),
                listen,
            });
            state.processes.push(ProcessState {
                netns,
                cgroup,
                control,
                id: None,
            });
        };
    add(
        names::node_netns(lab),
        host.clone(),
        vec![(Actor::Node, spec.node.clone())],
        listen(&Actor::Node, &spec.node, &spec.node_ports, &Transport::ALL),
    );
    let hosts = spec
        .outside
        .iter()
        .map(|host| (Actor::outside(&host.name), host.addresses.clone()))
        .collect();
    let served = spec.outside.iter().flat_map(|host| {
        host.serves.iter().flat_map(|served| {
            listen(
                &Actor::outside(&host.name),
                &host.addresses,
                &[served.port],
                &[served.protocol],
            )
        })
    });
    add(names::outside_netns(lab), host, hosts, served.collect());
    for pod in &spec.pods {
        add(
            names::netns_prefix(lab) + &pod.netns,
            pods.join(pod.cgroup_name()),
            vec![(pod.actor(), pod.addresses.clone())],
            listen(&pod.actor(), &pod.addresses, &pod.ports, &Transport::ALL),
        );
    }
    Ok((state, configs))
}

fn listen(
    who: &Actor,
    addresses: &[IpAddr],
    ports: &[u16],
    protocols: &[Transport],
) -> Vec<Listen> {
    let mut all = Vec::new();
    for &address in addresses {
        for &port in ports {
            all.extend(protocols.iter().map(|&protocol| Listen {
                name: who.to_string(),
                protocol,
                address,
                port,
            }));
        }
    }
    all
}

/// The links of a lab's node.
pub(super) fn links(spec: &LabSpec) -> Vec<Link> {
    let outside = spec
        .outside
        .iter()
        .flat_map(|host| host.addresses.iter().copied())
        .collect();
    let mut links = vec![Link::uplink(names::outside_netns(&spec.name), outside)];
    links.extend(spec.pods.iter().enumerate().map(|(number, pod)| {
        Link::of_pod(
            number,
            &pod.name,
            names::netns_prefix(&spec.name) + &pod.netns,
            pod.addresses.clone(),
        )
    }));
    links
}
