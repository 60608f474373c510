//! What is read, and what it means.

use super::read;
use crate::model::{
    ContainerPort, Enforcement, IpBlock, Operator, Owner, Peer, Phase, Place, Pod, PodKey, Policy,
    PolicyKey, PortSpec, Ports, Protocol, Requirement, Rule, Selector, ServicePort, TargetPort,
};

fn equal(key: &str, value: &str) -> Requirement {
    Requirement {
        key: key.into(),
        operator: Operator::In([value.into()].into()),
    }
}

fn policy(text: &str) -> Policy {
    let text = format!(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: p}}\n{text}"
    );
    read(&text)
        .unwrap()
        .policies
        .values()
        .next()
        .unwrap()
        .clone()
}

#[test]
fn policy_types_default_as_the_api_server_does_it() {
    for (spec, ingress, egress) in [
        ("", true, false),
        ("spec: {}\n", true, false),
        ("spec: {podSelector: {}, ingress: [{}]}\n", true, false),
        ("spec: {podSelector: {}, egress: [{}]}\n", true, true),
        // The API server looks for rules, not for the section.
        ("spec: {podSelector: {}, egress: []}\n", true, false),
        (
            "spec: {podSelector: {}, policyTypes: [], egress: [{}]}\n",
            true,
            true,
        ),
        (
            "spec: {podSelector: {}, policyTypes: [Egress]}\n",
            false,
            true,
        ),
        (
            "spec: {podSelector: {}, policyTypes: [Egress], ingress: [{}]}\n",
            false,
            true,
        ),
        (
            "spec: {podSelector: {}, policyTypes: [Ingress, Egress]}\n",
            true,
            true,
        ),
    ] {
        let policy = policy(spec);
        assert_eq!(policy.ingress.is_some(), ingress, "{spec}");
        assert_eq!(policy.egress.is_some(), egress, "{spec}");
        assert_eq!(policy.subject, Selector::default());
    }
}

#[test]
fn a_policy_means_what_it_says() {
    let policy = policy(
        "spec:
  podSelector: {matchLabels: {app: db}, matchExpressions: [{key: tier, operator: NotIn, values: [b, a]}]}
  ingress:
  - from:
    - podSelector: {}
    - namespaceSelector: {}
    - namespaceSelector: {matchLabels: {team: x}}
      podSelector: {matchExpressions: [{key: app, operator: Exists}]}
    - ipBlock: {cidr: 10.1.2.3/8, except: [10.2.0.0/16, 10.1.1.1/24]}
    - ipBlock: {cidr: \"fd00::/8\"}
    ports:
    - {}
    - protocol: UDP
    - {port: 80}
    - {port: 80, endPort: 90, protocol: SCTP}
    - {port: http}
  - {from: [], ports: []}
",
    );
    let any = Selector::default;
    let one = |requirement| Selector {
        requirements: [requirement].into(),
    };
    let exists = Requirement {
        key: "app".into(),
        operator: Operator::Exists,
    };
    let not_in = Operator::NotIn(["a".into(), "b".into()].into());
    let tier = Requirement {
        key: "tier".into(),
        operator: not_in,
    };
    let block = |cidr: &str, except: &[&str]| {
        let except = except.iter().map(|text| text.parse().unwrap()).collect();
        Peer::Block(IpBlock {
            cidr: cidr.parse().unwrap(),
            except,
        })
    };
    let expect = Policy {
        key: PolicyKey {
            namespace: "default".into(),
            name: "p".into(),
        },
        subject: Selector {
            requirements: [equal("app", "db"), tier].into(),
        },
        ingress: Some(vec![
            Rule {
                peers: Some(vec![
                    Peer::Pods {
                        namespaces: None,
                        pods: any(),
                    },
                    Peer::Pods {
                        namespaces: Some(any()),
                        pods: any(),
                    },
                    Peer::Pods {
                        namespaces: Some(one(equal("team", "x"))),
                        pods: one(exists),
                    },
                    block("10.0.0.0/8", &["10.1.1.0/24", "10.2.0.0/16"]),
                    block("fd00::/8", &[]),
                ]),
                ports: Ports::Of(vec![
                    PortSpec::All(Protocol::Tcp),
                    PortSpec::All(Protocol::Udp),
                    PortSpec::Range(Protocol::Tcp, 80, 80),
                    PortSpec::Range(Protocol::Sctp, 80, 90),
                    PortSpec::Named(Protocol::Tcp, "http".into()),
                ]),
            },
            Rule {
                peers: None,
                ports: Ports::Any,
            },
        ]),
        egress: None,
        enforcement: Enforcement::Enforce,
        origin: policy.origin.clone(),
    };
    assert_eq!(policy, expect);
}

#[test]
fn a_pod_means_what_it_says() {
    let snapshot = read(
        "apiVersion: v1
kind: Pod
metadata:
  name: p
  namespace: shop
  uid: u-1
  labels: {app: web, empty: \"\"}
  deletionTimestamp: 2024-01-01T00:00:00Z
  ownerReferences:
  - {apiVersion: v1, kind: Other, name: o, uid: a}
  - {apiVersion: apps/v1, kind: ReplicaSet, name: web-1, uid: b, controller: true}
  annotations:
    ringfence.dev/netns: web
    ringfence.dev/cgroup: a/b
    metadata.ringfence.dev/access: \"true\"
    iam.amazonaws.com/role: \"\"
    other: x
spec:
  nodeName: n
  serviceAccountName: sa
  hostNetwork: false
  initContainers:
  - {name: once, ports: [{containerPort: 1}]}
  - {name: sidecar, restartPolicy: Always, ports: [{containerPort: 2, protocol: UDP}]}
  containers:
  - name: c
    image: x
    ports:
    - {containerPort: 80, name: http, hostPort: 8080}
status:
  phase: Running
  podIP: 10.0.0.1
  podIPs: [{ip: 10.0.0.1}, {ip: \"fd00::1\"}]
",
    )
    .unwrap();
    let pod = snapshot.pods.values().next().unwrap();
    let port = |name: Option<&str>, port, protocol, host_port| ContainerPort {
        name: name.map(Into::into),
        port,
        protocol,
        host_port,
    };
    let labels = |entries: &[(&str, &str)]| {
        entries
            .iter()
            .map(|&(key, value)| (key.into(), value.into()))
            .collect()
    };
    let expect = Pod {
        key: PodKey {
            namespace: "shop".into(),
            name: "p".into(),
        },
        uid: "u-1".into(),
        labels: labels(&[("app", "web"), ("empty", "")]),
        addresses: vec!["10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap()],
        ports: [
            port(Some("http"), 80, Protocol::Tcp, Some(8080)),
            port(None, 2, Protocol::Udp, None),
        ]
        .into(),
        phase: Phase::Running,
        terminating: true,
        host_network: false,
        node: Some("n".into()),
        service_account: "sa".into(),
        owner: Some(std::sync::Arc::new(Owner {
            kind: "ReplicaSet".into(),
            name: "web-1".into(),
        })),
        place: Some(Place::Netns("web".into())),
        cgroup: Some("a/b".into()),
        metadata_requests: labels(&[("metadata.ringfence.dev/access", "true")]),
        origin: pod.origin.clone(),
    };
    assert_eq!(*pod, expect);

    let snapshot = read(
        "{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {hostNetwork: true}, status: {podIP: \
         10.0.0.9}}",
    )
    .unwrap();
    let pod = snapshot.pods.values().next().unwrap();
    assert_eq!(pod.key.namespace, "default");
    assert_eq!(&*pod.service_account, "default");
    assert_eq!(
        pod.addresses,
        ["10.0.0.9".parse::<std::net::IpAddr>().unwrap()]
    );
    assert!(pod.host_network && !pod.terminating && pod.phase == Phase::Pending);
}

#[test]
fn namespaces_nodes_and_services_mean_what_they_say() {
    let snapshot = read(
        "apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {team: x, kubernetes.io/metadata.name: lie}}
---
apiVersion: v1
kind: Node
metadata: {name: n.example, labels: {zone: a}}
status:
  addresses:
  - {type: Hostname, address: n}
  - {type: InternalIP, address: 192.168.0.1}
  - {type: ExternalIP, address: \"2001:db8::1\"}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  clusterIP: 10.96.0.1
  clusterIPs: [10.96.0.1, \"fd00:96::1\"]
  externalIPs: [203.0.113.1]
  ports:
  - {name: a, port: 80, nodePort: 30080}
  - {name: b, port: 81, targetPort: 8081, protocol: UDP}
  - {name: c, port: 82, targetPort: http}
status:
  loadBalancer: {ingress: [{ip: 203.0.113.2}, {hostname: lb.example}]}
---
apiVersion: v1
kind: Service
metadata: {name: headless}
spec: {clusterIP: None, clusterIPs: [None], ports: [{port: 80}]}
",
    )
    .unwrap();
    let labels = &snapshot.namespaces["shop"].labels;
    assert_eq!(&labels["kubernetes.io/metadata.name"], "shop");
    assert_eq!(&labels["team"], "x");
    let node = &snapshot.nodes["n.example"];
    let addresses: Vec<String> = node.addresses.iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["192.168.0.1", "2001:db8::1"]);
    let service = &snapshot.services[&("default".into(), "web".into())];
    let addresses: Vec<String> = service.addresses.iter().map(ToString::to_string).collect();
    assert_eq!(
        addresses,
        ["10.96.0.1", "203.0.113.1", "203.0.113.2", "fd00:96::1"]
    );
    let selector = Selector {
        requirements: [equal("app", "web")].into(),
    };
    assert_eq!(service.selector, Some(selector));
    let port = |name: &str, port, protocol, target, node_port| ServicePort {
        name: Some(name.into()),
        protocol,
        port,
        target,
        node_port,
    };
    assert_eq!(
        service.ports,
        [
            port("a", 80, Protocol::Tcp, TargetPort::Number(80), Some(30080)),
            port("b", 81, Protocol::Udp, TargetPort::Number(8081), None),
            port(
                "c",
                82,
                Protocol::Tcp,
                TargetPort::Name("http".into()),
                None
            ),
        ]
    );
    let headless = &snapshot.services[&("default".into(), "headless".into())];
    assert!(headless.addresses.is_empty() && headless.selector.is_none());
}
