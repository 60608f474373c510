//! `ringfence metadata report --from kube2iam|kiam`: the grants to write for the pods that one of these serves now.
//!
//! **Invariant.** What is printed grants the pods that have a role now, and none of the others that are there now. Pods that
//! nothing but their annotation tells from others are granted only once they ask by our own annotation.

use std::{
    collections::BTreeMap,
    io::{self, Write as _},
    process::ExitCode,
};

use super::{
    super::{
        cluster,
        failure::{Failure, Outcome},
        manifests,
    },
    files,
    grants::{self, Wording, one_line},
    no_endpoint,
    roles::Broker,
};
use crate::{
    args::{Manifests, MetadataReportArgs, Switch},
    compile::Metadata,
    index::{Details, IamRoles},
    model::{Pod, Snapshot},
};

/// The annotation that kube2iam and kiam read.
const ROLE: &str = "iam.amazonaws.com/role";

pub(super) fn run(args: &MetadataReportArgs, broker: Broker) -> Outcome {
    let (snapshot, details) = read(args)?;
    let imds = ["imds".to_owned()];
    let endpoints = match args.endpoint.as_slice() {
        [] => &imds,
        named => named,
    };
    let known = Metadata::of(&snapshot);
    for name in endpoints {
        if !known.endpoints.contains_key(name.as_str()) {
            let names = known.endpoints.keys().map(|name| &**name);
            return Err(no_endpoint(
                name,
                names,
                ", or add it to the MetadataFirewall",
            ));
        }
    }
    let text = report(&snapshot, &details, endpoints, broker)?;
    let mut out = io::stdout().lock();
    write!(out, "{text}")?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn read(args: &MetadataReportArgs) -> Result<(Snapshot, Details), Failure> {
    let source = &args.source;
    if !source.files.is_empty() {
        return manifests::load_with_details(&files(source));
    }
    // A cluster without our kinds has no other endpoints than the catalogue's.
    let named = |name: &String| Metadata::default().endpoints.contains_key(name.as_str());
    let list = cluster::served(&source.cluster, !args.endpoint.iter().all(named))?;
    let mut file = tempfile::Builder::new().suffix(".yaml").tempfile()?;
    // JSON is YAML.
    serde_json::to_writer(&mut file, &list).map_err(io::Error::from)?;
    file.flush()?;
    manifests::load_with_details(&Manifests {
        files: vec![file.path().to_owned()],
        ignore_other_kinds: true,
        network_policy: Switch::On,
    })
}

fn report(
    snapshot: &Snapshot,
    details: &Details,
    endpoints: &[String],
    broker: Broker,
) -> Result<String, Failure> {
    let mut text = format!(
        "# Grants for the pods that {} serves now. Read the comments, then `kubectl apply -f` it.\n\
         # Whoever may create pods in a namespace chooses their labels and service accounts, and so who of them is meant here.\n",
        broker.name()
    );
    let mut namespaces: BTreeMap<&str, Vec<&Pod>> = BTreeMap::new();
    for pod in snapshot.pods.values().filter(|pod| pod.is_running()) {
        namespaces.entry(&pod.key.namespace).or_default().push(pod);
    }
    let mut any = false;
    for (namespace, pods) in namespaces {
        if !pods.iter().any(|pod| role(pod).is_some()) {
            continue;
        }
        any = true;
        let roles = details.iam_roles.get(namespace);
        write_namespace(&mut text, namespace, &pods, roles, (endpoints, broker))?;
    }
    if !any {
        text.push_str(&format!("# No pod that runs has the annotation {ROLE}.\n"));
    }
    Ok(text)
}

/// Pods that get no role now, and why.
type Refused<'a> = Vec<(&'a Pod, String)>;

/// The pods that are served, and those that are not; the last are those of the second that have a role and do not get it.
fn sort<'a>(
    pods: &[&'a Pod],
    roles: Option<&IamRoles>,
    broker: Broker,
) -> (Vec<&'a Pod>, Vec<&'a Pod>, Refused<'a>) {
    let (mut served, mut others, mut refused) = (Vec::new(), Vec::new(), Vec::new());
    for &pod in pods {
        match role(pod).map(|role| broker.refuses(roles, role)) {
            None => others.push(pod),
            Some(None) => served.push(pod),
            Some(Some(why)) => {
                refused.push((pod, why));
                others.push(pod);
            }
        }
    }
    (served, others, refused)
}

fn write_namespace(
    text: &mut String,
    namespace: &str,
    pods: &[&Pod],
    roles: Option<&IamRoles>,
    (endpoints, broker): (&[String], Broker),
) -> Result<(), Failure> {
    let (served, others, refused) = sort(pods, roles, broker);
    text.push_str(&format!("\n# Namespace {namespace}\n"));
    if let Some(value) = broker.says(roles) {
        text.push_str(&format!(
            "# {}: {}; a grant of metadata does not narrow roles, so keep that where it is enforced\n",
            broker.annotation(),
            one_line(value)
        ));
    }
    for (pod, why) in &refused {
        text.push_str(&format!(
            "# left out: pod {}: {} gives it nothing: {}\n",
            pod.key.name,
            broker.name(),
            one_line(why)
        ));
    }
    let wording = Wording {
        name: format!("{}-{namespace}", broker.name()),
        description: &format!("served by {} before", broker.name()),
        endpoints: endpoints.iter().map(String::as_str).collect(),
        about: &|pod| format!("role {}", role(pod).unwrap_or_default()),
    };
    grants::write(text, namespace, &grants::plan(served, &others), &wording)
}

fn role(pod: &Pod) -> Option<&str> {
    pod.metadata_requests.get(ROLE)
}

#[cfg(test)]
mod tests;
