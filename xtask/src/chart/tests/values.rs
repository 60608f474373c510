//! Each value of the chart: changed, it does something; what it may not be is refused.

use super::*;

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
    let Some(helm) = helm("chart::tests::values::every_value_does_what_it_says") else {
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
    let Some(helm) = helm("chart::tests::values::what_a_value_may_not_be_is_refused") else {
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
