//! What the metadata firewall denies and grants, as `can` and `metadata` say it of manifests.

use super::told;

const MANIFESTS: &str = "\
apiVersion: v1
kind: Namespace
metadata: { name: shop }
---
apiVersion: v1
kind: Namespace
metadata: { name: dns, labels: { platform: \"yes\" } }
---
apiVersion: v1
kind: Pod
metadata: { name: web, namespace: shop, annotations: { metadata.ringfence.dev/access: \"true\", iam.amazonaws.com/role: web } }
spec: { containers: [ { name: main } ] }
status: { podIPs: [ { ip: 10.0.0.7 }, { ip: 'fd00::7' } ] }
---
apiVersion: v1
kind: Pod
metadata: { name: dns-0, namespace: dns }
spec: { serviceAccountName: dns, containers: [ { name: main } ] }
status: { podIPs: [ { ip: 10.0.0.9 }, { ip: 'fd00::9' } ] }
---
apiVersion: v1
kind: Pod
metadata: { name: node-agent, namespace: dns }
spec: { hostNetwork: true, containers: [ { name: main } ] }
status: { podIPs: [ { ip: 10.9.0.1 } ] }
---
apiVersion: ringfence.dev/v1alpha1
kind: MetadataFirewall
metadata: { name: default }
spec:
  annotatedPods: RequestOnly
  endpoints:
  - { name: kube2iam, kind: Proxy, standsFor: [ imds ], addresses: [ 10.9.0.1 ], ports: [ 8181 ] }
---
apiVersion: ringfence.dev/v1alpha1
kind: MetadataAccess
metadata: { name: dns }
spec:
  endpointNames: [ kube2iam, ecs-task ]
  subjects: [ { namespaceSelector: { matchLabels: { platform: \"yes\" } }, serviceAccountNames: [ dns ] } ]
  podAnnotation: Ignored
  expirationTime: \"2999-01-01T00:00:00Z\"
";

fn say(words: &[&str]) -> (String, String, i32) {
    say_of(MANIFESTS, words)
}

fn say_of(manifests: &str, words: &[&str]) -> (String, String, i32) {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("all.yaml"), manifests).unwrap();
    let mut all = words.to_vec();
    all.extend(["-f", "all.yaml"]);
    told(directory.path(), &all)
}

#[test]
fn can_tells_endpoints_ports_and_proxies_apart() {
    for (words, code, says) in [
        (
            ["can", "shop/web", "169.254.169.254", "80"],
            1,
            "pod shop/web has no grant",
        ),
        (
            ["can", "shop/web", "169.254.169.254", "53/udp"],
            0,
            "also serves DNS or NTP, which stay open",
        ),
        (
            ["can", "dns/dns-0", "169.254.170.2", "80"],
            0,
            "MetadataAccess/dns; 169.254.170.2 is ecs-task",
        ),
        (
            ["can", "dns/dns-0", "169.254.169.254", "80"],
            0,
            "it gets through only where the node translates it to kube2iam",
        ),
        (
            ["can", "dns/dns-0", "64:ff9b::a9fe:a9fe", "80"],
            0,
            "for which kube2iam answers",
        ),
        (["can", "shop/web", "10.9.0.1", "8181"], 1, "(kube2iam)"),
        (
            ["can", "shop/web", "10.9.0.1", "443"],
            0,
            "is metadata service kube2iam at other ports only",
        ),
        (
            ["can", "shop/web", "168.63.129.16", "32526"],
            1,
            "azure-wireserver: Azure",
        ),
        (["can", "shop/web", "168.63.129.16", "50000"], 0, ""),
    ] {
        let (out, err, got) = say(&words);
        assert_eq!(got, code, "{words:?}: {out}{err}");
        assert!(out.contains(says), "{words:?}: {out}");
    }
}

#[test]
fn in_an_audit_what_has_no_grant_passes_and_would_be_denied() {
    let audit = MANIFESTS.replace("  annotatedPods:", "  enforcement: Audit\n  annotatedPods:");
    for (pod, staged, says) in [
        (
            "shop/web",
            "deny",
            "has no grant; MetadataFirewall/default is in audit: it passes",
        ),
        ("dns/dns-0", "allow", "MetadataAccess/dns"),
    ] {
        let words = ["can", pod, "169.254.169.254", "80", "-o", "json"];
        let (out, err, code) = say_of(&audit, &words);
        assert_eq!(code, 0, "{pod}: {err}");
        assert!(out.contains(says), "{pod}: {out}");
        let said: serde_json::Value = serde_json::from_str(&out).unwrap();
        let found = &said["flows"][0];
        assert_eq!(
            (&found["verdict"], &found["staged"]),
            (&"allow".into(), &staged.into())
        );
    }
    let (out, ..) = say_of(&audit, &["metadata", "report"]);
    assert!(
        out.contains("is in audit: what has no grant passes"),
        "{out}"
    );
    let (_, err, code) = say_of(&audit, &["metadata", "report", "--from", "audit"]);
    assert_eq!(code, 2, "{err}");
    assert!(
        err.contains("manifests do not tell who has reached metadata"),
        "{err}"
    );
}

#[test]
fn who_can_lists_pods_and_by_what() {
    let (by_name, err, code) = say(&["metadata", "who-can", "imds"]);
    assert_eq!(code, 0, "{err}");
    insta::assert_snapshot!(by_name, @r"
    POD        NETWORK  REACHES   BY                  EXPIRES
    dns/dns-0  pod      kube2iam  MetadataAccess/dns  2999-01-01T00:00:00.000000Z
    ");
    for address in ["169.254.169.254", "fd00:ec2::254"] {
        let (by_address, ..) = say(&["metadata", "who-can", address]);
        assert_eq!(by_address, by_name, "{address}");
    }
    let (out, _, code) = say(&["metadata", "who-can", "azure-wireserver", "-o", "json"]);
    assert_eq!(code, 0);
    let said: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(said["kind"], "MetadataWhoCan");
    assert_eq!(said["pods"], serde_json::json!([]));
    let (_, err, code) = say(&["metadata", "who-can", "imsd"]);
    assert_eq!(code, 2);
    assert!(
        err.contains("\"imsd\" is no metadata endpoint")
            && err.contains("ecs-task, gke-metadata-server, imds, kube2iam"),
        "{err}"
    );
}

#[test]
fn a_report_has_what_manifests_say_and_grants_for_whom_kube2iam_serves() {
    let (out, err, code) = say(&["metadata", "report"]);
    assert_eq!(code, 0, "{err}");
    insta::assert_snapshot!(out, @r"
    POD        NETWORK  MAY REACH          BY                  EXPIRES                      CONNECTIONS  DENIED  LAST DENIED
    dns/dns-0  pod      ecs-task,kube2iam  MetadataAccess/dns  2999-01-01T00:00:00.000000Z  0            0       -
    ");
    let (out, err, code) = say(&[
        "metadata",
        "report",
        "--from",
        "kube2iam",
        "--endpoint",
        "kube2iam",
    ]);
    assert_eq!(code, 0, "{err}");
    insta::assert_snapshot!(out, @r"
    # Grants for the pods that kube2iam serves now. Read the comments, then `kubectl apply -f` it.
    # Whoever may create pods in a namespace chooses their labels and service accounts, and so who of them is meant here.

    # Namespace shop
    # pod web, service account default: role web
    apiVersion: ringfence.dev/v1alpha1
    kind: MetadataAccess
    metadata:
      name: kube2iam-shop
    spec:
      description: served by kube2iam before
      endpointNames:
      - kube2iam
      podAnnotation: Ignored
      subjects:
      - namespaceSelector:
          matchLabels:
            kubernetes.io/metadata.name: shop
        serviceAccountNames:
        - default
    ---
    ");
    let (_, err, code) = say(&["metadata", "report", "--endpoint", "imds"]);
    assert_eq!(code, 2);
    assert!(err.contains("--from"), "{err}");
}

#[test]
fn a_name_that_no_endpoint_has_is_a_warning_with_its_line() {
    let directory = tempfile::tempdir().unwrap();
    let text = MANIFESTS.replace("[ kube2iam, ecs-task ]", "[ kube2iam, ecs ]");
    std::fs::write(directory.path().join("all.yaml"), text).unwrap();
    let words = ["metadata", "who-can", "kube2iam", "-f", "all.yaml"];
    let (out, err, code) = told(directory.path(), &words);
    assert_eq!(code, 0);
    assert!(out.contains("dns/dns-0"), "{out}");
    assert!(
        err.contains("there is no metadata endpoint \"ecs\"") && err.contains("all.yaml:"),
        "{err}"
    );
}

#[test]
fn who_can_says_what_exceptions_to_the_nodes_network_do() {
    let except = "hostNetworkExceptions: [ { name: odd, podSelector: {}, namespaceSelector: { matchLabels: { platform: \"yes\" } } } ]";
    for (mode, expect) in [
        ("Deny", vec!["hostNetworkExceptions/odd"]),
        ("Allow", vec![]),
    ] {
        let manifests = MANIFESTS.replace(
            "annotatedPods: RequestOnly",
            &format!("annotatedPods: RequestOnly\n  hostNetworkPods: {mode}\n  {except}"),
        );
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("all.yaml"), manifests).unwrap();
        let words = ["metadata", "who-can", "ecs-task", "-f", "all.yaml"];
        let (out, err, code) = told(directory.path(), &words);
        assert_eq!(code, 0, "{err}");
        let rows = out.lines().map(|line| line.split_whitespace().collect());
        let rows = rows.filter(|row: &Vec<&str>| row[0] == "dns/node-agent");
        let found: Vec<&str> = rows.map(|row| row[3]).collect();
        assert_eq!(found, expect, "{mode}: {out}");
    }
}

#[test]
fn grants_for_what_kube2iam_serves_name_endpoints_that_there_are() {
    let report =
        |more: &[&str]| say(&[&["metadata", "report", "--from", "kube2iam"], more].concat());
    for endpoint in ["imds", "kube2iam"] {
        let (out, err, code) = report(&["--endpoint", endpoint]);
        assert_eq!(code, 0, "{err}");
        assert!(out.contains(&format!("- {endpoint}\n")), "{out}");
    }
    let (out, err, code) = report(&["--endpoint", "imds", "--endpoint", "nosuch"]);
    assert_eq!((code, out.as_str()), (2, ""), "{err}");
    for says in [
        "\"nosuch\" is no metadata endpoint",
        "name one of azure-wireserver, ecs-task, gke-metadata-server, imds, kube2iam, or add it to the MetadataFirewall",
    ] {
        assert!(err.contains(says), "{err}");
    }
    let (out, err, code) = say(&[
        "metadata",
        "report",
        "--from",
        "kiam",
        "--namespace-restriction-format",
        "glob",
    ]);
    assert_eq!((code, out.as_str()), (2, ""), "{err}");
    assert!(
        err.contains("only kube2iam reads roles in two ways"),
        "{err}"
    );
    // Of the same pod kiam thinks otherwise.
    let (out, err, code) = say(&["metadata", "report", "--from", "kiam"]);
    assert_eq!(code, 0, "{err}");
    assert!(
        !out.contains("kind: MetadataAccess") && out.contains("kiam gives it nothing"),
        "{out}"
    );
}
