//! What is refused, and where.

use super::read;

/// A policy whose spec begins in line 5.
fn policy(spec: &str) -> String {
    format!(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: p}}\nspec:\n  \
         podSelector: {{}}\n{spec}"
    )
}

/// A pod; what is given begins in line 4.
fn pod(rest: &str) -> String {
    format!("apiVersion: v1\nkind: Pod\nmetadata:\n  name: p\n{rest}")
}

#[test]
fn policies_that_the_api_would_refuse_are_refused() {
    for (spec, expect) in [
        (
            "  ingress:\n  - from:\n    - ipBlock: {cidr: 10.0.0.0/33}\n",
            "m.yaml:8: spec.ingress[0].from[0].ipBlock.cidr: \"10.0.0.0/33\" is no network; write it as \
             10.0.0.0/8 or fd00::/8 (at most /32, /128)",
        ),
        (
            "  egress:\n  - to:\n    - ipBlock:\n        cidr: 10.0.0.1\n",
            "m.yaml:9: spec.egress[0].to[0].ipBlock.cidr: \"10.0.0.1\" is an address, not a network; \
             write 10.0.0.1/32 for it alone",
        ),
        (
            "  ingress:\n  - from:\n    - ipBlock: {cidr: \"::ffff:10.0.0.0/104\"}\n",
            "m.yaml:8: spec.ingress[0].from[0].ipBlock.cidr: \"::ffff:10.0.0.0/104\" is an IPv4 network \
             in IPv6 clothes; write it as IPv4",
        ),
        (
            "  ingress:\n  - from:\n    - ipBlock:\n        cidr: 10.0.0.0/8\n        except:\n        \
             - 10.1.0.0/16\n        - 11.0.0.0/16\n",
            "m.yaml:12: spec.ingress[0].from[0].ipBlock.except[1]: 11.0.0.0/16 must lie inside of \
             10.0.0.0/8 and be smaller",
        ),
        (
            "  ingress:\n  - from:\n    - ipBlock: {cidr: 10.0.0.0/8, except: [10.0.0.0/8]}\n",
            "m.yaml:8: spec.ingress[0].from[0].ipBlock.except[0]: 10.0.0.0/8 must lie inside of \
             10.0.0.0/8 and be smaller",
        ),
        (
            "  ingress:\n  - from:\n    - ipBlock: {cidr: 10.0.0.0/8}\n      podSelector: {}\n",
            "m.yaml:8: spec.ingress[0].from[0].ipBlock: ipBlock stands alone: make podSelector and \
             namespaceSelector a peer of their own",
        ),
        (
            "  ingress:\n  - from:\n    - podSelector: {}\n    - {}\n",
            "m.yaml:9: spec.ingress[0].from[1]: a peer must not be empty: give podSelector, \
             namespaceSelector or ipBlock (`namespaceSelector: {}` is every pod)",
        ),
        (
            "  ingress:\n  - ports:\n    - port: 0\n",
            "m.yaml:8: spec.ingress[0].ports[0].port: 0 is no port; allowed are 1 to 65535",
        ),
        (
            "  ingress:\n  - ports:\n    - port: 65536\n",
            "m.yaml:8: spec.ingress[0].ports[0].port: 65536 is no port; allowed are 1 to 65535",
        ),
        (
            "  ingress:\n  - ports:\n    - port: \"80\"\n",
            "m.yaml:8: spec.ingress[0].ports[0].port: \"80\" is no port name: at most 15 of a-z, 0-9 and \
             single `-`, with at least one letter, beginning and ending with a letter or digit; a number \
             is written without quotes",
        ),
        (
            "  ingress:\n  - ports:\n    - port: a-very-long-name\n",
            "m.yaml:8: spec.ingress[0].ports[0].port: \"a-very-long-name\" is no port name: at most 15 of \
             a-z, 0-9 and single `-`, with at least one letter, beginning and ending with a letter or \
             digit",
        ),
        (
            "  ingress:\n  - ports:\n    - port: 80\n      endPort: 79\n",
            "m.yaml:9: spec.ingress[0].ports[0].endPort: endPort 79 must not be below port 80",
        ),
        (
            "  ingress:\n  - ports:\n    - port: http\n      endPort: 90\n",
            "m.yaml:9: spec.ingress[0].ports[0].endPort: endPort needs a port that is a number, not a name",
        ),
        (
            "  ingress:\n  - ports:\n    - endPort: 90\n",
            "m.yaml:8: spec.ingress[0].ports[0].endPort: endPort needs a port, the first of the range",
        ),
        (
            "  ingress:\n  - ports:\n    - protocol: tcp\n",
            "m.yaml:8: spec.ingress[0].ports[0].protocol: unknown protocol \"tcp\"; allowed are TCP, UDP \
             and SCTP",
        ),
        (
            "  policyTypes:\n  - ingress\n",
            "m.yaml:7: spec.policyTypes[0]: unknown policy type \"ingress\"; allowed are Ingress and Egress",
        ),
        (
            "  ingress:\n  - from:\n    - podSelector:\n        matchExpressions:\n        - {key: a, \
             operator: in, values: [b]}\n",
            "m.yaml:10: spec.ingress[0].from[0].podSelector.matchExpressions[0].operator: unknown operator \
             \"in\"; allowed are In, NotIn, Exists and DoesNotExist",
        ),
        (
            "  ingress:\n  - from:\n    - podSelector:\n        matchExpressions:\n        - {key: a, \
             operator: NotIn}\n",
            "m.yaml:10: spec.ingress[0].from[0].podSelector.matchExpressions[0].values: NotIn needs values",
        ),
        (
            "  ingress:\n  - from:\n    - namespaceSelector:\n        matchExpressions:\n        - {key: \
             a, operator: Exists, values: [b]}\n",
            "m.yaml:10: spec.ingress[0].from[0].namespaceSelector.matchExpressions[0].values: Exists takes \
             no values; leave them out, or use In or NotIn",
        ),
        (
            "  ingress:\n  - from:\n    - podSelector:\n        matchLabels:\n          a/b/c: x\n",
            "m.yaml:10: spec.ingress[0].from[0].podSelector.matchLabels.a/b/c: \"a/b/c\" is no label key: \
             at most 63 of A-Z, a-z, 0-9, `-`, `_` and `.`, beginning and ending with a letter or digit; \
             a DNS name and `/` may stand before it",
        ),
        (
            "  ingress:\n  - from:\n    - podSelector:\n        matchLabels:\n          a: x y\n",
            "m.yaml:10: spec.ingress[0].from[0].podSelector.matchLabels.a: \"x y\" is no label value: \
             empty, or at most 63 of A-Z, a-z, 0-9, `-`, `_` and `.`, beginning and ending with a letter \
             or digit",
        ),
    ] {
        let expect = expect.replacen(": ", ": NetworkPolicy/default/p: ", 1);
        let found = read(&policy(spec)).unwrap_err();
        assert_eq!(found, [expect], "{spec}");
    }
    let text = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata:\n  name: p\n  \
                annotations:\n    ringfence.dev/enforcement: audit\n";
    assert_eq!(
        read(text).unwrap_err(),
        [
            "m.yaml:6: NetworkPolicy/default/p: metadata.annotations.ringfence.dev/enforcement: unknown \
          value \"audit\"; allowed are Enforce and Audit"
        ]
    );
}

#[test]
fn pods_that_the_api_would_refuse_are_refused() {
    for (rest, expect) in [
        (
            "status:\n  podIPs:\n  - ip: 10.0.0.1\n  - ip: 10.0.0\n",
            "m.yaml:8: Pod/default/p: status.podIPs[1].ip: \"10.0.0\" is no IPv4 or IPv6 address",
        ),
        (
            "  uid: a b\n",
            "m.yaml:5: Pod/default/p: metadata.uid: a UID has at most 63 characters, none of them a space; \
             Kubernetes writes them as 8-4-4-4-12 hexadecimal digits",
        ),
        (
            "status:\n  podIP: ::ffff:10.0.0.1\n",
            "m.yaml:6: Pod/default/p: status.podIP: \"::ffff:10.0.0.1\" is an IPv4 address in IPv6 \
             clothes; write it as IPv4",
        ),
        (
            "status: {phase: running}\n",
            "m.yaml:5: Pod/default/p: status.phase: unknown phase \"running\"; allowed are Pending, \
             Running, Succeeded, Failed, Unknown",
        ),
        (
            "  annotations:\n    ringfence.dev/netns: a\n    ringfence.dev/interface: b\n",
            "m.yaml:7: Pod/default/p: metadata.annotations.ringfence.dev/interface: ringfence.dev/netns \
             and ringfence.dev/interface both say where the pod is; keep one",
        ),
        (
            "  annotations:\n    ringfence.dev/cgroup: a/../../b\n",
            "m.yaml:6: Pod/default/p: metadata.annotations.ringfence.dev/cgroup: \"a/../../b\" must be a \
             path below the pods' root cgroup: relative, without `.` and `..`",
        ),
        (
            "  annotations:\n    ringfence.dev/cgroup: /a\n",
            "m.yaml:6: Pod/default/p: metadata.annotations.ringfence.dev/cgroup: \"/a\" must be a path \
             below the pods' root cgroup: relative, without `.` and `..`",
        ),
        (
            "  annotations:\n    ringfence.dev/netns: ../a\n",
            "m.yaml:6: Pod/default/p: metadata.annotations.ringfence.dev/netns: \"../a\" is no name of a \
             network namespace, as `ip netns` lists them",
        ),
        (
            "  annotations:\n    ringfence.dev/interface: veth0123456789ab\n",
            "m.yaml:6: Pod/default/p: metadata.annotations.ringfence.dev/interface: \"veth0123456789ab\" \
             is no name of an interface: 1 to 15 characters without `/` and blanks",
        ),
        (
            "spec:\n  containers:\n  - name: c\n    ports:\n    - containerPort: 80\n      name: HTTP\n",
            "m.yaml:10: Pod/default/p: spec.containers[0].ports[0].name: \"HTTP\" is no port name: at most \
             15 of a-z, 0-9 and single `-`, with at least one letter, beginning and ending with a letter \
             or digit",
        ),
        (
            "spec:\n  containers:\n  - name: c\n    ports:\n    - name: http\n",
            "m.yaml:9: Pod/default/p: spec.containers[0].ports[0].containerPort: 0 is no port; allowed \
             are 1 to 65535",
        ),
        (
            "  namespace: A\n",
            "m.yaml:5: Pod/A/p: metadata.namespace: \"A\" is no DNS label: at most 63 of a-z, 0-9 and \
             `-`, beginning and ending with a letter or digit",
        ),
    ] {
        assert_eq!(read(&pod(rest)).unwrap_err(), [expect], "{rest}");
    }
}

#[test]
fn other_objects_that_the_api_would_refuse_are_refused() {
    for (text, expect) in [
        (
            "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: a.b\n",
            "m.yaml:4: Namespace/a.b: metadata.name: \"a.b\" is no DNS label: at most 63 of a-z, 0-9 and \
             `-`, beginning and ending with a letter or digit",
        ),
        (
            "apiVersion: v1\nkind: Node\nmetadata:\n  name: n\n  namespace: x\n",
            "m.yaml:5: Node/n: metadata.namespace: a Node is in no namespace; leave this out",
        ),
        (
            "apiVersion: v1\nkind: Node\nmetadata: {name: n}\nstatus:\n  addresses:\n  - {type: \
             Hostname, address: n}\n  - {type: InternalIP, address: n}\n",
            "m.yaml:7: Node/n: status.addresses[1].address: \"n\" is no IPv4 or IPv6 address",
        ),
        (
            "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec:\n  clusterIPs: [10.0.0.300]\n",
            "m.yaml:5: Service/default/s: spec.clusterIPs[0]: \"10.0.0.300\" is no IPv4 or IPv6 address",
        ),
        (
            "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec:\n  ports:\n  - port: 80\n    \
             targetPort: 70000\n",
            "m.yaml:7: Service/default/s: spec.ports[0].targetPort: 70000 is no port; allowed are 1 to \
             65535",
        ),
    ] {
        assert_eq!(read(text).unwrap_err(), [expect], "{text}");
    }
}
