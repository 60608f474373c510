//! The grants to write for pods, as YAML: by service account, else by labels; those that neither tells from others must ask.
//!
//! **Invariant.** What is printed grants these pods, and none of the others that are there now.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::super::failure::Failure;
use crate::{metadata::ACCESS_ANNOTATION, model::Pod};

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

/// What is to be granted in a namespace.
#[derive(Default)]
pub(super) struct Plan<'a> {
    /// By what a subject selects, the pods that it is for.
    subjects: BTreeMap<(String, BTreeMap<String, String>), Vec<&'a Pod>>,
    /// Pods that nothing tells from others.
    alike: BTreeMap<String, Vec<&'a Pod>>,
}

/// How it is said.
pub(super) struct Wording<'a> {
    /// The first object's name.
    pub(super) name: String,
    /// What the objects are for.
    pub(super) description: &'a str,
    /// Endpoints that they open.
    pub(super) endpoints: BTreeSet<&'a str>,
    /// What is said of a pod behind its name and service account.
    pub(super) about: &'a dyn Fn(&Pod) -> String,
}

/// Labels of a pod that its successors will have too.
pub(super) fn lasting(pod: &Pod) -> BTreeMap<String, String> {
    let labels = pod.labels.iter();
    let labels = labels.filter(|(key, _)| !FLEETING.contains(key));
    labels
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// How these pods of a namespace are told from its others.
pub(super) fn plan<'a>(served: Vec<&'a Pod>, others: &[&'a Pod]) -> Plan<'a> {
    let mut plan = Plan::default();
    for pod in served {
        let account = pod.service_account.to_string();
        let alike: Vec<&&Pod> = others
            .iter()
            .filter(|other| other.service_account == pod.service_account)
            .collect();
        let labels = lasting(pod);
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

/// Writes the objects of a plan.
pub(super) fn write(
    text: &mut String,
    namespace: &str,
    plan: &Plan<'_>,
    wording: &Wording<'_>,
) -> Result<(), Failure> {
    let suffix = |at: usize| match at {
        0 => String::new(),
        at => format!(".{}", at + 1),
    };
    let subjects: Vec<_> = plan.subjects.iter().collect();
    for (at, part) in subjects.chunks(SUBJECTS).enumerate() {
        let mut pods = Vec::new();
        let mut list = Vec::new();
        for ((account, labels), of) in part {
            pods.extend(of.iter().copied());
            list.push(subject(namespace, account, labels));
        }
        say_pods(text, &pods, wording);
        // No namespace's name has a dot: none of these names is another's.
        let name = format!("{}{}", wording.name, suffix(at));
        document(text, &name, list, "Ignored", wording)?;
    }
    let mut list = Vec::new();
    let mut pods = Vec::new();
    for (account, of) in &plan.alike {
        pods.extend(of.iter().copied());
        list.push(subject(namespace, account, &BTreeMap::new()));
    }
    for (at, part) in list.chunks(SUBJECTS).enumerate() {
        let name = format!("{}.asking{}", wording.name, suffix(at));
        text.push_str(&format!("# Neither labels nor service account tell these pods from others: they are granted once they have the annotation\n\
             # {ACCESS_ANNOTATION}: {name}\n"));
        if at == 0 {
            say_pods(text, &pods, wording);
        }
        document(text, &name, part.to_vec(), "Required", wording)?;
    }
    Ok(())
}

fn say_pods(text: &mut String, pods: &[&Pod], wording: &Wording<'_>) {
    for pod in pods {
        text.push_str(&format!(
            "# pod {}, service account {}: {}\n",
            pod.key.name,
            pod.service_account,
            one_line(&(wording.about)(pod))
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
    wording: &Wording<'_>,
) -> Result<(), Failure> {
    let object = json!({
        "apiVersion": "ringfence.dev/v1alpha1",
        "kind": "MetadataAccess",
        "metadata": { "name": name },
        "spec": {
            "description": wording.description,
            "endpointNames": wording.endpoints,
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

/// What somebody else has written ends no comment.
pub(super) fn one_line(text: &str) -> String {
    let shown = |letter: char| if letter.is_control() { ' ' } else { letter };
    text.chars().map(shown).collect()
}
