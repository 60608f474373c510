//! The chart's guard rails on a real API server: who may say which zone somebody is in, and who may write zones.

mod cluster;
mod objects;
mod templates;

use ringfence_tests::{apiserver::available, chart};
use serde_json::{Value, json};

use self::{
    cluster::Cluster,
    objects::{at, labels, node, pod, space},
    templates::{controllers_make_what_was_judged, templates_are_no_way_around},
};

/// Makes an object of this name with these labels.
type Make = fn(&str, Value) -> (String, Value);

const RBAC: &str = "rbac.authorization.k8s.io/v1";
const TEAM: &str = "team";
const ZONE: &str = "ringfence.dev/zone";

fn only_who_may_update_zones_labels(cluster: &Cluster) {
    let makes: [Make; 3] = [space, pod, node];
    for (number, make) in makes.into_iter().enumerate() {
        let name = |part: &str| format!("{part}-{number}");
        // Without a label of ours everything is as ever, whoever it is.
        let plain = make(&name("plain"), json!({ "app": "a" }));
        assert!(cluster.create("developer", &plain), "{plain:?}");
        assert!(cluster.patch(
            "developer",
            &at(&plain),
            &labels(json!({ "app": "b", "other.ringfence.dev/zone": "x" }))
        ));
        // Created with it.
        let labelled = make(&name("labelled"), json!({ ZONE: "db" }));
        assert!(!cluster.create("developer", &labelled), "{labelled:?}");
        assert!(!cluster.create("operator", &labelled), "{labelled:?}");
        assert!(cluster.create("owner", &labelled), "{labelled:?}");
        // Added, by each way there is.
        let path = at(&plain);
        for zone in [
            json!({ ZONE: "db" }),
            json!({ "ringfence.dev/tenant": "a" }),
            json!({ "ringfence.dev/new": "" }),
        ] {
            assert!(
                !cluster.patch("developer", &path, &labels(zone.clone())),
                "{zone}"
            );
            if number != 1 {
                assert!(!cluster.patch("developer", &format!("{path}/status"), &labels(zone)));
            }
        }
        let add =
            json!([{ "op": "add", "path": "/metadata/labels/ringfence.dev~1zone", "value": "db" }]);
        assert!(!cluster.may(
            "developer",
            "PATCH",
            &path,
            "application/json-patch+json",
            &add
        ));
        let mut applied = plain.1.clone();
        applied["metadata"]["labels"] = json!({ ZONE: "db" });
        let server_side = format!("{path}?fieldManager=developer&force=true");
        assert!(!cluster.may(
            "developer",
            "PATCH",
            &server_side,
            "application/apply-patch+yaml",
            &applied
        ));
        let read = cluster.api.request("GET", &path, "", None);
        let mut whole = read.expect("it is there");
        whole["metadata"]["labels"][ZONE] = "db".into();
        assert!(!cluster.may("developer", "PUT", &path, "application/json", &whole));
        // Changed, removed, and left alone.
        let path = at(&labelled);
        assert!(!cluster.patch("developer", &path, &labels(json!({ ZONE: "web" }))));
        assert!(!cluster.patch("developer", &path, &labels(json!({ ZONE: null }))));
        assert!(!cluster.patch("developer", &path, &labels(Value::Null)));
        assert!(cluster.patch("developer", &path, &labels(json!({ "app": "c" }))));
        assert!(cluster.patch("owner", &path, &labels(json!({ ZONE: "web" }))));
        assert!(cluster.patch("owner", &path, &labels(json!({ ZONE: null }))));
        assert!(cluster.patch("owner", &path, &labels(json!({ ZONE: "db" }))));
        // To delete is not to label.
        let options = json!({ "gracePeriodSeconds": 0 });
        assert!(cluster.may("developer", "DELETE", &path, "application/json", &options));
    }
}

fn zones_are_read_by_viewers_and_written_by_their_owners(cluster: &Cluster) {
    let zone = json!({
        "apiVersion": "ringfence.dev/v1alpha1", "kind": "SecurityZone", "metadata": { "name": "db" },
        "spec": { "members": [{ "networks": { "cidrs": ["10.0.0.0/8"] } }] },
    });
    let list = "/apis/ringfence.dev/v1alpha1/securityzones";
    let path = format!("{list}/db");
    let forbidden = |token: &str, method: &str, path: &str, body: &Value| {
        let kind = if method == "PATCH" {
            "application/merge-patch+json"
        } else {
            "application/json"
        };
        let said = cluster
            .api
            .request_as(token, method, path, kind, Some(body));
        matches!(said, Err(kube::Error::Api(status)) if status.code == 403)
    };
    let delete = json!({});
    for token in [&cluster.viewer, &cluster.developer, &cluster.operator] {
        assert!(forbidden(token, "POST", list, &zone));
    }
    cluster
        .api
        .request_as(
            &cluster.owner,
            "POST",
            list,
            "application/json",
            Some(&zone),
        )
        .expect("it is the owner's");
    for token in [&cluster.viewer, &cluster.developer] {
        let patch = labels(json!({ "a": "b" }));
        assert!(forbidden(token, "PATCH", &path, &patch));
        assert!(forbidden(token, "DELETE", &path, &delete));
    }
    for kind in [
        "securityzones",
        "zonepolicies",
        "tenantisolations",
        "metadatafirewalls",
        "metadataaccesses",
    ] {
        let list = format!("/apis/ringfence.dev/v1alpha1/{kind}");
        cluster
            .api
            .request_as(&cluster.viewer, "GET", &list, "", None)
            .expect("viewers may look");
    }
    let list = "/apis/policy.networking.k8s.io/v1alpha2/clusternetworkpolicies";
    cluster
        .api
        .request_as(&cluster.viewer, "GET", list, "", None)
        .expect("viewers may look");
    let policy = json!({
        "apiVersion": "policy.networking.k8s.io/v1alpha2", "kind": "ClusterNetworkPolicy", "metadata": { "name": "p" },
        "spec": { "tier": "Admin", "priority": 1, "subject": { "namespaces": {} } },
    });
    assert!(forbidden(&cluster.developer, "POST", list, &policy));
    cluster
        .api
        .request_as(
            &cluster.owner,
            "POST",
            list,
            "application/json",
            Some(&policy),
        )
        .expect("it is the owner's");
    cluster
        .api
        .request_as(
            &cluster.owner,
            "DELETE",
            &path,
            "application/json",
            Some(&delete),
        )
        .expect("it is the owner's");
    // Neither of the roles that teams get writes what is above them.
    for role in ["edit", "admin"] {
        let role = cluster
            .api
            .request(
                "GET",
                &format!("/apis/{RBAC}/clusterroles/{role}"),
                "",
                None,
            )
            .expect("a role");
        let ours = role["rules"]
            .as_array()
            .expect("rules")
            .iter()
            .filter(|rule| {
                rule["apiGroups"].to_string().contains("ringfence.dev")
                    || rule["apiGroups"].to_string().contains("policy.networking")
            });
        for rule in ours {
            assert_eq!(rule["verbs"], json!(["get", "list", "watch"]), "{rule}");
        }
    }
}

/// The server says of each policy what in it has no type.
fn expressions_are_typed(cluster: &Cluster) {
    for policy in chart::objects("ValidatingAdmissionPolicy") {
        let name = policy["metadata"]["name"].as_str().expect("a name");
        let path =
            format!("/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/{name}");
        let now = cluster
            .api
            .request("GET", &path, "", None)
            .expect("it is there");
        assert!(
            now["status"]["typeChecking"]["expressionWarnings"].is_null(),
            "{now}"
        );
    }
}

#[test]
fn zones_and_their_labels_are_their_owners() {
    if !available("cluster::zones_and_their_labels_are_their_owners") {
        return;
    }
    let cluster = Cluster::start();
    only_who_may_update_zones_labels(&cluster);
    templates_are_no_way_around(&cluster);
    controllers_make_what_was_judged(&cluster);
    zones_are_read_by_viewers_and_written_by_their_owners(&cluster);
    expressions_are_typed(&cluster);
}
