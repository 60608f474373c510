//! `ringfence metadata report --from kube2iam`: the grants to write for the pods that kube2iam or kiam serve now.
//!
//! **Invariant.** What is printed grants the pods that have a role now, and none of the others that are there now. Pods that
//! nothing but their annotation tells from others are granted only once they ask by our own annotation.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Write as _},
    process::ExitCode,
};

use regex::Regex;
use serde_json::{Value, json};

use super::{
    super::{
        cluster,
        failure::{Failure, Outcome},
        manifests,
    },
    files,
};
use crate::{
    args::{Manifests, MetadataReportArgs, Switch},
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

pub(super) fn run(args: &MetadataReportArgs) -> Outcome {
    let (snapshot, details) = read(args)?;
    let text = report(&snapshot, &details, &args.endpoint)?;
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
    let list = cluster::served(&source.cluster)?;
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
    /// Pods whose role their namespace does not permit.
    refused: Vec<&'a Pod>,
}

fn report(snapshot: &Snapshot, details: &Details, endpoints: &[String]) -> Result<String, Failure> {
    let mut text = String::from(
        "# Grants for the pods that kube2iam or kiam serve now. Read the comments, then `kubectl apply -f` it.\n\
         # Whoever may create pods in a namespace chooses their labels and service accounts, and so who of them is meant here.\n",
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
        let plan = plan(&pods, roles);
        write_plan(&mut text, namespace, &plan, roles, endpoints)?;
    }
    if !any {
        text.push_str(&format!("# No pod that runs has the annotation {ROLE}.\n"));
    }
    Ok(text)
}

fn plan<'a>(pods: &[&'a Pod], roles: Option<&IamRoles>) -> Plan<'a> {
    let mut plan = Plan::default();
    let (mut served, mut others) = (Vec::new(), Vec::new());
    for &pod in pods {
        match role(pod) {
            None => others.push(pod),
            Some(role) if permits(roles, role) => served.push(pod),
            Some(_) => {
                plan.refused.push(pod);
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
    endpoints: &[String],
) -> Result<(), Failure> {
    text.push_str(&format!("\n# Namespace {namespace}\n"));
    let permitted = roles.and_then(|roles| roles.permitted.as_deref());
    let allowed = roles.and_then(|roles| roles.allowed.as_deref());
    for (key, value) in [
        ("iam.amazonaws.com/permitted", permitted),
        ("iam.amazonaws.com/allowed-roles", allowed),
    ] {
        if let Some(value) = value {
            text.push_str(&format!(
                "# {key}: {}; a grant of metadata does not narrow roles, so keep that where it is enforced\n",
                one_line(value)
            ));
        }
    }
    for pod in &plan.refused {
        text.push_str(&format!(
            "# left out: pod {}: its namespace does not permit role {}\n",
            pod.key.name,
            one_line(role(pod).unwrap_or_default())
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
        let name = format!("kube2iam-{namespace}{suffix}");
        document(text, &name, list, "Ignored", endpoints)?;
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
        let name = format!("kube2iam-{namespace}.asking{suffix}");
        text.push_str(&format!(
            "# Neither labels nor service account tell these pods from others: they are granted once they have the annotation\n\
             # {ACCESS_ANNOTATION}: {name}\n"
        ));
        if at == 0 {
            say_pods(text, &pods);
        }
        document(text, &name, part.to_vec(), "Required", endpoints)?;
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
    endpoints: &[String],
) -> Result<(), Failure> {
    let names: BTreeSet<&String> = endpoints.iter().collect();
    let object = json!({
        "apiVersion": "ringfence.dev/v1alpha1",
        "kind": "MetadataAccess",
        "metadata": { "name": name },
        "spec": {
            "description": "served by kube2iam or kiam before",
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

/// True unless the namespace says which roles its pods may have, and this is none of them. What cannot be read permits
/// nothing, as there.
fn permits(roles: Option<&IamRoles>, role: &str) -> bool {
    let Some(roles) = roles else {
        return true;
    };
    let permitted = roles.permitted.as_deref().is_none_or(|pattern| {
        let pattern = Regex::new(pattern);
        pattern.is_ok_and(|pattern| pattern.is_match(role))
    });
    let allowed = roles.allowed.as_deref().is_none_or(|list| {
        let list: Vec<String> = serde_json::from_str(list).unwrap_or_default();
        let name = |role: &str| role.rsplit('/').next().unwrap_or(role).to_owned();
        list.iter()
            .any(|glob| matches(glob, role) || matches(&name(glob), &name(role)))
    });
    permitted && allowed
}

/// Matches a glob, in which `*` stands for anything.
fn matches(glob: &str, text: &str) -> bool {
    let parts: Vec<String> = glob.split('*').map(regex::escape).collect();
    let pattern = Regex::new(&format!("^{}$", parts.join(".*")));
    pattern.is_ok_and(|pattern| pattern.is_match(text))
}

/// What somebody else has written ends no comment.
fn one_line(text: &str) -> String {
    let shown = |letter: char| if letter.is_control() { ' ' } else { letter };
    text.chars().map(shown).collect()
}

#[cfg(test)]
mod tests;
