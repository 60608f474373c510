//! The cluster in which people try what they may not.

use ringfence_tests::{apiserver::ApiServer, chart, lab::patiently};
use serde_json::{Value, json};

use super::{
    super::{kinds, namespace},
    RBAC, TEAM, ZONE,
    objects::{pod, space, templates},
};

/// What the refusal says.
const REFUSED: &str = "say which zone somebody is in";

/// The tokens of those who try.
pub struct Cluster {
    /// Everything, as the administrator.
    pub api: ApiServer,
    /// May do what the role `edit` of a namespace says, and make and change namespaces and nodes.
    pub developer: String,
    /// Has the chart's role for administrators of zones, and is a developer too.
    pub owner: String,
    /// Has the role `view` of a namespace.
    pub viewer: String,
    /// May do everything but to write zones.
    pub operator: String,
}

/// Binds a role to an account of the team, in its namespace or everywhere.
pub fn bind(api: &ApiServer, name: &str, account: &str, role: &str, everywhere: bool) {
    let kind = if everywhere {
        "ClusterRoleBinding"
    } else {
        "RoleBinding"
    };
    let mut metadata = json!({ "name": name });
    if !everywhere {
        metadata["namespace"] = TEAM.into();
    }
    api.apply(&json!({
        "apiVersion": RBAC, "kind": kind, "metadata": metadata,
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role },
        "subjects": [{ "kind": "ServiceAccount", "name": account, "namespace": TEAM }],
    }));
}

/// Gives a role the rules of those that it is put together of, as a controller does that does not run here.
fn aggregate(api: &ApiServer, role: &str) {
    let path = format!("/apis/{RBAC}/clusterroles");
    let aggregated = api
        .request("GET", &format!("{path}/{role}"), "", None)
        .expect("it is there from the beginning");
    let selectors = aggregated["aggregationRule"]["clusterRoleSelectors"].clone();
    let all = api.request("GET", &path, "", None).expect("roles");
    let chosen = |one: &&Value| {
        let labels = &one["metadata"]["labels"];
        selectors.as_array().expect("a list").iter().any(|it| {
            let wanted = it["matchLabels"].as_object().expect("labels");
            wanted.iter().all(|(key, value)| &labels[key] == value)
        })
    };
    let roles = all["items"].as_array().expect("a list");
    let rules: Vec<Value> = roles
        .iter()
        .filter(chosen)
        .flat_map(|one| one["rules"].as_array().cloned().unwrap_or_default())
        .collect();
    assert!(!rules.is_empty(), "{role}");
    api.merge(&format!("{path}/{role}"), &json!({ "rules": rules }));
}

impl Cluster {
    /// An API server with what the chart installs there.
    pub fn start() -> Self {
        let api = ApiServer::start();
        kinds::define(&api);
        namespace(&api, TEAM, json!({}));
        for kind in [
            "ClusterRole",
            "ValidatingAdmissionPolicy",
            "ValidatingAdmissionPolicyBinding",
        ] {
            for object in chart::objects(kind) {
                api.apply(&object);
            }
        }
        for role in ["view", "edit", "admin"] {
            patiently("the role is there", || {
                api.request(
                    "GET",
                    &format!("/apis/{RBAC}/clusterroles/{role}"),
                    "",
                    None,
                )
                .ok()
            });
            aggregate(&api, role);
        }
        api.allow(
            "namespaces",
            &json!([{ "apiGroups": [""], "resources": ["namespaces", "namespaces/status", "nodes", "nodes/status"],
                      "verbs": ["*"] }]),
        );
        api.allow(
            "everything-but-zones",
            &json!([{ "apiGroups": ["", "apps", "batch"], "resources": ["*"], "verbs": ["*"] }]),
        );
        let [developer, owner, viewer, operator] =
            ["developer", "owner", "viewer", "operator"].map(|name| api.token(TEAM, name));
        for account in ["developer", "owner"] {
            bind(&api, account, account, "edit", false);
            bind(
                &api,
                &format!("{account}-namespaces"),
                account,
                "namespaces",
                true,
            );
        }
        bind(&api, "owner-zones", "owner", "ringfence-admin", true);
        bind(&api, "viewer", "viewer", "view", true);
        bind(&api, "operator", "operator", "everything-but-zones", true);
        let cluster = Self {
            api,
            developer,
            owner,
            viewer,
            operator,
        };
        // The server takes a moment to see a policy.
        patiently("every policy is in force", || {
            let all = templates("probe", "z").into_iter();
            let mut all = all.chain([
                pod("probe", json!({ ZONE: "z" })),
                space("probe", json!({ ZONE: "z" })),
            ]);
            all.all(|(list, object)| {
                let path = format!("{list}?dryRun=All");
                let said = cluster.api.request_as(
                    &cluster.operator,
                    "POST",
                    &path,
                    "application/json",
                    Some(&object),
                );
                said.is_err_and(|error| error.to_string().contains(REFUSED))
            })
            .then_some(())
        });
        cluster
    }

    /// Whether somebody is let; who is not must be refused for the reason that is told.
    pub fn may(&self, who: &str, method: &str, path: &str, kind: &str, body: &Value) -> bool {
        let token = match who {
            "developer" => &self.developer,
            "owner" => &self.owner,
            "viewer" => &self.viewer,
            "operator" => &self.operator,
            other => other,
        };
        match self.api.request_as(token, method, path, kind, Some(body)) {
            Ok(_) => true,
            Err(error) if error.to_string().contains(REFUSED) => false,
            Err(error) => panic!("{who} {method} {path} {body}: {error}"),
        }
    }

    /// Whether somebody may make an object.
    pub fn create(&self, who: &str, (list, object): &(String, Value)) -> bool {
        self.may(who, "POST", list, "application/json", object)
    }

    /// Whether somebody may change one by a merge patch.
    pub fn patch(&self, who: &str, path: &str, patch: &Value) -> bool {
        self.may(who, "PATCH", path, "application/merge-patch+json", patch)
    }
}
