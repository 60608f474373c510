//! Services: their addresses, their names, and their ports on the nodes.

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::{End, look, ways::endpoint};
use crate::e2e::{
    cluster::{Cluster, items},
    eventually, example,
    expect::{self, Matrix, Pod, Way},
    probe::{self, Outcome},
};

/// A way to a Service, and the ways to the pods behind it that it may become.
struct Target {
    /// What is connected to.
    endpoint: String,
    /// The pods behind it.
    behind: Vec<Pod>,
    /// The port that they listen on.
    port: u64,
    /// `IPv4` or `IPv6`; nothing where the name server and the client choose.
    family: Option<&'static str>,
}

impl Target {
    /// What policy says of it, where it says the same of all that it may become.
    fn allowed(&self, from: &Pod, expected: &Matrix) -> Option<bool> {
        // A pod that reaches itself through a Service may or may not: that is up to the cluster.
        if self.behind.contains(from) {
            return None;
        }
        let families = match self.family {
            Some(family) => vec![family],
            None => vec!["IPv4", "IPv6"],
        };
        let mut verdicts = self.behind.iter().flat_map(|to| {
            let ways = families
                .iter()
                .map(move |family| Way::new(from, to, self.port, family));
            ways.filter_map(|way| expected.get(&way).copied())
        });
        let first = verdicts.next()?;
        verdicts.all(|it| it == first).then_some(first)
    }
}

/// A Service's address leads where its pods are.
pub(super) fn addresses(cluster: &Cluster) -> Result<End> {
    let mut targets = Vec::new();
    let (pods, objects) = look(cluster)?;
    for (service, behind, port) in services(cluster, &pods)? {
        let addresses = service["spec"]["clusterIPs"].as_array();
        for address in addresses.into_iter().flatten().filter_map(Value::as_str) {
            if address != "None" {
                targets.push(Target {
                    endpoint: endpoint(address, port),
                    behind: behind.clone(),
                    port,
                    family: Some(expect::family(address)),
                });
            }
        }
    }
    lead(cluster, &pods, &targets, &expect::matrix(&objects)?)
}

/// A Service's name leads there too, be it to the Service's address or, of a headless one, to the pods themselves.
pub(super) fn names(cluster: &Cluster) -> Result<End> {
    let (pods, objects) = look(cluster)?;
    let mut targets = Vec::new();
    let mut headless = 0;
    for (service, behind, port) in services(cluster, &pods)? {
        let metadata = &service["metadata"];
        let text = |name: &str| metadata[name].as_str().unwrap_or_default();
        headless += usize::from(service["spec"]["clusterIP"] == "None");
        targets.push(Target {
            endpoint: format!("{}.{}.svc:{port}", text("name"), text("namespace")),
            behind,
            port,
            family: None,
        });
    }
    ensure!(headless > 0, "the example has no headless service");
    // Who may not even ask for a name waits for a long time, and is shown nothing that addresses do not show.
    let mut pods = pods;
    pods.retain(|pod| pod.namespace != example::SEALED);
    lead(cluster, &pods, &targets, &expect::matrix(&objects)?)
}

/// The example's Services, with the pods behind each and the port that leads to the same port of theirs.
fn services(cluster: &Cluster, pods: &[Pod]) -> Result<Vec<(Value, Vec<Pod>, u64)>> {
    let list = cluster
        .kubectl
        .json(&["get", "services", "--all-namespaces"])?;
    let namespaces = example::namespaces(&example::documents()?);
    let mut found = Vec::new();
    for service in items(&list) {
        let namespace = service["metadata"]["namespace"]
            .as_str()
            .unwrap_or_default();
        if !namespaces.iter().any(|it| it == namespace) {
            continue;
        }
        let port = service["spec"]["ports"][0]["port"]
            .as_u64()
            .context("a service without a port")?;
        // Each of the example's namespaces is one application's.
        let behind: Vec<Pod> = pods
            .iter()
            .filter(|pod| pod.namespace == namespace)
            .cloned()
            .collect();
        ensure!(
            !behind.is_empty() && behind.iter().all(|pod| pod.ports.contains(&port)),
            "{namespace}: no pod, or another port than the service's"
        );
        found.push((service.clone(), behind, port));
    }
    ensure!(!found.is_empty(), "the example has no service");
    Ok(found)
}

/// Waits until all lead where policy says, from every pod.
fn lead(cluster: &Cluster, pods: &[Pod], targets: &[Target], expected: &Matrix) -> Result<End> {
    let count = eventually("services lead where policy says", || {
        let mut count = (0, 0);
        for from in pods {
            let asked: Vec<(&Target, bool)> = targets
                .iter()
                .filter_map(|target| Some((target, target.allowed(from, expected)?)))
                .collect();
            let words: Vec<String> = asked.iter().map(|(it, _)| it.endpoint.clone()).collect();
            let outcomes = probe::connect(cluster, from, &words)?;
            for (Target { endpoint, .. }, allowed) in asked {
                let outcome = outcomes.get(endpoint);
                if allowed != (outcome == Some(&Outcome::Reached)) {
                    bail!(
                        "{} -> {endpoint}: allowed {allowed}, and {outcome:?}",
                        from.id()
                    );
                }
                count.0 += 1;
                count.1 += usize::from(allowed);
            }
        }
        Ok(count)
    })?;
    ensure!(count.1 > 0, "none of {} ways is open", count.0);
    eprintln!("{} ways by services, {} of them open", count.0, count.1);
    Ok(End::Passed)
}

/// The front end takes what comes from outside; the others do not.
pub(super) fn outside(cluster: &Cluster) -> Result<End> {
    let Some(before) = &cluster.outside else {
        return Ok(End::Skipped(
            "it is not known from where node ports can be reached; --outside says it ('': from here)",
        ));
    };
    let list = cluster
        .kubectl
        .json(&["get", "services", "--all-namespaces"])?;
    let nodes = cluster.kubectl.json(&["get", "nodes"])?;
    let addresses: Vec<&str> = items(&nodes)
        .iter()
        .flat_map(|node| node["status"]["addresses"].as_array().into_iter().flatten())
        .filter(|address| address["type"] == "InternalIP")
        .filter_map(|address| address["address"].as_str())
        .collect();
    ensure!(
        !addresses.is_empty(),
        "no node has an address of the type InternalIP"
    );
    let port = |namespace: &str| {
        items(&list)
            .iter()
            .filter(|it| it["metadata"]["namespace"] == namespace)
            .find_map(|it| it["spec"]["ports"][0]["nodePort"].as_u64())
    };
    for (namespace, open) in [("web", true), ("esb", false)] {
        let port = port(namespace).context("the example has such a service")?;
        for node in &addresses {
            let url = format!("http://{}/", endpoint(node, port));
            let command =
                format!("{before} curl --globoff --silent --output /dev/null --max-time 3 {url}");
            eventually(&format!("{url} from outside"), || {
                let reached = Cluster::shell(&command, "").is_ok();
                ensure!(
                    reached == open,
                    "{namespace}: open {open}, and reached {reached}"
                );
                Ok(())
            })?;
        }
    }
    Ok(End::Passed)
}
