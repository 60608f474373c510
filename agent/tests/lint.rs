//! Every code of `ringfence lint`: manifests that have the finding, in the line that says `# here`, and the like without.
#![expect(clippy::unwrap_used, reason = "a test fails where it unwraps")]

use std::{collections::BTreeSet, fs};

use ringfence_agent::{
    index,
    lint::{CODES, Finding, lint, membership},
    watch,
};

/// What the cases are put into: a pod of a zone, and one of none.
const CLUSTER: &str = "
apiVersion: v1
kind: Namespace
metadata: { name: db, labels: { ringfence.dev/zone: db, ringfence.dev/tenant: a } }
---
apiVersion: v1
kind: Pod
metadata: { name: mysql, namespace: db, labels: { app: mysql } }
spec: { containers: [ { name: c, ports: [ { name: sql, containerPort: 3306 } ] } ] }
status: { podIP: 10.0.0.9 }
---
apiVersion: v1
kind: Pod
metadata: { name: web, namespace: shop, labels: { app: web } }
spec: { containers: [ { name: c } ] }
status: { podIP: 10.0.0.7 }
---
apiVersion: v1
kind: Pod
metadata: { name: cni, namespace: shop, labels: { app: cni } }
spec: { hostNetwork: true, containers: [ { name: c } ] }
---
apiVersion: v1
kind: Node
metadata: { name: n1, labels: { role: worker } }
status: { addresses: [ { type: InternalIP, address: 10.1.0.1 } ] }
---
apiVersion: ringfence.dev/v1alpha1
kind: SecurityZone
metadata: { name: db }
spec:
  members: [ { workloads: { namespaceSelector: { matchLabels: { ringfence.dev/zone: db } } } } ]
  ingress: Isolated
---
apiVersion: ringfence.dev/v1alpha1
kind: SecurityZone
metadata: { name: office }
spec: { members: [ { networks: { cidrs: [ 172.20.0.0/16 ] } } ] }
---
apiVersion: ringfence.dev/v1alpha1
kind: SecurityZone
metadata: { name: audited }
spec: { enforcement: Audit, members: [ { networks: { cidrs: [ 172.21.0.0/16 ] } } ] }
";

/// Code, what has the finding, what does not.
fn cases() -> Vec<(&'static str, String, String)> {
    let zone = |members: &str| {
        format!(
            "apiVersion: ringfence.dev/v1alpha1\nkind: SecurityZone\nmetadata: {{ name: z }}\nspec:\n  members:\n  - {members}\n"
        )
    };
    let policy = |rule: &str| {
        format!(
            "apiVersion: ringfence.dev/v1alpha1\nkind: ZonePolicy\nmetadata: {{ name: p }}\nspec:\n  rules:\n{rule}\n"
        )
    };
    let tenants = |rest: &str| {
        format!(
            "apiVersion: ringfence.dev/v1alpha1\nkind: TenantIsolation\nmetadata: {{ name: t }}\nspec:\n{rest}\n"
        )
    };
    let firewall = |rest: &str| {
        format!(
            "apiVersion: ringfence.dev/v1alpha1\nkind: MetadataFirewall\nmetadata: {{ name: default }}\nspec:\n  {rest}\n"
        )
    };
    let cluster = |name: &str, rest: &str| {
        format!(
            "---\napiVersion: policy.networking.k8s.io/v1alpha2\nkind: ClusterNetworkPolicy\nmetadata: {{ name: {name} }}\nspec:\n  tier: Admin\n{rest}\n"
        )
    };
    let accept = |priority: &str, app: &str, action: &str, port: u16| {
        format!(
            "  priority: {priority}\n  subject: {{ pods: {{ namespaceSelector: {{}}, podSelector: {{ matchLabels: {{ app: {app} }} }} }} }}\n  \
             ingress: [ {{ name: r, action: {action}, from: [ {{ namespaces: {{}} }} ], protocols: [ {{ tcp: {{ destinationPort: {{ number: {port} }} }} }} ] }} ]"
        )
    };
    let netpol = |rest: &str| {
        format!(
            "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{ name: n, namespace: shop }}\nspec:\n{rest}\n"
        )
    };
    let probed = |probe: &str, policy: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{ name: probed, namespace: db, labels: {{ app: probed }} }}\nspec:\n  nodeName: n1\n  containers:\n  \
             - name: c\n    livenessProbe:\n      httpGet:\n        port: {probe}\nstatus: {{ podIP: 10.0.0.8 }}\n---\n{policy}"
        )
    };
    let service = |policy: &str, rest: &str| {
        format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{ name: front, namespace: db }}\nspec:\n  type: LoadBalancer\n  externalTrafficPolicy: {policy}\n  \
             selector: {{ app: mysql }}\n  ports: [ {{ port: 443, targetPort: 3306 }} ]\n---\n{rest}"
        )
    };
    let from_world = policy(
        "  - { name: r, action: Allow, from: [ { entity: World } ], to: [ { zoneNames: [ db ] } ] }",
    );
    let shared = |label: &str| {
        format!(
            "  namespaceLabelKey: ringfence.dev/tenant\n  sharedNamespaces: [ {{ matchLabels: {{ {label} }} }} ]"
        )
    };
    let deny = "  - { name: no-ssh, action: Deny, from: [ { entity: Any } ], to: [ { entity: Any } ], ports: [ { protocol: TCP, port: 22 } ] }\n";
    vec![
        (
            "ZF001",
            zone("workloads: { namespaceSelector: { matchLabels: { ringfence.dev/zone: dbb } } } # here"),
            zone("workloads: { namespaceSelector: {}, podSelector: { matchLabels: { app: web } } }"),
        ),
        (
            "ZF001",
            zone("nodes: { matchLabels: { role: master } } # here"),
            zone("nodes: { matchLabels: { role: worker } }"),
        ),
        (
            "ZF002",
            zone("workloads: { namespaceSelector: {}, podSelector: { matchLabels: { app: mysql } } }").replace("members:", "members: # here"),
            zone("workloads: { namespaceSelector: {}, podSelector: { matchLabels: { app: web } } }"),
        ),
        (
            "ZF002",
            zone("networks: { cidrs: [ 172.20.0.0/16 ] } # here"),
            zone("networks: { cidrs: [ 172.20.0.0/17 ] }"),
        ),
        (
            "ZF003",
            policy("  - { name: r, action: Allow, from: [ { zoneNames: [ ofice ] } ], to: [ { zoneNames: [ db ] } ] } # here"),
            policy("  - { name: r, action: Allow, from: [ { zoneNames: [ office ] } ], to: [ { zoneNames: [ db ] } ] }"),
        ),
        (
            "ZF004",
            policy("  - { name: r, action: Deny, from: [ { zoneNames: [ audited ] } ], to: [ { zoneNames: [ db ] } ] } # here"),
            policy("  - { name: r, action: Deny, from: [ { zoneNames: [ office ] } ], to: [ { zoneNames: [ db ] } ] }"),
        ),
        (
            "ZF010",
            zone("workloads: { namespaceSelector: { matchLabels: { team: shop } } } # here"),
            zone("workloads: { namespaceSelector: { matchLabels: { kubernetes.io/metadata.name: shop } } }"),
        ),
        (
            "ZF010",
            zone("nodes: { matchLabels: { role: worker } } # here"),
            zone("nodes: { matchLabels: { ringfence.dev/role: worker } }"),
        ),
        (
            "ZF010",
            tenants("  namespaceLabelKey: team # here"),
            tenants("  namespaceLabelKey: ringfence.dev/tenant"),
        ),
        (
            "ZF011",
            zone("networks: { cidrs: [ 10.0.0.0/16 ] } # here"),
            zone("networks: { cidrs: [ 10.2.0.0/16 ] }"),
        ),
        (
            "ZF011",
            zone("networks: { cidrs: [ 10.1.0.0/16 ] } # here"),
            zone("networks: { cidrs: [ 10.1.0.0/16 ], except: [ 10.1.0.1/32 ] }"),
        ),
        (
            "ZF013",
            tenants(&shared("kubernetes.io/metadata.name: monitoring")).replace("sharedNamespaces: [", "sharedNamespaces: # here\n  - ").replace("} } ]", "} }").replace("} ]", "}"),
            tenants(&shared("kubernetes.io/metadata.name: kube-system")),
        ),
        ("ZF014", service("Cluster # here", &from_world), service("Local", &from_world)),
        (
            "ZF014",
            service("Cluster # here", &from_world),
            service("Cluster", &from_world.replace("{ entity: World }", "{ entity: Any }")),
        ),
        (
            "ZF015",
            probed("22 # here", &policy(deny)),
            probed("8080", &policy(deny)),
        ),
        (
            "ZF015",
            probed("22 # here", &policy(deny)),
            probed("22", &policy(&deny.replace("from: [ { entity: Any } ]", "from: [ { entity: World } ]"))),
        ),
        (
            "ZF019",
            policy("  - name: r\n    action: Allow\n    from: [ { zoneNames: [ office ] } ]\n    to: [ { zoneNames: [ db ] } ]\n    expirationTime: \"2020-01-01T00:00:00Z\" # here"),
            policy("  - name: r\n    action: Allow\n    from: [ { zoneNames: [ office ] } ]\n    to: [ { zoneNames: [ db ] } ]\n    expirationTime: \"2999-01-01T00:00:00Z\""),
        ),
        (
            "ZF016",
            policy(&format!("{deny}  - {{ name: ssh, action: Allow, from: [ {{ zoneNames: [ office ] }} ], to: [ {{ zoneNames: [ db ] }} ], ports: [ {{ protocol: TCP, port: 22 }} ] }} # here")),
            policy(&format!("{deny}  - {{ name: ssh, action: Allow, from: [ {{ zoneNames: [ office ] }} ], to: [ {{ zoneNames: [ db ] }} ], ports: [ {{ protocol: TCP, port: 22, endPort: 23 }} ] }}")),
        ),
        (
            "ZF017",
            cluster("a", &accept("1", "web", "Accept", 80)) + &cluster("b", &accept("1 # here", "web", "Deny", 80)),
            cluster("a", &accept("1", "web", "Accept", 80)) + &cluster("b", &accept("2", "web", "Deny", 80)),
        ),
        (
            "ZF017",
            cluster("a", &accept("1", "web", "Accept", 80)) + &cluster("b", &accept("1 # here", "web", "Deny", 80)),
            cluster("a", &accept("1", "web", "Accept", 80)) + &cluster("b", &accept("1", "mysql", "Deny", 80)),
        ),
        (
            "ZF017",
            cluster("a", &accept("1", "web", "Accept", 80)) + &cluster("b", &accept("1 # here", "web", "Deny", 80)),
            cluster("a", &accept("1", "web", "Accept", 80)) + &cluster("b", &accept("1", "web", "Deny", 81)),
        ),
        (
            "ZF018",
            policy(&deny.replace("port: 22 } ]", "port: 23 } ], acknowledgeLockout: true").replace('\n', " # here\n")),
            policy(&deny.replace("port: 22 } ]", "port: 22 } ], acknowledgeLockout: true")),
        ),
        (
            "ZF018",
            policy(&deny.replace("to: [ { entity: Any } ]", "to: [ { zoneNames: [ db ] } ], acknowledgeLockout: true").replace('\n', " # here\n")),
            policy(&deny.replace("to: [ { entity: Any } ]", "to: [ { entity: Cluster } ], acknowledgeLockout: true")),
        ),
        (
            "ZF020",
            netpol("  podSelector: { matchLabels: { app: wbe } } # here"),
            netpol("  podSelector: { matchLabels: { app: web } }"),
        ),
        (
            "ZF020",
            cluster("a", &accept("1", "wbe", "Accept", 80).replace("subject:", "subject: # here\n   ")),
            cluster("a", &accept("1", "web", "Accept", 80)),
        ),
        (
            "ZF020",
            firewall("hostNetworkExceptions:\n  - name: a # here\n    podSelector: { matchLabels: { app: web } }"),
            firewall("hostNetworkExceptions:\n  - name: a\n    podSelector: { matchLabels: { app: cni } }"),
        ),
        (
            "ZF020",
            firewall("encapsulatingPods:\n  - name: a # here\n    podSelector: { matchLabels: { app: cni } }"),
            firewall("encapsulatingPods:\n  - name: a\n    podSelector: { matchLabels: { app: web } }"),
        ),
        (
            "ZF030",
            policy("  - { name: r, action: Deny, from: [ { zoneNames: [ office ] } ], to: [ { entity: World } ] } # here"),
            policy("  - { name: r, action: Deny, from: [ { zoneNames: [ office ] } ], to: [ { entity: Any } ] }"),
        ),
        (
            "ZF031",
            netpol("  podSelector: {}\n  policyTypes: [ Egress ]\n  egress: # here\n  - ports: [ { port: 443 } ]"),
            netpol("  podSelector: {}\n  policyTypes: [ Egress ]\n  egress:\n  - ports: [ { port: 443 }, { port: 53, protocol: UDP } ]"),
        ),
        (
            "ZF031",
            netpol("  podSelector: {}\n  policyTypes: [ Egress ]\n  egress: # here\n  - ports: [ { port: 443 } ]"),
            netpol("  podSelector: {}\n  policyTypes: [ Egress ]\n  egress:\n  - to: [ { ipBlock: { cidr: 169.254.20.10/32 } } ]"),
        ),
    ]
}

/// The findings in a text, and its lines.
fn look(text: &str) -> (Vec<Finding>, Vec<String>) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("m.yaml");
    let text = format!("{CLUSTER}---\n{text}");
    fs::write(&file, &text).unwrap();
    let loaded = index::load_with_details(&[file], watch::Options::default());
    let (snapshot, details) = loaded.unwrap_or_else(|wrong| panic!("{wrong:#?}\n{text}"));
    let lines = text.lines().map(str::to_owned).collect();
    (lint(&snapshot, &details), lines)
}

#[test]
fn every_code_is_found_where_it_is_and_nowhere_else() {
    for (code, with, without) in cases() {
        let (found, lines) = look(&with);
        let here: Vec<_> = found.iter().filter(|it| it.code.id == code).collect();
        assert!(
            !here.is_empty(),
            "{code} is not found in\n{with}\n{found:#?}"
        );
        let shown = here.iter().any(|it| {
            let line = it.what.origin.line.checked_sub(1).map(|line| &lines[line]);
            line.is_some_and(|line| line.contains("# here"))
        });
        assert!(shown, "{code} elsewhere:\n{with}\n{here:#?}");
        let (found, _) = look(&without);
        let there: Vec<_> = found.iter().filter(|it| it.code.id == code).collect();
        assert!(there.is_empty(), "{code} in\n{without}\n{there:#?}");
    }
}

#[test]
fn every_code_has_a_case_and_a_number_of_its_own() {
    let tried: BTreeSet<&str> = cases().iter().map(|(code, ..)| *code).collect();
    let all: BTreeSet<&str> = CODES.iter().map(|code| code.id).collect();
    assert_eq!(tried, all);
    assert_eq!(all.len(), CODES.len());
}

#[test]
fn the_cluster_of_the_cases_has_no_finding() {
    let (found, _) = look("# nothing more\n");
    assert_eq!(found, []);
}

#[test]
fn who_can_change_a_zone_is_told() {
    let told = |members: &str| {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("m.yaml");
        let text = format!(
            "apiVersion: ringfence.dev/v1alpha1\nkind: SecurityZone\nmetadata: {{ name: z }}\nspec: {{ members: [ {members} ] }}\n"
        );
        fs::write(&file, text).unwrap();
        let snapshot = index::load(&[file], watch::Options::default()).unwrap();
        membership(&snapshot.zones["z"])
    };
    let safe = "{ workloads: { namespaceSelector: { matchLabels: { ringfence.dev/zone: a } } } }, { networks: { cidrs: [ 10.0.0.0/8 ] } }";
    assert_eq!(told(safe), None);
    insta::assert_snapshot!(
        told("{ workloads: { namespaceSelector: { matchLabels: { team: a } }, podSelector: { matchLabels: { app: b } } } }").unwrap(),
        @"beside those who may update zones, whoever may update namespaces (by the label team), and whoever may create or update pods in its namespaces (by the label app) decides who is in this zone"
    );
    insta::assert_snapshot!(
        told("{ nodes: { matchLabels: { role: b } } }").unwrap(),
        @"beside those who may update zones, whoever may update nodes (by the label role) decides who is in this zone"
    );
}
