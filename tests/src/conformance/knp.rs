//! The tables of kube-network-policies: packets in worlds, and matchers asked one by one.
//!
//! A matcher's row becomes a world with a pod, `subject`, that one policy lets in to as the row says: what matches
//! gets through.

use std::{
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use ringfence_agent::model::PodKey;
use serde_json::{Map, Value, json};

use super::{
    actions::put,
    case::{Case, Step},
    expand::packet,
    world::{Labels, Pod, Port, World, protocol},
};

/// Why cases about the admin policies before `ClusterNetworkPolicy` are not asked.
pub const WAITS: &str = "is about functions for admin policies that the API does not have any more";
const PEER: &str = "192.0.2.77";
const SUBJECT: &str = "192.0.2.78";

/// The cases of all tables.
pub fn read(folder: &Path, files: &[PathBuf]) -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for path in files {
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let file: Value =
            serde_json::from_str(&text).with_context(|| path.display().to_string())?;
        let table = file["test"].as_str().unwrap_or_default().to_owned();
        let rows = file["cases"]
            .as_array()
            .with_context(|| format!("{}: no cases", folder.display()))?;
        for row in rows {
            let name = row["name"].as_str().unwrap_or_default();
            let mut case = Case {
                id: format!("{table}: {name}"),
                description: name.to_owned(),
                flags: texts(&row["flags"]),
                steps: Vec::new(),
                refused: None,
                waits: None,
            };
            fill(&mut case, &table, row).with_context(|| format!("{}: {name}", path.display()))?;
            cases.push(case);
        }
    }
    Ok(cases)
}

fn texts(list: &Value) -> Vec<String> {
    let list = list.as_array().into_iter().flatten();
    list.filter_map(|it| it.as_str().map(ToOwned::to_owned))
        .collect()
}

fn fill(case: &mut Case, table: &str, row: &Value) -> Result<()> {
    let args = &row["args"];
    let mut expect = || -> Result<bool> {
        let said = row["expect"].as_bool().context("no expectation")?;
        // Where the suite itself says that its source is wrong, it says what is right.
        let flag = |flags: &[String], text: &str| flags.iter().any(|flag| flag.contains(text));
        Ok(
            match (
                flag(&case.flags, "API semantics give False"),
                flag(&case.flags, "API semantics give True"),
            ) {
                (true, _) => {
                    case.flags
                        .push(format!("upstream flagged: it expects {said}"));
                    false
                }
                (_, true) => {
                    case.flags
                        .push(format!("upstream flagged: it expects {said}"));
                    true
                }
                _ => said,
            },
        )
    };
    let step = match table {
        "TestSyncPacket" => of_packet(row, expect()?)?,
        "TestSinglePipelineWithRealEvaluators" => {
            let mocked = [&row["mockedAdminVerdict"], &row["mockedBaselineVerdict"]];
            if mocked
                .iter()
                .any(|verdict| verdict.as_str() != Some("Next"))
            {
                case.waits = Some(WAITS.to_owned());
                return Ok(());
            }
            of_packet(row, expect()?)?
        }
        "TestMatchesSelector" => {
            let selector = &args["selector"];
            if selector.is_null() {
                case.waits =
                    Some("no object of the API says it: a selector that is absent".to_owned());
                return Ok(());
            }
            if selector.to_string().contains("bad-operator") {
                case.refused = Some("the operator".to_owned());
            }
            let peer = labels(&args["labels"]);
            matcher(
                "t",
                peer,
                "t",
                Some(json!({"podSelector": selector})),
                expect()?,
            )?
        }
        "TestEvaluator_evaluateSelectors" => of_selectors(args, expect()?)?,
        "TestEvaluator_evaluateIPBlocks" => {
            let block = &args["ipBlock"];
            let peers = (!block.is_null()).then(|| json!({"ipBlock": block}));
            if let [Some(cidr), Some(except)] =
                [&block["cidr"], &block["except"][0]].map(|net| net.as_str()?.parse().ok())
            {
                let (cidr, except): (ipnet::IpNet, ipnet::IpNet) = (cidr, except);
                if !cidr.contains(&except) {
                    case.refused = Some("an exception outside its block".to_owned());
                }
            }
            let from = args["ip"].as_str().filter(|ip| !ip.is_empty());
            let mut step = matcher("t", Labels::new(), "t", peers, expect()?)?;
            step.world.pods.retain(|key, _| key.name == "subject");
            let allowed = row["expect"].as_bool() == Some(true);
            let from = from.unwrap_or(PEER).parse()?;
            step.questions = vec![packet(&step.world, from, SUBJECT.parse()?, http(), allowed)];
            step
        }
        "TestEvaluator_evaluatePorts" => of_ports(args, expect()?)?,
        _ => {
            case.waits = Some(WAITS.to_owned());
            return Ok(());
        }
    };
    case.steps.push(step);
    Ok(())
}

fn http() -> Option<(ringfence_agent::model::Protocol, u16)> {
    Some((ringfence_agent::model::Protocol::Tcp, 80))
}

fn labels(value: &Value) -> Labels {
    let map = value.as_object().into_iter().flatten();
    map.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect()
}

fn pod(labels: Labels, address: &str, ports: Vec<Port>) -> Result<Pod> {
    Ok(Pod {
        labels,
        addresses: vec![address.parse().with_context(|| format!("{address:?}"))?],
        ports,
        node: None,
        host_network: false,
        phase: "Running".to_owned(),
        terminating: false,
    })
}

/// A row about a packet in a world.
fn of_packet(row: &Value, allowed: bool) -> Result<Step> {
    let mut world = World::default();
    for (name, of) in row["namespaces"].as_object().context("no namespaces")? {
        world.namespaces.insert(name.clone(), labels(of));
    }
    for it in row["pods"].as_array().context("no pods")? {
        let text = |field: &str| it[field].as_str().unwrap_or_default().to_owned();
        let key = PodKey {
            namespace: text("namespace"),
            name: text("name"),
        };
        let ports = serde_json::from_value(it["containers"].clone())?;
        world
            .pods
            .insert(key, pod(labels(&it["labels"]), &text("ip"), ports)?);
    }
    for policy in row["networkPolicies"].as_array().into_iter().flatten() {
        let mut policy = policy.clone();
        bound_ports(&mut policy);
        // Some have capitals, which the API refuses.
        policy["metadata"]["name"] = json!(name_of(&policy, "name").to_lowercase());
        // The source has two policies of one name, side by side.
        while world
            .policies
            .contains_key(&(name_of(&policy, "namespace"), name_of(&policy, "name")))
        {
            let other = name_of(&policy, "name") + "-too";
            policy["metadata"]["name"] = json!(other);
        }
        put(&mut world, policy)?;
    }
    let packet_of = &row["packet"];
    let address = |field: &str| -> Result<IpAddr> {
        let text = packet_of[field].as_str().context("no address")?;
        Ok(text.parse()?)
    };
    let port = match (
        packet_of["protocol"].as_str(),
        packet_of["dstPort"].as_u64(),
    ) {
        (Some(name), Some(port)) => Some((
            protocol(name).with_context(|| format!("{name} is no protocol"))?,
            u16::try_from(port)?,
        )),
        (None, None) => None,
        other => bail!("a packet of {other:?}"),
    };
    let question = packet(&world, address("src")?, address("dst")?, port, allowed);
    Ok(Step {
        world,
        questions: vec![question],
    })
}

fn name_of(policy: &Value, field: &str) -> String {
    policy["metadata"][field]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

/// The fixtures have ranges that end at 65537, which the API refuses.
fn bound_ports(value: &mut Value) {
    match value {
        Value::Object(map) => {
            if map.get("endPort").and_then(Value::as_u64) > Some(65535) {
                map.insert("endPort".to_owned(), json!(65535));
            }
            map.values_mut().for_each(bound_ports);
        }
        Value::Array(list) => list.iter_mut().for_each(bound_ports),
        _ => {}
    }
}

/// The pod `subject` in `policy_namespace` lets these peers in (nobody named: everybody); may `peer` come?
fn matcher(
    namespace: &str,
    peer: Labels,
    policy_namespace: &str,
    peers: Option<Value>,
    allowed: bool,
) -> Result<Step> {
    let rule = peers.map_or_else(|| json!({}), |peer| json!({"from": [peer]}));
    let mut step = subject(namespace, peer, policy_namespace, rule, Vec::new())?;
    step.questions = vec![packet(
        &step.world,
        PEER.parse()?,
        SUBJECT.parse()?,
        http(),
        allowed,
    )];
    Ok(step)
}

fn subject(
    namespace: &str,
    peer: Labels,
    policy_namespace: &str,
    rule: Value,
    ports: Vec<Port>,
) -> Result<Step> {
    let mut world = World::default();
    for name in [namespace, policy_namespace] {
        world.namespaces.insert(name.to_owned(), Labels::new());
    }
    let key = |namespace: &str, name: &str| PodKey {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    };
    world
        .pods
        .insert(key(namespace, "peer"), pod(peer, PEER, Vec::new())?);
    let own = Labels::from([("conformance".to_owned(), "subject".to_owned())]);
    world.pods.insert(
        key(policy_namespace, "subject"),
        pod(own.clone(), SUBJECT, ports)?,
    );
    put(
        &mut world,
        json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
            "metadata": {"name": "matcher", "namespace": policy_namespace},
            "spec": {"podSelector": {"matchLabels": own}, "policyTypes": ["Ingress"], "ingress": [rule]},
        }),
    )?;
    Ok(Step {
        world,
        questions: Vec::new(),
    })
}

fn of_selectors(args: &Value, allowed: bool) -> Result<Step> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut peer = Map::new();
    for (field, selector) in [
        ("podSelector", &args["peerPodSelector"]),
        ("namespaceSelector", &args["peerNSSelector"]),
    ] {
        if !selector.is_null() {
            peer.insert(field.to_owned(), selector.clone());
        }
    }
    let peers = (!peer.is_empty()).then_some(Value::Object(peer));
    let metadata = &args["pod"]["metadata"];
    let mut step = matcher(
        &text(&metadata["namespace"]),
        labels(&metadata["labels"]),
        &text(&args["policyNs"]),
        peers,
        allowed,
    )?;
    for namespace in args["namespaces"].as_array().into_iter().flatten() {
        let metadata = &namespace["metadata"];
        step.world
            .namespaces
            .insert(text(&metadata["name"]), labels(&metadata["labels"]));
    }
    Ok(step)
}

fn of_ports(args: &Value, allowed: bool) -> Result<Step> {
    let mut rule = json!({});
    if !args["networkPolicyPorts"].is_null() {
        rule["ports"] = args["networkPolicyPorts"].clone();
        bound_ports(&mut rule);
    }
    let mut ports = Vec::new();
    for container in args["pod"]["spec"]["containers"]
        .as_array()
        .into_iter()
        .flatten()
    {
        for port in container["ports"].as_array().into_iter().flatten() {
            ports.push(Port {
                container: None,
                port: u16::try_from(port["containerPort"].as_u64().unwrap_or_default())?,
                protocol: port["protocol"].as_str().unwrap_or("TCP").to_owned(),
                name: port["name"].as_str().map(ToOwned::to_owned),
            });
        }
    }
    let mut step = subject("t", Labels::new(), "t", rule, ports)?;
    let asked = match args["protocol"].as_str().and_then(protocol) {
        Some(transport) => Some((
            transport,
            u16::try_from(args["port"].as_u64().unwrap_or_default())?,
        )),
        // Nothing is said of ports, so any will do.
        None => http(),
    };
    step.questions = vec![packet(
        &step.world,
        PEER.parse()?,
        SUBJECT.parse()?,
        asked,
        allowed,
    )];
    Ok(step)
}
