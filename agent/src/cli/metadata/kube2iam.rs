//! `ringfence metadata report --from kube2iam`: the grants to write for the pods that kube2iam or kiam serve now.
//!
//! **Invariant.** What is printed grants the pods that have a role now, and none of the others that are there now. Pods that
//! nothing but their annotation tells from others are granted only once they ask by our own annotation.

use std::{
    collections::BTreeMap,
    io::{self, Write as _},
    process::ExitCode,
};

use regex::Regex;

use super::{
    super::{
        cluster,
        failure::{Failure, Outcome},
        manifests,
    },
    files,
    grants::{self, Wording, one_line},
};
use crate::{
    args::{Manifests, MetadataReportArgs, Switch},
    index::{Details, IamRoles},
    model::{Pod, Snapshot},
};

/// The annotation that kube2iam and kiam read.
const ROLE: &str = "iam.amazonaws.com/role";

pub(super) fn run(args: &MetadataReportArgs) -> Outcome {
    let (snapshot, details) = read(args)?;
    let imds = ["imds".to_owned()];
    let endpoints = match args.endpoint.as_slice() {
        [] => &imds,
        named => named,
    };
    let text = report(&snapshot, &details, endpoints)?;
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
        write_namespace(&mut text, namespace, &pods, roles, endpoints)?;
    }
    if !any {
        text.push_str(&format!("# No pod that runs has the annotation {ROLE}.\n"));
    }
    Ok(text)
}

/// The pods that are served, and those that are not; the last are those whose role their namespace does not permit, which are
/// among the second.
fn sort<'a>(pods: &[&'a Pod], roles: Option<&IamRoles>) -> [Vec<&'a Pod>; 3] {
    let (mut served, mut others, mut refused) = (Vec::new(), Vec::new(), Vec::new());
    for &pod in pods {
        match role(pod) {
            None => others.push(pod),
            Some(role) if permits(roles, role) => served.push(pod),
            Some(_) => {
                refused.push(pod);
                others.push(pod);
            }
        }
    }
    [served, others, refused]
}

fn write_namespace(
    text: &mut String,
    namespace: &str,
    pods: &[&Pod],
    roles: Option<&IamRoles>,
    endpoints: &[String],
) -> Result<(), Failure> {
    let [served, others, refused] = sort(pods, roles);
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
    for pod in refused {
        text.push_str(&format!(
            "# left out: pod {}: its namespace does not permit role {}\n",
            pod.key.name,
            one_line(role(pod).unwrap_or_default())
        ));
    }
    let wording = Wording {
        name: format!("kube2iam-{namespace}"),
        description: "served by kube2iam or kiam before",
        endpoints: endpoints.iter().map(String::as_str).collect(),
        about: &|pod| format!("role {}", role(pod).unwrap_or_default()),
    };
    grants::write(text, namespace, &grants::plan(served, &others), &wording)
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

#[cfg(test)]
mod tests;
