//! The chart renders with its defaults and with every value changed, and each value does something.

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

/// Each value as it may be set, and a text that is then rendered and is not otherwise; a `-` before it: the other way
/// round.
const CHANGES: [(&str, &str); 73] = [
    ("mode=detach", "--stay"),
    ("mode=detach", "- --done"),
    ("image.repository=r.example/x", "\"r.example/x:0.1.0\""),
    ("image.tag=t9", "ringfence:t9\""),
    (
        "image.digest=sha256:0000000000000000000000000000000000000000000000000000000000000000",
        "ringfence@sha256:0",
    ),
    ("image.pullPolicy=Never", "imagePullPolicy: Never"),
    ("imagePullSecrets[0].name=pull", "- name: pull"),
    ("nameOverride=fence", "app.kubernetes.io/name: fence"),
    ("fullnameOverride=rf", "  name: rf\n"),
    ("crds.install=false", "-kind: CustomResourceDefinition"),
    ("agent.logFormat=text", "--log-format=text"),
    ("agent.verbosity=1", "- --verbose"),
    ("agent.cgroupRoot=off", "-cgroup-root="),
    ("agent.cgroupRoot=/x", "--cgroup-root=/x"),
    ("agent.tcx=off", "--tcx=off"),
    (
        "agent.metadataAnnotations=none",
        "--metadata-annotations=none",
    ),
    ("agent.iamRoleAnnotation=true", "--iam-role-annotation"),
    (
        "agent.markSourceMask=0x0fff0000",
        "--mark-source-mask=0x0fff0000",
    ),
    (
        "agent.markProofMask=0x10000000",
        "--mark-proof-mask=0x10000000",
    ),
    ("agent.eventRate=7", "--event-rate=7"),
    ("agent.auditInterval=60", "--audit-interval=60"),
    ("uninstall.detach=false", "-helm.sh/hook: pre-delete"),
    ("uninstall.timeoutSeconds=33", "--timeout=33"),
    (
        "agent.entries.connection=2000000",
        "--connection-entries=2000000",
    ),
    ("agent.extraArgs[0]=--own", "- --own"),
    (
        "agent.extraEnv[0].name=RINGFENCE_LOG",
        "- name: RINGFENCE_LOG",
    ),
    ("http.address=127.0.0.1", "host: \"127.0.0.1\""),
    ("http.port=19765", "containerPort: 19765"),
    ("networkPolicy.mode=auto", "--network-policy=auto"),
    ("hostEnforcement.mode=audit", "--host-enforcement=audit"),
    (
        "hostEnforcement.failsafe[0]=bgp=ingress\\,any\\,tcp/179",
        "--host-failsafe=bgp=ingress,any,tcp/179",
    ),
    ("nri.mode=off", "-/var/run/nri"),
    ("nri.mode=off,nri.socket=z", "-tolerate-missing"),
    ("nri.failure=closed", "--nri-fail=closed"),
    ("nri.timeoutMilliseconds=900", "--nri-timeout=900"),
    ("nri.socketDirectory=/run/x", "path: /run/x"),
    ("nri.socket=y.sock", "--nri-socket=/var/run/nri/y.sock"),
    ("apiServer.host=api.example", "value: \"api.example\""),
    ("apiServer.port=6443", "value: \"6443\""),
    ("hostPaths.bpffs=/a", "path: /a\n"),
    ("hostPaths.cgroup=/a", "path: /a\n"),
    ("hostPaths.netns=/a", "path: /a\n"),
    ("hostPaths.run=/a", "path: /a\n"),
    ("hostPaths.state=/a", "path: /a\n"),
    ("hostPaths.cni=/a", "path: /a\n"),
    ("processes=true", "- SYS_PTRACE"),
    ("processes=true", "--pod-processes=on"),
    ("security.capabilities[0]=SYS_RESOURCE", "- SYS_RESOURCE"),
    ("security.seccompProfile.type=Localhost", "type: Localhost"),
    (
        "security.appArmorProfile.type=RuntimeDefault",
        "-type: Unconfined",
    ),
    ("security.seLinuxOptions.type=x_t", "type: x_t"),
    ("priorityClassName=mine", "priorityClassName: mine"),
    ("criticalPodsQuota.enabled=true", "kind: ResourceQuota"),
    (
        "criticalPodsQuota.enabled=true,criticalPodsQuota.pods=33",
        "pods: \"33\"",
    ),
    (
        "updateStrategy.type=OnDelete,updateStrategy.rollingUpdate=null",
        "type: OnDelete",
    ),
    (
        "updateStrategy.rollingUpdate.maxUnavailable=1",
        "maxUnavailable: 1\n",
    ),
    (
        "terminationGracePeriodSeconds=33",
        "terminationGracePeriodSeconds: 33",
    ),
    ("resources.requests.cpu=77m", "cpu: 77m"),
    ("resources.requests.memory=77Mi", "memory: 77Mi"),
    ("tolerations=null", "-tolerations:"),
    ("nodeSelector.a=b", "a: b"),
    ("affinity.nodeAffinity.x=y", "nodeAffinity:"),
    ("podAnnotations.a=b", "a: b"),
    ("podLabels.a=b", "a: b"),
    (
        "serviceAccount.create=false",
        "-kind: ServiceAccount\nmetadata",
    ),
    ("serviceAccount.name=own", "serviceAccountName: own"),
    ("serviceAccount.annotations.a=b", "a: b"),
    ("rbac.create=false", "-kind: ClusterRole\n"),
    (
        "guardRails.labels.enabled=false",
        "-kind: ValidatingAdmissionPolicy\n",
    ),
    (
        "podMonitor.enabled=true,podMonitor.interval=7s",
        "interval: 7s",
    ),
    ("podMonitor.enabled=true,podMonitor.labels.a=b", "a: b"),
    (
        "serviceMonitor.enabled=true,serviceMonitor.interval=7s",
        "interval: 7s",
    ),
    (
        "serviceMonitor.enabled=true,serviceMonitor.labels.a=b",
        "a: b",
    ),
];

/// Paths of all values, a list or an empty object being one.
fn paths_of(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    match value.as_object().filter(|object| !object.is_empty()) {
        Some(object) => {
            for (name, value) in object {
                let path = if path.is_empty() {
                    name.clone()
                } else {
                    format!("{path}.{name}")
                };
                paths_of(value, &path, found);
            }
        }
        None => {
            found.insert(path.to_owned());
        }
    }
}

#[test]
fn every_value_is_changed_here() {
    let text = fs::read_to_string(paths::root().join(CHART).join("values.yaml"))
        .expect("the chart has values");
    let values: Value = serde_saphyr::from_str(&text).expect("they are YAML");
    let mut found = BTreeSet::new();
    paths_of(&values, "", &mut found);
    let changed: BTreeSet<&str> = CHANGES
        .iter()
        .flat_map(|(set, _)| set.split(','))
        .filter_map(|set| set.split(['=', '[']).next())
        .collect();
    for path in found {
        let below = format!("{path}.");
        let told = changed
            .iter()
            .any(|it| *it == path || it.starts_with(&below) || path.starts_with(&format!("{it}.")));
        // Where the nodes are is not Ringfence's.
        assert!(
            told || path.starts_with("nodeSelector"),
            "{path} is changed nowhere in this test"
        );
    }
}

#[test]
fn every_value_does_what_it_says() {
    let Some(helm) = helm("chart::tests::every_value_does_what_it_says") else {
        return;
    };
    let plain = render(&helm, &[]).expect("the defaults render");
    for (set, effect) in CHANGES {
        // As helm reads them: a comma behind a backslash is the value's own.
        let set = set.replace("\\,", "\0");
        let values: Vec<String> = set.split(',').map(|it| it.replace('\0', "\\,")).collect();
        let changed = render(&helm, &values).expect("it renders");
        documents(&changed);
        let (with, without, text) = match effect.strip_prefix('-') {
            Some(text) if !text.starts_with([' ', '-']) => (&plain, &changed, text),
            _ => (&changed, &plain, effect),
        };
        assert!(with.contains(text), "{set}: no {text:?} in\n{with}");
        assert!(
            !without.contains(text),
            "{set}: {text:?} is there in any case"
        );
    }
}

#[test]
fn what_a_value_may_not_be_is_refused() {
    let Some(helm) = helm("chart::tests::what_a_value_may_not_be_is_refused") else {
        return;
    };
    for set in [
        "mode=audit",
        "nosuch=1",
        "agent.nosuch=1",
        "agent.auditInterval=0",
        "agent.auditInterval=86401",
        "uninstall.timeoutSeconds=0",
        "uninstall.nosuch=1",
        "agent.entries.nosuch=1",
        "agent.markSourceMask=abc",
        "http.port=70000",
        "hostPaths.run=relative",
        "image.digest=sha256:1",
        "nri.failure=perhaps",
        "nri.mode=null",
        "networkPolicy=null",
        "networkPolicy.mode:=false",
        "hostEnforcement.mode=on",
        "hostEnforcement.failsafe[0]=ssh",
        "nri.timeoutMilliseconds=600001",
        "agent.markSourceMask=0x0",
        "agent.markProofMask=0x00000000",
        "agent.eventRate=4294967296",
        "agent.entries.rule=4294967296",
        "http.address=all",
        "http.address=host.example",
        "http.address=10.0.0.256",
        "http.address=10.0.0.7:80",
        "http.address=[fd00::7",
        "http.port=null",
        "mode=null",
        "image=null",
        "image.repository=null",
        "agent=null",
        "agent.tcx=null",
        "security.capabilities=null",
        "security.capabilities:=[]",
        "security.capabilities[0]=CAP_BPF",
        "uninstall.detach=null",
        "rbac=null",
        "guardRails=null",
        "guardRails.labels.enabled=null",
        "podMonitor.enabled=true,serviceMonitor.enabled=true",
        r"podLabels.app\.kubernetes\.io/name=other",
        r"podLabels.app\.kubernetes\.io/part-of=other",
        r"podAnnotations.ringfence\.dev/tolerate-missing=false",
    ] {
        let values: Vec<String> = set.split(',').map(str::to_owned).collect();
        let error = render(&helm, &values).expect_err(set).to_string();
        // Told by the schema or by us, and not by a template that stumbles.
        for stumbles in [
            "nil pointer",
            "executing \"ringfence/templates",
            "wrong type",
        ] {
            assert!(
                error.contains("error calling fail") || !error.contains(stumbles),
                "{set}: {error}"
            );
        }
    }
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
