//! `ringfence metadata report --from audit`: the grants to write for the pods that have reached metadata without one, while the metadata
//! firewall was in audit.
//!
//! **Invariant.** What is printed grants the workloads whose pods have reached an endpoint, that endpoint, and none of the others that are
//! there now. Of pods that are gone, or that nobody knows, it says so: they would be denied.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Write as _},
    process::ExitCode,
};

use super::{
    super::failure::{Failure, Outcome},
    ask,
    grants::{self, Wording, lasting, one_line},
    no_endpoint,
};
use crate::{
    admin::metadata::{Metadata, MetadataNeighbour, MetadataTried},
    args::MetadataReportArgs,
    model::{Labels, Pod, PodKey},
};

pub(super) fn run(args: &MetadataReportArgs) -> Outcome {
    if !args.source.files.is_empty() {
        return Err(
            Failure::new("manifests do not tell who has reached metadata".to_owned())
                .help("leave -f out, and ask this node's agent, or with --all-nodes every node's"),
        );
    }
    let (metadata, code) = ask(&args.source)?;
    let names = || metadata.endpoints.iter().map(|it| it.name.as_str());
    if let Some(unknown) = args
        .endpoint
        .iter()
        .find(|it| !names().any(|name| name == **it))
    {
        return Err(no_endpoint(unknown, names(), ""));
    }
    let text = report(&metadata, &args.endpoint)?;
    let mut out = io::stdout().lock();
    write!(out, "{text}")?;
    out.flush()?;
    if code == ExitCode::SUCCESS && metadata.forgotten > 0 {
        return Ok(ExitCode::from(2));
    }
    Ok(code)
}

/// Pods of a namespace that have reached an endpoint without a grant, by name.
type Reached<'a> = BTreeMap<&'a str, &'a MetadataTried>;

fn report(metadata: &Metadata, endpoints: &[String]) -> Result<String, Failure> {
    let since = metadata.since.as_deref().unwrap_or("the agents' start");
    let mut text = format!(
        "# Grants for the pods that have reached metadata in an audit since {since}. Read the comments, then `kubectl apply -f` it.\n\
         # Whoever may create pods in a namespace chooses their labels and service accounts, and so who of them is meant here.\n\
         # Who runs seldom, and has not yet, is not here.\n"
    );
    if !metadata.audited {
        text.push_str("# The metadata firewall is not in audit now.\n");
    }
    if metadata.forgotten > 0 {
        text.push_str(&format!("# Incomplete: {} that reached it are forgotten for want of room. Apply this, and look again.\n",
            metadata.forgotten));
    }
    let mut wanted: BTreeMap<(&str, &str), Reached<'_>> = BTreeMap::new();
    for pod in &metadata.pods {
        for tried in &pod.reached {
            let Some(endpoint) = tried.endpoint.as_deref() else {
                text.push_str(&format!(
                    "# left out: {}: {} is no metadata endpoint any more\n",
                    pod.pod, tried.address
                ));
                continue;
            };
            let is_asked = endpoints.is_empty() || endpoints.iter().any(|it| it == endpoint);
            if !is_asked || pod.grants_of(metadata, endpoint).next().is_some() {
                continue;
            }
            match pod.pod.split_once('/') {
                Some((namespace, name)) => {
                    let reached = wanted.entry((namespace, endpoint)).or_default();
                    reached.insert(name, tried);
                }
                None => text.push_str(&format!(
                    "# left out: {}, which has reached {endpoint} and is no pod that is known\n",
                    pod.pod
                )),
            }
        }
    }
    if wanted.is_empty() {
        text.push_str("# No pod without a grant has reached it.\n");
    }
    for ((namespace, endpoint), reached) in &wanted {
        write_one(&mut text, metadata, namespace, endpoint, reached)?;
    }
    Ok(text)
}

/// The objects for one namespace and one endpoint.
fn write_one(
    text: &mut String,
    metadata: &Metadata,
    namespace: &str,
    endpoint: &str,
    reached: &Reached<'_>,
) -> Result<(), Failure> {
    text.push_str(&format!("\n# Namespace {namespace}, endpoint {endpoint}\n"));
    let there = metadata.namespaces.get(namespace);
    let pods: Vec<Pod> = there
        .into_iter()
        .flatten()
        .map(|it| known(namespace, it))
        .collect();
    for (name, tried) in reached {
        if !pods.iter().any(|pod| pod.key.name == *name) {
            let gone = "which is gone: if others will come in its place, grant it to them";
            text.push_str(&format!(
                "# left out: pod {name} ({}), {gone}\n",
                times(tried)
            ));
        }
    }
    let has_reached = |pod: &&Pod| reached.contains_key(&*pod.key.name);
    // Replicas of one that has reached it are no others.
    let workloads: BTreeSet<_> = pods
        .iter()
        .filter(has_reached)
        .map(workload)
        .filter(|(_, labels)| !labels.is_empty())
        .collect();
    let is_served = |pod: &&Pod| has_reached(pod) || workloads.contains(&workload(pod));
    let (served, others): (Vec<&Pod>, Vec<&Pod>) = pods.iter().partition(is_served);
    let wording = Wording {
        name: format!("audit-{namespace}.{endpoint}"),
        description: "reached it without a grant while the metadata firewall was in audit",
        endpoints: BTreeSet::from([endpoint]),
        about: &|pod| match reached.get(&*pod.key.name) {
            Some(tried) => times(tried),
            None => "has not reached it itself".to_owned(),
        },
    };
    grants::write(text, namespace, &grants::plan(served, &others), &wording)
}

/// What replicas have in common.
fn workload(pod: &Pod) -> (String, BTreeMap<String, String>) {
    (pod.service_account.to_string(), lasting(pod))
}

fn times(tried: &MetadataTried) -> String {
    let times = match tried.times {
        1 => "once".to_owned(),
        times => format!("{times} times"),
    };
    one_line(&format!("{times}, last at {}", tried.last))
}

fn known(namespace: &str, pod: &MetadataNeighbour) -> Pod {
    Pod {
        key: PodKey {
            namespace: namespace.to_owned(),
            name: pod.name.clone(),
        },
        labels: pod.labels.clone().into_iter().collect::<Labels>(),
        service_account: pod.service_account.as_str().into(),
        ..Pod::default()
    }
}

#[cfg(test)]
mod tests;
