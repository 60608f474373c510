//! What the chart renders: who may do what, who listens where, what is Ringfence's.

mod values;

use std::{collections::BTreeSet, env, fs, io::Write as _, sync::LazyLock};

use serde_json::Value;

use super::*;

/// Helm, or a line in the list of what was skipped.
fn helm(test: &str) -> Option<PathBuf> {
    // Tests run side by side, and one of them builds it.
    static FOUND: LazyLock<Option<PathBuf>> =
        LazyLock::new(|| helm::find().expect("helm is built where Go is"));
    let found = FOUND.clone();
    if found.is_none()
        && let Some(skips) = env::var_os("RINGFENCE_SKIPS")
    {
        let file = fs::OpenOptions::new().append(true).create(true).open(skips);
        writeln!(
            file.expect("the list can be written"),
            "{test}: no helm and no Go"
        )
        .expect("the list can be written");
    }
    found
}

fn documents(text: &str) -> Vec<Value> {
    let all: Vec<Value> = serde_saphyr::from_multiple(text).expect("helm writes YAML");
    all.into_iter().filter(|it| !it.is_null()).collect()
}

#[test]
fn the_agent_listens_where_it_is_told_and_probes_ask_there() {
    let Some(helm) = helm("chart::tests::the_agent_listens_where_it_is_told_and_probes_ask_there")
    else {
        return;
    };
    for (address, argument, host) in [
        ("", "--http=$(RINGFENCE_HOST_IP):9765", None),
        ("10.0.0.7", "--http=10.0.0.7:9765", Some("10.0.0.7")),
        ("0.0.0.0", "--http=0.0.0.0:9765", None),
        ("[fd00::7]", "--http=[fd00::7]:9765", Some("fd00::7")),
        ("fd00::7", "--http=fd00::7:9765", Some("fd00::7")),
        ("[::]", "--http=[::]:9765", None),
        (
            "::ffff:10.0.0.7",
            "--http=::ffff:10.0.0.7:9765",
            Some("::ffff:10.0.0.7"),
        ),
    ] {
        let rendered = render(&helm, &[format!("http.address={address}")]).expect(address);
        let documents = documents(&rendered);
        let agents = documents.iter().find(|it| it["kind"] == "DaemonSet");
        let container = &agents.expect("the agents")["spec"]["template"]["spec"]["containers"][0];
        let arguments = container["args"].as_array().expect("a list");
        assert!(
            arguments.iter().any(|it| it == argument),
            "{address}: {arguments:?}"
        );
        for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
            let asked = container[probe]["httpGet"]["host"].as_str();
            assert_eq!(asked, host, "{address}: {probe}");
        }
    }
}

#[test]
fn all_that_is_ringfences_says_so_whatever_it_is_called() {
    let Some(helm) = helm("chart::tests::all_that_is_ringfences_says_so_whatever_it_is_called")
    else {
        return;
    };
    let values = ["nameOverride=fence", "fullnameOverride=rf"].map(str::to_owned);
    let documents = documents(&render(&helm, &values).expect("it renders"));
    // Definitions are the cluster's: they stay when the release goes.
    let release = documents
        .iter()
        .filter(|object| object["kind"] != "CustomResourceDefinition");
    for object in release {
        let label = &object["metadata"]["labels"]["app.kubernetes.io/part-of"];
        assert_eq!(label, "ringfence", "{}", object["kind"]);
    }
}

#[test]
fn the_agent_may_do_no_more_than_it_needs() {
    let Some(helm) = helm("chart::tests::the_agent_may_do_no_more_than_it_needs") else {
        return;
    };
    let documents = documents(&render(&helm, &[]).expect("the defaults render"));
    let find = |kind: &str| {
        documents
            .iter()
            .find(|it| it["kind"] == kind && it["metadata"]["name"] == "ringfence")
            .expect("it is rendered")
    };
    let pod = &find("DaemonSet")["spec"]["template"]["spec"];
    let container = &pod["containers"][0]["securityContext"];
    assert_eq!(container["privileged"], false);
    assert_eq!(container["allowPrivilegeEscalation"], false);
    assert_eq!(container["readOnlyRootFilesystem"], true);
    assert_eq!(container["capabilities"]["drop"][0], "ALL");
    let added: Vec<&str> = container["capabilities"]["add"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    assert_eq!(added, ["BPF", "NET_ADMIN", "PERFMON"]);
    assert_eq!(
        pod["securityContext"]["seccompProfile"]["type"],
        "RuntimeDefault"
    );
    assert_eq!(pod["hostNetwork"], true);
    assert!(pod["hostPID"].is_null());
    assert_eq!(pod["priorityClassName"], "system-node-critical");
    assert_eq!(pod["tolerations"][0]["operator"], "Exists");
    for rule in find("ClusterRole")["rules"].as_array().expect("a list") {
        let verbs: Vec<&str> = rule["verbs"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let resources = rule["resources"].to_string();
        if resources == "[\"events\"]" {
            assert_eq!(verbs, ["create", "patch"]);
            assert_eq!(rule["apiGroups"], serde_json::json!(["events.k8s.io"]));
        } else if resources == "[\"customresourcedefinitions\"]" {
            assert_eq!(verbs, ["get"]);
            assert_eq!(rule["resourceNames"].as_array().map(Vec::len), Some(6));
        } else if resources.contains("/status") {
            // Nothing but what is said of objects.
            let all = rule["resources"].as_array().into_iter().flatten();
            assert!(
                all.filter_map(Value::as_str)
                    .all(|it| it.ends_with("/status"))
            );
            assert_eq!(verbs, ["patch"]);
        } else if resources == "[\"nodezonestates\"]" {
            assert_eq!(verbs, ["create", "list", "watch"]);
        } else {
            // What is told of in an Event is got by its name.
            let single = resources == "[\"pods\"]" || resources.contains("policies");
            let expect = ["get", "list", "watch"];
            assert_eq!(verbs, expect[usize::from(!single)..], "{resources}");
            assert!(!resources.contains("secret") && !resources.contains('*'));
        }
    }
}

#[test]
fn of_leases_the_agent_may_hold_one() {
    let Some(helm) = helm("chart::tests::of_leases_the_agent_may_hold_one") else {
        return;
    };
    let documents = documents(&render(&helm, &[]).expect("the defaults render"));
    let mut roles = documents.iter().filter(|it| {
        it["kind"] == "Role" && it["metadata"]["annotations"]["helm.sh/hook"].is_null()
    });
    let role = roles.next().expect("a Role");
    assert_eq!(role["metadata"]["namespace"], NAMESPACE);
    let rules = role["rules"].as_array().expect("a list");
    let said: Vec<_> = rules
        .iter()
        .map(|rule| (&rule["resources"], &rule["verbs"], &rule["resourceNames"]))
        .collect();
    let leases = serde_json::json!(["leases"]);
    let (create, hold) = (
        serde_json::json!(["create"]),
        serde_json::json!(["get", "update"]),
    );
    let name = serde_json::json!(["ringfence-status"]);
    assert_eq!(
        said,
        [(&leases, &create, &Value::Null), (&leases, &hold, &name)]
    );
}

#[test]
fn what_detaches_before_the_end_may_change_one_object_and_no_node() {
    let Some(helm) =
        helm("chart::tests::what_detaches_before_the_end_may_change_one_object_and_no_node")
    else {
        return;
    };
    let documents = documents(&render(&helm, &[]).expect("the defaults render"));
    let hooks: Vec<&Value> = documents
        .iter()
        .filter(|it| it["metadata"]["annotations"]["helm.sh/hook"] == "pre-delete")
        .collect();
    let kinds: BTreeSet<&str> = hooks.iter().filter_map(|it| it["kind"].as_str()).collect();
    assert_eq!(
        kinds,
        BTreeSet::from(["Job", "Role", "RoleBinding", "ServiceAccount"])
    );
    let find = |kind: &str| *hooks.iter().find(|it| it["kind"] == kind).expect("counted");
    let agents = documents.iter().find(|it| it["kind"] == "DaemonSet");
    let name = &agents.expect("the agents")["metadata"]["name"];
    assert_eq!(
        find("Role")["rules"],
        serde_json::json!([{
            "apiGroups": ["apps"], "resources": ["daemonsets"], "resourceNames": [name], "verbs": ["get", "patch"],
        }])
    );
    let account = &find("ServiceAccount")["metadata"]["name"];
    assert_eq!(&find("RoleBinding")["subjects"][0]["name"], account);
    let pod = &find("Job")["spec"]["template"]["spec"];
    assert_eq!(&pod["serviceAccountName"], account);
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert!(pod["volumes"].is_null() && pod["hostPID"].is_null());
    let container = &pod["containers"][0];
    assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
    assert_eq!(
        container["securityContext"]["capabilities"]["drop"][0],
        "ALL"
    );
    assert!(container["securityContext"]["capabilities"]["add"].is_null());
    let names = name.as_str().expect("a name");
    let argument = format!("--daemon-set={NAMESPACE}/{names}");
    let arguments = container["args"].as_array().expect("a list");
    assert!(
        arguments.contains(&Value::String(argument)),
        "{arguments:?}"
    );
    // What does not go through helm never runs it.
    for (path, bytes) in base(&helm, "").expect("the defaults render") {
        let text = String::from_utf8(bytes).expect("text");
        assert!(!text.contains("helm.sh/hook"), "{}", path.display());
    }
}

/// What deletes the base deletes the agents, and enforcement outlives them.
#[test]
fn who_deletes_the_base_is_told_to_detach_before() {
    let told = fs::read_to_string(paths::root().join("docs/deploy.md")).expect("it is there");
    let detach = format!("ringfence detach --daemon-set {NAMESPACE}/ringfence");
    let both = told
        .split("```")
        .find(|block| block.contains(&format!("kubectl delete -k {BASE}")))
        .expect("how to delete it is told");
    assert!(both.find(&detach) < both.find("kubectl delete"), "{both}");
    assert!(both.contains(&detach) && KUSTOMIZATION.contains(&detach));
}
