//! Truth tables and probes to steps of worlds and questions.

use std::net::IpAddr;

use anyhow::{Context as _, Result, bail, ensure};
use ringfence_agent::model::{PodKey, Protocol};

use super::{
    actions::{add_pod, agree, apply, parse_key, put, put_cluster},
    case::{Case, End, Expect, Party, Question, Step, Way},
    file::{CaseFile, Expected, FamilyFile, ProbeFile, ServiceFile, StepFile, Tables},
    world::{Pod, World, protocol},
};

/// A case of its file.
pub fn expand(file: CaseFile) -> Result<Case> {
    let mut world = World {
        namespaces: file.initial.namespaces,
        nodes: file.initial.nodes,
        ..World::default()
    };
    let model = file.initial.pods.first().cloned();
    for pod in file.initial.pods {
        add_pod(&mut world, pod)?;
    }
    let mut flags: Vec<String> = file.notes.into_iter().collect();
    if second_family(&mut world, &file.steps) {
        flags.push("the pods' IPv6 addresses are invented: only IPv4 ones are given".to_owned());
    }
    let mut steps = Vec::new();
    for (number, step) in file.steps.into_iter().enumerate() {
        let say = || format!("step {}", number + 1);
        let said = step
            .state
            .as_ref()
            .and_then(|state| state.resources.as_ref());
        for action in step.actions {
            apply(&mut world, action, model.as_ref(), said).with_context(say)?;
        }
        if let Some(state) = &step.state {
            if let Some(policies) = &state.network_policies {
                world.policies.clear();
                for policy in policies {
                    put(&mut world, policy.clone()).with_context(say)?;
                }
            }
            if let Some(policies) = &state.cluster_network_policies {
                world.cluster_policies.clear();
                for policy in policies {
                    put_cluster(&mut world, policy.clone()).with_context(say)?;
                }
            }
            if let Some(namespaces) = &state.namespaces {
                world.namespaces.clone_from(namespaces);
            }
            if let Some(names) = &state.names {
                let ours: Vec<String> = world
                    .policies
                    .keys()
                    .map(|(namespace, name)| format!("{namespace}/{name}"))
                    .collect();
                let mut names = names.clone();
                names.sort();
                ensure!(
                    ours == names,
                    "{}: {ours:?}, not {names:?}: the actions were misread",
                    say()
                );
            }
            if let Some(said) = &state.resources {
                agree(&world, said).with_context(say)?;
            }
        }
        let mut questions = Vec::new();
        if let Some(expected) = &step.expected {
            tables(&world, expected, &mut questions).with_context(say)?;
        }
        for probe in &step.probes {
            questions.extend(
                probe_of(&world, &file.initial.services, probe)
                    .with_context(|| format!("{}: {} -> {}", say(), probe.from, probe.to))?,
            );
        }
        steps.push(Step {
            world: world.clone(),
            questions,
        });
    }
    Ok(Case {
        id: file.id,
        description: file.description,
        flags,
        steps,
        refused: file.refused,
        waits: None,
    })
}

/// Gives each pod an IPv6 address if they have none and a probe goes to one; true if so.
fn second_family(world: &mut World, steps: &[StepFile]) -> bool {
    let probes = steps.iter().flat_map(|step| &step.probes);
    let mut outside = probes.filter_map(|probe| probe.to.strip_prefix("ext:")?.parse().ok());
    let all_v4 = world
        .pods
        .values()
        .flat_map(|pod| &pod.addresses)
        .all(IpAddr::is_ipv4);
    if !all_v4 || !outside.any(|address: IpAddr| address.is_ipv6()) {
        return false;
    }
    for pod in world.pods.values_mut() {
        if let Some(&IpAddr::V4(address)) = pod.addresses.first() {
            let [a, b, c, d] = address.octets().map(u16::from);
            pod.addresses.push([0xfd00, 0xc0, 0, 0, a, b, c, d].into());
        }
    }
    true
}

/// What truth tables ask.
pub fn tables(world: &World, expected: &Expected, questions: &mut Vec<Question>) -> Result<()> {
    let keys: Vec<PodKey> = expected
        .pods
        .iter()
        .map(|name| parse_key(name))
        .collect::<Result<_>>()?;
    for (service, tables) in &expected.tables {
        let (name, port) = service
            .split_once('/')
            .with_context(|| format!("{service:?} is not PROTOCOL/PORT"))?;
        let transport = protocol(name).with_context(|| format!("{name} is no protocol"))?;
        for (row, from) in keys.iter().enumerate() {
            for (column, to) in keys.iter().enumerate() {
                // A pod always reaches itself; suites differ in what they write there.
                if row == column {
                    continue;
                }
                let expect = cell(tables, row, column)
                    .with_context(|| format!("{service}: {from} -> {to}"))?;
                let Some(expect) = expect else { continue };
                let number = match port.parse() {
                    Ok(number) => number,
                    Err(_) => world
                        .pods
                        .get(to)
                        .and_then(|pod| pod.named_port(name, port))
                        .with_context(|| format!("{to} has no port {port}"))?,
                };
                let asked = pairs(world, from, to)?;
                ensure!(
                    !asked.is_empty(),
                    "{from} and {to} have no family in common"
                );
                questions.extend(asked.into_iter().map(|(from, to)| Question {
                    from,
                    to,
                    port: Some((transport, number)),
                    way: Way::Direct,
                    expect,
                }));
            }
        }
    }
    Ok(())
}

/// What tables say of a cell; `None` where there is nothing to ask.
fn cell(tables: &Tables, row: usize, column: usize) -> Result<Option<Expect>> {
    let read = |table: &Option<Vec<String>>| -> Result<Option<bool>> {
        let Some(table) = table else { return Ok(None) };
        let character = table.get(row).and_then(|line| line.chars().nth(column));
        Ok(match character.context("the table is too small")? {
            '.' => Some(true),
            'X' => Some(false),
            // No such port there, or not served, or not applicable.
            'P' | 'N' | '-' | '?' | '#' => None,
            other => bail!("{other:?} in a table"),
        })
    };
    let expect = Expect {
        ingress: read(&tables.ingress)?,
        egress: read(&tables.egress)?,
        combined: read(&tables.combined)?,
    };
    let nothing = expect
        .ingress
        .or(expect.egress)
        .or(expect.combined)
        .is_none();
    Ok((!nothing).then_some(expect))
}

/// The ends of a flow between two pods, in each family that both have.
fn pairs(world: &World, from: &PodKey, to: &PodKey) -> Result<Vec<(End, End)>> {
    let pod = |key: &PodKey| world.pods.get(key).with_context(|| format!("no pod {key}"));
    let ends = |key: &PodKey, pod: &Pod| -> Vec<End> {
        pod.addresses
            .iter()
            .map(|&address| End {
                party: Party::Pod(key.clone()),
                address,
            })
            .collect()
    };
    Ok(join(&ends(from, pod(from)?), &ends(to, pod(to)?)))
}

fn join(from: &[End], to: &[End]) -> Vec<(End, End)> {
    let like = |one: IpAddr, other: IpAddr| one.is_ipv4() == other.is_ipv4();
    from.iter()
        .flat_map(|from| {
            to.iter()
                .filter(|to| like(from.address, to.address))
                .map(|to| (from.clone(), to.clone()))
        })
        .collect()
}

/// A probe's questions: one in each family that both ends have.
fn probe_of(world: &World, services: &[ServiceFile], probe: &ProbeFile) -> Result<Vec<Question>> {
    let from = ends(world, &probe.from)?;
    let (to, way) = match probe.to.split_once(':') {
        Some(("svc", service)) => (backends(world, services, service)?, Way::ClusterAddress),
        Some(("nodeport", path)) => {
            let (_node, service) = path
                .split_once('/')
                .context("a node port is NODE/NAMESPACE/SERVICE")?;
            (backends(world, services, service)?, Way::NodePort)
        }
        _ => (ends(world, &probe.to)?, Way::Direct),
    };
    let to: Vec<End> = match probe.to_ip {
        Some(address) => to.into_iter().filter(|it| it.address == address).collect(),
        None => to,
    };
    let port = match probe.protocol.as_str() {
        "ICMP" => None,
        name => Some((
            protocol(name).with_context(|| format!("{name} is no protocol"))?,
            probe.port,
        )),
    };
    let mut asked = join(&from, &to);
    asked.retain(|(_, to)| {
        probe
            .family
            .is_none_or(|family| (family == FamilyFile::IPv4) == to.address.is_ipv4())
    });
    ensure!(!asked.is_empty(), "the ends have no family in common");
    Ok(asked
        .into_iter()
        .map(|(from, to)| Question {
            from,
            to,
            port,
            way: way.clone(),
            expect: Expect::of_packet(probe.allowed),
        })
        .collect())
}

/// `NAMESPACE/NAME`, `node:NAME`, `ext:ADDRESS`.
fn ends(world: &World, text: &str) -> Result<Vec<End>> {
    let (party, addresses) = match text.split_once(':') {
        Some(("ext", address)) => {
            let address = address
                .parse()
                .with_context(|| format!("{address:?} is no address"))?;
            (Party::Outside, vec![address])
        }
        Some(("node", name)) => {
            let node = world.nodes.iter().find(|node| node.name == name);
            let node = node.with_context(|| format!("no node {name}"))?;
            (Party::Node(name.to_owned()), node.ips.clone())
        }
        _ => {
            let key = parse_key(text)?;
            let pod = world.pods.get(&key);
            let pod = pod.with_context(|| format!("no pod {key}"))?;
            match &pod.node {
                // Its network is its node's.
                Some(node) if pod.host_network => {
                    (Party::Node(node.clone()), pod.addresses.clone())
                }
                _ => (Party::Pod(key), pod.addresses.clone()),
            }
        }
    };
    Ok(addresses
        .into_iter()
        .map(|address| End {
            party: party.clone(),
            address,
        })
        .collect())
}

/// The pods behind a service.
fn backends(world: &World, services: &[ServiceFile], name: &str) -> Result<Vec<End>> {
    let wanted = parse_key(name)?;
    let service = services
        .iter()
        .find(|it| it.namespace == wanted.namespace && it.name == wanted.name)
        .with_context(|| format!("no service {name}"))?;
    let selected = world.pods.iter().filter(|(key, pod)| {
        key.namespace == service.namespace
            && service
                .selector
                .iter()
                .all(|(label, value)| pod.labels.get(label) == Some(value))
    });
    Ok(selected
        .flat_map(|(key, pod)| {
            pod.addresses.iter().map(|&address| End {
                party: Party::Pod(key.clone()),
                address,
            })
        })
        .collect())
}

/// A question about one packet.
pub fn packet(
    world: &World,
    from: IpAddr,
    to: IpAddr,
    port: Option<(Protocol, u16)>,
    allowed: bool,
) -> Question {
    let end = |address: IpAddr| {
        let owner = world
            .pods
            .iter()
            .find(|(_, pod)| pod.addresses.contains(&address));
        End {
            party: owner.map_or(Party::Outside, |(key, _)| Party::Pod(key.clone())),
            address,
        }
    };
    Question {
        from: end(from),
        to: end(to),
        port,
        way: Way::Direct,
        expect: Expect::of_packet(allowed),
    }
}
