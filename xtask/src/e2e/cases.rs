//! The tests, in their order: each leaves the cluster as it found it, and the last one takes Ringfence out.

use std::{collections::BTreeMap, fmt, thread, time::Instant};

use anyhow::{Context as _, Result, bail, ensure};

use super::{
    cluster::{Cluster, items, names},
    eventually, example,
    expect::{self, Pod},
    install,
    probe::{self, Outcome},
};
use crate::chart;

/// What became of a test.
enum End {
    Passed,
    Skipped(&'static str),
}

type Case = (&'static str, fn(&Cluster) -> Result<End>);

const CASES: [Case; 8] = [
    ("every agent is ready and knows its pods", status),
    ("pods reach each other as policy says", ways),
    ("services are what stands behind them", services),
    ("probes pass under default deny", probes),
    ("metadata is refused at once", metadata),
    (
        "a rolling restart lets nothing through and breaks nothing",
        rolling_restart,
    ),
    ("a restarted node enforces as before", node_restart),
    ("detach takes everything off", detach),
];

/// Counts.
#[derive(Default)]
pub struct Report {
    /// Tests that held.
    pub passed: usize,
    /// Tests that did not.
    pub failed: usize,
    /// Tests that could not run here.
    pub skipped: usize,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            passed,
            failed,
            skipped,
        } = self;
        write!(f, "{passed} passed, {failed} failed, {skipped} skipped")
    }
}

/// Runs those whose name contains the filter.
pub fn run(cluster: &Cluster, filter: Option<&str>) -> Report {
    let mut report = Report::default();
    for (name, case) in CASES {
        if filter.is_some_and(|filter| !name.contains(filter)) {
            continue;
        }
        let started = Instant::now();
        let end = case(cluster);
        let took = started.elapsed().as_secs_f64();
        match end {
            Ok(End::Passed) => {
                report.passed += 1;
                println!("ok      {name} ({took:.1} s)");
            }
            Ok(End::Skipped(why)) => {
                report.skipped += 1;
                println!("skipped {name}: {why}");
            }
            Err(error) => {
                report.failed += 1;
                println!("FAILED  {name} ({took:.1} s): {error:#}");
            }
        }
    }
    report
}

/// The example's pods, and everything that decides.
fn look(cluster: &Cluster) -> Result<(Vec<Pod>, Vec<serde_json::Value>)> {
    let objects = expect::objects(cluster)?;
    let pods = expect::pods(&objects, &example::namespaces(&example::documents()?));
    ensure!(pods.len() >= 2, "fewer than two of the example's pods run");
    Ok((pods, objects))
}

fn status(cluster: &Cluster) -> Result<End> {
    let nodes = cluster.nodes()?.len();
    let (pods, _) = look(cluster)?;
    eventually("every agent is ready", || {
        let list = cluster.ringfence(&["status"])?;
        let rows = items(&list);
        ensure!(
            rows.len() == nodes,
            "{} agents on {nodes} nodes",
            rows.len()
        );
        for row in rows {
            ensure!(row["answer"]["ready"] == true, "not ready: {row}");
            let unplaced = &row["answer"]["unplaced"];
            ensure!(
                unplaced.as_array().is_some_and(Vec::is_empty),
                "not found: {unplaced}"
            );
        }
        Ok(())
    })?;
    let list = cluster.ringfence(&["endpoints"])?;
    for pod in pods {
        let found = items(&list).iter().find(|it| it["pod"] == pod.id());
        let found = found.with_context(|| format!("{} is no endpoint", pod.id()))?;
        ensure!(
            found["node"] == pod.node,
            "{} is on {}",
            pod.id(),
            found["node"]
        );
    }
    Ok(End::Passed)
}

fn ways(cluster: &Cluster) -> Result<End> {
    let (pods, objects) = look(cluster)?;
    let nodes: std::collections::BTreeSet<&str> = pods.iter().map(|it| it.node.as_str()).collect();
    let expected = expect::matrix(&objects)?;
    let allowed = eventually("every way goes as policy says", || {
        all_ways(cluster, &pods, &expected)
    })?;
    let tried = pods.len() * pods.iter().map(|pod| pod.ports.len()).sum::<usize>();
    eprintln!(
        "{tried} ways on {} nodes, {allowed} of them open",
        nodes.len()
    );
    // What holds must hold at once, too, not only in the end.
    all_ways(cluster, &pods, &expected)?;
    Ok(End::Passed)
}

/// Tries every way once; how many are open, if each goes as it should.
fn all_ways(
    cluster: &Cluster,
    pods: &[Pod],
    expected: &BTreeMap<(String, String, u64), bool>,
) -> Result<usize> {
    let mut wrong = Vec::new();
    let mut open = 0;
    for from in pods {
        let targets: Vec<(String, (String, String, u64))> = pods
            .iter()
            .flat_map(|to| {
                to.ports
                    .iter()
                    .map(|port| (endpoint(&to.address, *port), (from.id(), to.id(), *port)))
            })
            .collect();
        let words: Vec<String> = targets.iter().map(|(target, _)| target.clone()).collect();
        let outcomes = probe::connect(cluster, from, &words)?;
        for (target, way) in targets {
            let allowed = *expected
                .get(&way)
                .with_context(|| format!("`ringfence matrix` says nothing of {way:?}"))?;
            let outcome = outcomes.get(&target).copied().unwrap_or(Outcome::Other);
            open += usize::from(allowed);
            if allowed != (outcome == Outcome::Reached) {
                let word = if allowed { "allowed" } else { "denied" };
                wrong.push(format!(
                    "{} -> {}:{} is {word}, and {outcome:?}",
                    way.0, way.1, way.2
                ));
            }
        }
    }
    if !wrong.is_empty() {
        bail!("{} ways are wrong: {}", wrong.len(), wrong.join("; "));
    }
    Ok(open)
}

/// An address and a port as programs take them.
fn endpoint(address: &str, port: u64) -> String {
    if address.contains(':') {
        format!("[{address}]:{port}")
    } else {
        format!("{address}:{port}")
    }
}

/// A Service's address leads where its pod is, and to the port that it translates to.
fn services(cluster: &Cluster) -> Result<End> {
    let (pods, objects) = look(cluster)?;
    let expected = expect::matrix(&objects)?;
    let list = cluster
        .kubectl
        .json(&["get", "services", "--all-namespaces"])?;
    let mut targets: Vec<(String, String, u64)> = Vec::new();
    for to in &pods {
        // Those with one pod behind them: then the matrix says what a connection becomes.
        for service in items(&list) {
            let spec = &service["spec"];
            let name = &service["metadata"]["name"];
            if service["metadata"]["namespace"] != to.namespace
                || pods
                    .iter()
                    .filter(|it| it.namespace == to.namespace)
                    .count()
                    != 1
            {
                continue;
            }
            let port = spec["ports"][0]["port"].as_u64().context("a port")?;
            ensure!(to.ports.contains(&port), "{name} has a port of its own");
            let address = spec["clusterIP"].as_str().context("an address")?;
            targets.push((endpoint(address, port), to.id(), port));
        }
    }
    ensure!(
        !targets.is_empty(),
        "there is no service with one pod behind it"
    );
    eventually("services lead where policy says", || {
        for from in &pods {
            let words: Vec<String> = targets.iter().map(|it| it.0.clone()).collect();
            let outcomes = probe::connect(cluster, from, &words)?;
            for (target, to, port) in &targets {
                let allowed = expected.get(&(from.id(), to.clone(), *port)) == Some(&true);
                let outcome = outcomes.get(target);
                // A pod that reaches itself through a Service may or may not: that is up to the cluster.
                if from.id() != *to && allowed != (outcome == Some(&Outcome::Reached)) {
                    bail!(
                        "{} -> {to} by {target}: allowed {allowed}, and {outcome:?}",
                        from.id()
                    );
                }
            }
        }
        Ok(())
    })?;
    outside(cluster, &pods, &list)
}

/// The front end takes what comes from outside; the others do not.
fn outside(cluster: &Cluster, pods: &[Pod], services: &serde_json::Value) -> Result<End> {
    let Some(before) = &cluster.outside else {
        return Ok(End::Passed);
    };
    let nodes = cluster.kubectl.json(&["get", "nodes"])?;
    let node = items(&nodes)
        .iter()
        .flat_map(|node| node["status"]["addresses"].as_array().into_iter().flatten())
        .find(|address| address["type"] == "InternalIP")
        .and_then(|address| address["address"].as_str())
        .context("no node has an address")?;
    let port = |namespace: &str| {
        items(services)
            .iter()
            .find(|it| it["metadata"]["namespace"] == namespace)
            .and_then(|it| it["spec"]["ports"][0]["nodePort"].as_u64())
    };
    for (namespace, open) in [("web", true), ("esb", false)] {
        let port = port(namespace).context("the example has such a service")?;
        let url = format!("http://{}/", endpoint(node, port));
        let command = format!("{before} curl --silent --output /dev/null --max-time 3 {url}");
        eventually(&format!("{url} from outside"), || {
            let reached = Cluster::shell(&command, "").is_ok();
            ensure!(
                reached == open,
                "{namespace}: open {open}, and reached {reached}"
            );
            Ok(())
        })?;
    }
    ensure!(!pods.is_empty(), "no pods");
    Ok(End::Passed)
}

/// Every pod of the example has a readiness probe, and every namespace a policy that allows nothing by itself.
fn probes(cluster: &Cluster) -> Result<End> {
    let (pods, _) = look(cluster)?;
    // New ones, so that none was ready before policy was in force.
    for pod in &pods {
        cluster.kubectl.run(&[
            "-n",
            &pod.namespace,
            "delete",
            "pod",
            &pod.name,
            "--wait=false",
        ])?;
    }
    let count = pods.len();
    eventually("the new pods are ready", || {
        let (now, _) = look(cluster)?;
        ensure!(now.len() == count, "{} of {count} run", now.len());
        ensure!(
            now.iter().all(|pod| !pods.contains(pod)),
            "old pods still run"
        );
        for pod in &now {
            cluster.kubectl.run(&[
                "-n",
                &pod.namespace,
                "wait",
                "--for=condition=Ready",
                "pod",
                &pod.name,
                "--timeout=30s",
            ])?;
        }
        Ok(())
    })?;
    Ok(End::Passed)
}

fn metadata(cluster: &Cluster) -> Result<End> {
    let list = cluster.ringfence(&["status"])?;
    let sockets = |row: &serde_json::Value| {
        row["answer"]["socketHooks"]
            .as_str()
            .is_some_and(|it| it.starts_with('/'))
    };
    if !items(&list).iter().all(sockets) {
        return Ok(End::Skipped("the nodes have no hooks on sockets"));
    }
    let (pods, _) = look(cluster)?;
    let target = "169.254.169.254:80".to_owned();
    eventually("who has no grant is refused", || {
        for pod in pods.iter().filter(|pod| pod.namespace != "ci") {
            let outcomes = probe::connect(cluster, pod, std::slice::from_ref(&target))?;
            let outcome = outcomes.get(&target);
            ensure!(
                outcome == Some(&Outcome::Refused),
                "{}: {outcome:?}",
                pod.id()
            );
        }
        Ok(())
    })?;
    Ok(End::Passed)
}

/// Connects again and again, from one pod by an open way and by a closed one, while something happens; (tries, reached)
/// of both.
fn meanwhile(
    cluster: &Cluster,
    happens: impl FnOnce() -> Result<()> + Send,
) -> Result<[(usize, usize); 2]> {
    let (pods, objects) = look(cluster)?;
    let expected = expect::matrix(&objects)?;
    let way = |open: bool| {
        pods.iter().find_map(|from| {
            let other = |to: &&Pod| to.id() != from.id();
            let mut ways = pods
                .iter()
                .filter(other)
                .flat_map(|to| to.ports.iter().map(move |port| (to, *port)));
            let found =
                ways.find(|(to, port)| expected.get(&(from.id(), to.id(), *port)) == Some(&open));
            found.map(|(to, port)| (from.clone(), endpoint(&to.address, port)))
        })
    };
    let ways = [
        way(true).context("no way is open")?,
        way(false).context("no way is closed")?,
    ];
    for (from, _) in &ways {
        probe::shell(cluster, from, "rm -f /tmp/stop")?;
    }
    thread::scope(|scope| {
        let streams = ways.each_ref().map(|(from, target)| {
            scope.spawn(move || {
                // Ten minutes at most, should nobody say when it is over.
                let script = format!(
                    "n=0; ok=0; end=$(($(date +%s) + 600)); while [ ! -e /tmp/stop ] && [ $(date +%s) -lt $end ]; do n=$((n+1)); \
                     /agnhost connect --timeout=2s {target} >/dev/null 2>&1 && ok=$((ok+1)); done; echo $n $ok"
                );
                probe::shell(cluster, from, &script)
            })
        });
        let happened = happens();
        for (from, _) in &ways {
            probe::shell(cluster, from, "touch /tmp/stop")?;
        }
        let mut counts = [(0, 0); 2];
        for (stream, count) in streams.into_iter().zip(&mut counts) {
            let text = stream
                .join()
                .map_err(|_panic| anyhow::anyhow!("a stream broke"))??;
            let mut numbers = text.split_whitespace().map(str::parse);
            let (Some(Ok(tries)), Some(Ok(reached))) = (numbers.next(), numbers.next()) else {
                bail!("a stream said {text:?}");
            };
            *count = (tries, reached);
        }
        happened.map(|()| counts)
    })
}

fn rolling_restart(cluster: &Cluster) -> Result<End> {
    let [open, closed] = meanwhile(cluster, || {
        cluster.kubectl.run(&[
            "-n",
            chart::NAMESPACE,
            "rollout",
            "restart",
            "daemonset/ringfence",
        ])?;
        cluster.wait_for_agents()
    })?;
    eprintln!(
        "the open way was taken {} of {} times, the closed one {} of {}",
        open.1, open.0, closed.1, closed.0
    );
    ensure!(open.0 > 0 && closed.0 > 0, "nothing was tried");
    ensure!(
        open.1 == open.0,
        "the open way failed {} of {} times",
        open.0 - open.1,
        open.0
    );
    ensure!(closed.1 == 0, "the closed way was open {} times", closed.1);
    Ok(End::Passed)
}

fn node_restart(cluster: &Cluster) -> Result<End> {
    let Some(restart) = &cluster.restart_node else {
        return Ok(End::Skipped("--restart-node says how"));
    };
    for node in cluster.nodes()? {
        Cluster::shell(restart, &node)?;
        eventually("the node is ready again", || {
            cluster.kubectl.run(&[
                "wait",
                "--for=condition=Ready",
                &format!("node/{node}"),
                "--timeout=60s",
            ])
        })?;
    }
    cluster.wait_for_agents()?;
    probes_run_again(cluster)?;
    status(cluster)?;
    ways(cluster)
}

/// After a restart of the runtime pods may be new ones.
fn probes_run_again(cluster: &Cluster) -> Result<()> {
    eventually("the pods are ready again", || {
        for namespace in example::namespaces(&example::documents()?) {
            cluster.kubectl.run(&[
                "-n",
                &namespace,
                "wait",
                "--for=condition=Available",
                "deployment",
                "--all",
                "--timeout=60s",
            ])?;
        }
        Ok(())
    })
}

fn detach(cluster: &Cluster) -> Result<End> {
    install::uninstall()?;
    let (pods, objects) = look(cluster)?;
    let expected = expect::matrix(&objects)?;
    // With every way open, nobody enforces any more.
    let open: BTreeMap<(String, String, u64), bool> =
        expected.into_keys().map(|way| (way, true)).collect();
    eventually("every way is open", || all_ways(cluster, &pods, &open))?;
    // What took it off goes last, a moment after the release.
    eventually("nothing is left behind", || {
        let left = cluster.kubectl.json(&[
            "get",
            "daemonsets,jobs,pods,roles,rolebindings",
            "-n",
            chart::NAMESPACE,
        ])?;
        ensure!(names(&left).is_empty(), "left behind: {:?}", names(&left));
        Ok(())
    })?;
    Ok(End::Passed)
}
