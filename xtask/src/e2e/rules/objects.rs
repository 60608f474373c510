//! The example's objects, as a cluster takes them.

use serde_json::{Value, json};

use super::{LABEL, MASTER, MASTERS, PREFIX};

/// A label by which namespaces are known whatever their owners say.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// The same object with the namespaces' names of the cluster.
pub(super) fn moved(object: &Value) -> Value {
    let mut object = object.clone();
    let prefix = |name: &mut Value| {
        if let Some(text) = name.as_str() {
            *name = json!(format!("{PREFIX}{text}"));
        }
    };
    if object["kind"] == "Namespace" {
        prefix(&mut object["metadata"]["name"]);
    }
    if object["kind"] != "Pod" {
        object["metadata"]["labels"][LABEL] = json!("true");
    }
    if !object["metadata"]["namespace"].is_null() {
        prefix(&mut object["metadata"]["namespace"]);
    }
    rename_selectors(&mut object["spec"], &prefix);
    object
}

/// Namespaces that selectors know by their names.
fn rename_selectors(value: &mut Value, prefix: &dyn Fn(&mut Value)) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                if key == NAME_LABEL {
                    prefix(value);
                } else {
                    rename_selectors(value, prefix);
                }
            }
        }
        Value::Array(values) => {
            for value in values {
                rename_selectors(value, prefix);
            }
        }
        _ => {}
    }
}

/// The account of a pod that names one.
pub(super) fn account(pod: &Value) -> Option<Value> {
    let name = pod["spec"]["serviceAccountName"].as_str()?;
    let metadata = &moved(pod)["metadata"];
    Some(json!({
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": name, "namespace": metadata["namespace"]},
    }))
}

/// The pod, on a node that is not the control plane's, listening on every port that it has.
pub(super) fn pod(object: &Value, image: &str) -> Value {
    let moved = moved(object);
    let container = &moved["spec"]["containers"][0];
    let ports = container["ports"].as_array().into_iter().flatten().cloned();
    let (datagrams, streams): (Vec<Value>, Vec<Value>) =
        ports.partition(|port| port["protocol"] == "UDP");
    let mut containers = vec![porter(image, "main", &streams)];
    containers.extend(
        (0..)
            .zip(&datagrams)
            .map(|(at, port)| answerer(image, at, port)),
    );
    let mut metadata = moved["metadata"].clone();
    if let Some(annotations) = metadata["annotations"].as_object_mut() {
        // In a cluster the API server says where a pod is.
        annotations.retain(|name, _| !name.starts_with("ringfence.dev/netns"));
    }
    let mut object = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": containers,
            "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
                {"matchExpressions": [{"key": MASTERS, "operator": "DoesNotExist"}]},
            ]}}},
        },
    });
    if let Some(name) = moved["spec"]["serviceAccountName"].as_str() {
        object["spec"]["serviceAccountName"] = json!(name);
    }
    object
}

/// A container that listens on these ports, and is ready while its node reaches the first of them.
fn porter(image: &str, name: &str, ports: &[Value]) -> Value {
    let environment: Vec<Value> = ports
        .iter()
        .map(|port| json!({"name": format!("SERVE_PORT_{}", port["containerPort"]), "value": name}))
        .collect();
    json!({
        "name": name,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "args": ["porter"],
        "env": environment,
        "ports": ports,
        "readinessProbe": {"tcpSocket": {"port": ports[0]["containerPort"]}, "periodSeconds": 1},
    })
}

/// A container that answers datagrams at a port.
fn answerer(image: &str, at: u16, port: &Value) -> Value {
    json!({
        "name": format!("udp-{at}"),
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        // It serves HTTP as well; nobody asks for it.
        "args": [
            "netexec",
            format!("--http-port={}", 18_080 + at),
            format!("--udp-port={}", port["containerPort"]),
        ],
        "ports": [port],
    })
}

/// The control-plane node, by a pod with its network. Where something listens on one of its ports already, that is as good.
pub(super) fn stand_in(node: &str, image: &str) -> [Value; 2] {
    let namespace = format!("{PREFIX}nodes");
    let listen = |port: u64| {
        let mut container = porter(
            image,
            &format!("port-{port}"),
            &[json!({"containerPort": port})],
        );
        container["command"] = json!(["sh", "-c", "/agnhost porter; sleep infinity"]);
        container.as_object_mut().map(|it| it.remove("args"));
        container
    };
    [
        json!({
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": namespace, "labels": {LABEL: "true"}},
        }),
        json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": MASTER, "namespace": namespace},
            "spec": {
                "hostNetwork": true,
                "nodeName": node,
                "terminationGracePeriodSeconds": 1,
                "tolerations": [{"operator": "Exists"}],
                "containers": [listen(443), listen(6443)],
            },
        }),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::e2e::rules::{documents, hosts};

    #[test]
    fn the_rules_become_objects_of_a_cluster() {
        let documents = documents().expect("the example is there");
        let find = |kind: &str, name: &str| {
            let is = |it: &&Value| it["kind"] == kind && it["metadata"]["name"] == name;
            documents.iter().find(is).expect("it is in the example")
        };
        let jenkins = pod(find("Pod", "jenkins-0"), "image:1");
        assert_eq!(jenkins["metadata"]["namespace"], "rules-ci");
        assert_eq!(jenkins["spec"]["serviceAccountName"], "jenkins");
        assert_eq!(jenkins["metadata"]["annotations"], json!({}));
        let dns = pod(find("Pod", "coredns-0"), "image:1");
        let of = |at: usize| &dns["spec"]["containers"][at]["ports"][0]["protocol"];
        assert_eq!((of(0), of(1)), (&json!("TCP"), &json!("UDP")));
        let tenants = moved(find("TenantIsolation", "default"));
        let except = &tenants["spec"]["except"][0]["from"][0];
        assert_eq!(
            except["namespaceSelector"]["matchLabels"],
            json!({NAME_LABEL: "rules-acme"})
        );
        let zone = moved(find("SecurityZone", "db"));
        let theirs = find("SecurityZone", "db");
        assert_eq!(zone["spec"], theirs["spec"], "labels stay");
        assert_eq!(zone["metadata"]["labels"][LABEL], "true");
        assert!(hosts().expect("the lab").iter().any(|it| it.name == MASTER));
    }
}
