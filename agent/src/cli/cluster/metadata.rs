//! `ringfence metadata` about a whole cluster.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::{Cluster, Row};
use crate::{admin::metadata::Metadata, args::ClusterArgs, cli::failure::Failure};

/// What every node's agent says, in one; the code is 2 if one did not answer.
pub(in crate::cli) fn agents(args: &ClusterArgs) -> Result<(Metadata, ExitCode), Failure> {
    let words = ["metadata", "report", "-o", "json"];
    let rows: Vec<Row<Metadata>> = super::ask(args, &words, &[])?;
    let mut all = Metadata::default();
    for said in rows.iter().filter_map(|row| row.said().ok()) {
        for endpoint in &said.endpoints {
            let known = all.endpoints.iter_mut().find(|it| it.name == endpoint.name);
            match known {
                Some(known) => {
                    known.addresses.extend(&endpoint.addresses);
                    known.addresses.sort_unstable();
                    known.addresses.dedup();
                }
                None => all.endpoints.push(endpoint.clone()),
            }
        }
        all.pods.extend(said.pods.iter().cloned());
        all.audited |= said.audited;
        all.forgotten += said.forgotten;
        // What is known of all nodes is known since the youngest agent's start.
        all.since = all.since.max(said.since.clone());
        for (namespace, pods) in &said.namespaces {
            let known = all.namespaces.entry(namespace.clone()).or_default();
            known.extend(pods.iter().cloned());
            known.sort();
            known.dedup();
        }
    }
    all.pods.sort_by(|a, b| a.pod.cmp(&b.pod));
    Ok((all, super::outcome(&rows)))
}

/// The cluster's namespaces and pods as a list, with nothing but what says who is served by kube2iam and kiam; and, if asked for, the
/// `MetadataFirewall`.
pub(in crate::cli) fn served(args: &ClusterArgs, with_firewall: bool) -> Result<Value, Failure> {
    let cluster = Cluster::new(args)?;
    let of = |kinds| ["get", kinds, "--all-namespaces", "-o", "json"];
    let words = of("namespaces,pods");
    let list = cluster.runtime.block_on(cluster.kubectl.object(&words))?;
    let items = list["items"].as_array().into_iter().flatten();
    let mut items: Vec<Value> = items.map(trimmed).collect();
    if with_firewall {
        let words = of("metadatafirewalls.ringfence.dev");
        let list = cluster.runtime.block_on(cluster.kubectl.object(&words))?;
        let found = list["items"].as_array().into_iter().flatten();
        items.extend(found.map(trimmed));
    }
    Ok(json!({ "apiVersion": "v1", "kind": "List", "items": items }))
}

/// Later fields of objects are no business of ours.
fn trimmed(object: &Value) -> Value {
    let pick = |from: &Value, keys: &[&str]| -> Value {
        let there = keys.iter().filter(|key| !from[**key].is_null());
        there
            .map(|key| ((*key).to_owned(), from[*key].clone()))
            .collect()
    };
    let metadata = ["name", "namespace", "uid", "labels", "annotations"];
    let mut trimmed = json!({
        "apiVersion": object["apiVersion"],
        "kind": object["kind"],
        "metadata": pick(&object["metadata"], &metadata),
    });
    if object["kind"] == "MetadataFirewall" {
        trimmed["spec"] = object["spec"].clone();
    }
    if object["kind"] == "Pod" {
        let spec = ["nodeName", "serviceAccountName", "hostNetwork"];
        trimmed["spec"] = pick(&object["spec"], &spec);
        trimmed["spec"]["containers"] = json!([]);
        trimmed["status"] = pick(&object["status"], &["phase"]);
    }
    trimmed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_pod_only_what_counts_is_left() {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": "a", "namespace": "b", "managedFields": [], "annotations": { "iam.amazonaws.com/role": "r" } },
            "spec": { "serviceAccountName": "s", "future": true, "containers": [ { "name": "c" } ] },
            "status": { "phase": "Running", "future": 1 },
        });
        let expect = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": "a", "namespace": "b", "annotations": { "iam.amazonaws.com/role": "r" } },
            "spec": { "serviceAccountName": "s", "containers": [] },
            "status": { "phase": "Running" },
        });
        assert_eq!(trimmed(&pod), expect);
    }
}
