//! `ringfence metadata report --from kube2iam|kiam`: the grants to write for the pods that one of these serves now.
//!
//! **Invariant.** What is printed grants the pods that have a role now, and none of the others that are there now. Pods that
//! nothing but their annotation tells from others are granted only once they ask by our own annotation.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Write as _},
    process::ExitCode,
};

use serde_json::{Value, json};

use super::{
    super::{
        cluster,
        failure::{Failure, Outcome},
        manifests,
    },
    files, no_endpoint,
    roles::Broker,
};
use crate::{
    args::{Manifests, MetadataReportArgs, Switch},
    compile::Metadata,
    index::{Details, IamRoles},
    metadata::ACCESS_ANNOTATION,
    model::{Pod, Snapshot},
};

/// The annotation that kube2iam and kiam read.
const ROLE: &str = "iam.amazonaws.com/role";
/// Subjects that one object may have.
const SUBJECTS: usize = 32;
/// Labels of one pod only, or of one version of its owner: they do not outlive it.
const FLEETING: [&str; 10] = [
    "pod-template-hash",
    "pod-template-generation",
    "controller-revision-hash",
    "controller-uid",
    "batch.kubernetes.io/controller-uid",
    "job-name",
    "batch.kubernetes.io/job-name",
    "batch.kubernetes.io/job-completion-index",
    "statefulset.kubernetes.io/pod-name",
    "apps.kubernetes.io/pod-index",
];

pub(super) fn run(args: &MetadataReportArgs, broker: Broker) -> Outcome {
    let (snapshot, details) = read(args)?;
    let known = Metadata::of(&snapshot);
    for name in &args.endpoint {
        if !known.endpoints.contains_key(name.as_str()) {
            let names = known.endpoints.keys().map(|name| &**name);
            return Err(no_endpoint(
                name,
                names,
                ", or add it to the MetadataFirewall",
            ));
        }
    }
    let text = report(&snapshot, &details, &args.endpoint, broker)?;
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

/// What is to be granted in a namespace.
#[derive(Default)]
struct Plan<'a> {
    /// By what a subject selects, the pods that it is for.
    subjects: BTreeMap<(String, BTreeMap<String, String>), Vec<&'a Pod>>,
    /// Pods that nothing tells from others.
    alike: BTreeMap<String, Vec<&'a Pod>>,
    /// Pods that get no role now, and why.
    refused: Vec<(&'a Pod, String)>,
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
        let plan = plan(&pods, roles, broker);
        write_plan(&mut text, namespace, &plan, roles, (endpoints, broker))?;
    }
    if !any {
        text.push_str(&format!("# No pod that runs has the annotation {ROLE}.\n"));
    }
    Ok(text)
}

fn plan<'a>(pods: &[&'a Pod], roles: Option<&IamRoles>, broker: Broker) -> Plan<'a> {
    let mut plan = Plan::default();
    let (mut served, mut others) = (Vec::new(), Vec::new());
    for &pod in pods {
        match role(pod).map(|role| broker.refuses(roles, role)) {
            None => others.push(pod),
            Some(None) => served.push(pod),
            Some(Some(why)) => {
                plan.refused.push((pod, why));
                others.push(pod);
            }
        }
    }
    for pod in served {
        let account = pod.service_account.to_string();
        let alike: Vec<&&Pod> = others
            .iter()
            .filter(|other| other.service_account == pod.service_account)
            .collect();
        let labels: BTreeMap<String, String> = pod
            .labels
            .iter()
            .filter(|(key, _)| !FLEETING.contains(key))
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        let has_all = |other: &Pod| {
            let mut labels = labels.iter();
            labels.all(|(key, value)| other.labels.get(key) == Some(value))
        };
        // Whoever names no account has `default`: it says nothing of who he is.
        if alike.is_empty() && (account != "default" || labels.is_empty()) {
            let subject = (account, BTreeMap::new());
            plan.subjects.entry(subject).or_default().push(pod);
        } else if labels.len() > 16 || alike.iter().any(|other| has_all(other)) {
            plan.alike.entry(account).or_default().push(pod);
        } else {
            plan.subjects
                .entry((account, labels))
                .or_default()
                .push(pod);
        }
    }
    plan
}

fn write_plan(
    text: &mut String,
    namespace: &str,
    plan: &Plan<'_>,
    roles: Option<&IamRoles>,
    (endpoints, broker): (&[String], Broker),
) -> Result<(), Failure> {
    text.push_str(&format!("\n# Namespace {namespace}\n"));
    if let Some(value) = broker.says(roles) {
        text.push_str(&format!(
            "# {}: {}; a grant of metadata does not narrow roles, so keep that where it is enforced\n",
            broker.annotation(),
            one_line(value)
        ));
    }
    for (pod, why) in &plan.refused {
        text.push_str(&format!(
            "# left out: pod {}: {} gives it nothing: {}\n",
            pod.key.name,
            broker.name(),
            one_line(why)
        ));
    }
    let subjects: Vec<_> = plan.subjects.iter().collect();
    for (at, part) in subjects.chunks(SUBJECTS).enumerate() {
        let suffix = if at == 0 {
            String::new()
        } else {
            format!(".{}", at + 1)
        };
        let mut pods = Vec::new();
        let mut list = Vec::new();
        for ((account, labels), of) in part {
            pods.extend(of.iter().copied());
            list.push(subject(namespace, account, labels));
        }
        say_pods(text, &pods);
        // No namespace's name has a dot: none of these names is another's.
        let name = format!("{}-{namespace}{suffix}", broker.name());
        document(text, &name, list, "Ignored", (endpoints, broker))?;
    }
    let mut list = Vec::new();
    let mut pods = Vec::new();
    for (account, of) in &plan.alike {
        pods.extend(of.iter().copied());
        list.push(subject(namespace, account, &BTreeMap::new()));
    }
    for (at, part) in list.chunks(SUBJECTS).enumerate() {
        let suffix = if at == 0 {
            String::new()
        } else {
            format!(".{}", at + 1)
        };
        let name = format!("{}-{namespace}.asking{suffix}", broker.name());
        text.push_str(&format!(
            "# Neither labels nor service account tell these pods from others: they are granted once they have the annotation\n\
             # {ACCESS_ANNOTATION}: {name}\n"
        ));
        if at == 0 {
            say_pods(text, &pods);
        }
        document(text, &name, part.to_vec(), "Required", (endpoints, broker))?;
    }
    Ok(())
}

fn say_pods(text: &mut String, pods: &[&Pod]) {
    for pod in pods {
        text.push_str(&format!(
            "# pod {}, service account {}: role {}\n",
            pod.key.name,
            pod.service_account,
            one_line(role(pod).unwrap_or_default())
        ));
    }
}

fn subject(namespace: &str, account: &str, labels: &BTreeMap<String, String>) -> Value {
    let mut subject = json!({
        "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": namespace } },
        "serviceAccountNames": [account],
    });
    if !labels.is_empty() {
        subject["podSelector"] = json!({ "matchLabels": labels });
    }
    subject
}

fn document(
    text: &mut String,
    name: &str,
    subjects: Vec<Value>,
    pod_annotation: &str,
    (endpoints, broker): (&[String], Broker),
) -> Result<(), Failure> {
    let names: BTreeSet<&String> = endpoints.iter().collect();
    let object = json!({
        "apiVersion": "ringfence.dev/v1alpha1",
        "kind": "MetadataAccess",
        "metadata": { "name": name },
        "spec": {
            "description": format!("served by {} before", broker.name()),
            "endpointNames": names,
            "subjects": subjects,
            "podAnnotation": pod_annotation,
        },
    });
    let yaml = serde_saphyr::to_string(&object)
        .map_err(|error| Failure::new(format!("cannot write YAML: {error}")))?;
    text.push_str(yaml.trim_end());
    text.push_str("\n---\n");
    Ok(())
}

fn role(pod: &Pod) -> Option<&str> {
    pod.metadata_requests.get(ROLE)
}

/// What somebody else has written ends no comment.
fn one_line(text: &str) -> String {
    let shown = |letter: char| if letter.is_control() { ' ' } else { letter };
    text.chars().map(shown).collect()
}

#[cfg(test)]
mod tests;
