//! What is kept on disk means what it meant.

use super::*;
use crate::{index::revert, model::Origin, watch::kept};

const EVERYTHING: &str = r#"
apiVersion: v1
kind: Namespace
metadata: { name: t, labels: { team: x } }
---
apiVersion: v1
kind: Node
metadata: { name: n1, labels: { zone: a } }
status: { addresses: [ { type: InternalIP, address: 10.0.0.1 }, { type: ExternalIP, address: "fd00::1" }, { type: Hostname, address: n1 } ] }
---
apiVersion: v1
kind: Pod
metadata:
  name: a
  namespace: t
  uid: u-1
  labels: { app: a }
  annotations: { ringfence.dev/netns: n, ringfence.dev/cgroup: c/d, metadata.ringfence.dev/access: "yes", iam.amazonaws.com/role: r, other: thing }
  deletionTimestamp: "2026-01-01T00:00:00Z"
  ownerReferences: [ { apiVersion: apps/v1, kind: ReplicaSet, name: r, uid: x, controller: true } ]
spec:
  nodeName: n1
  serviceAccountName: sa
  containers:
  - { name: c, ports: [ { containerPort: 80, name: http, hostPort: 8080 }, { containerPort: 53, protocol: UDP } ] }
  - { name: d, ports: [ { containerPort: 81 } ] }
  initContainers: [ { name: s, restartPolicy: Always, ports: [ { containerPort: 82, protocol: SCTP } ] } ]
status: { phase: Running, podIPs: [ { ip: 10.1.0.1 }, { ip: "fd00:1::1" } ] }
---
apiVersion: v1
kind: Pod
metadata: { name: b, namespace: t, annotations: { ringfence.dev/interface: veth0 } }
spec: { hostNetwork: true }
status: { phase: Failed }
---
apiVersion: v1
kind: Service
metadata: { name: s, namespace: t }
spec:
  selector: { app: a, tier: db }
  clusterIPs: [ 10.96.0.1, "fd00:96::1" ]
  externalIPs: [ 192.0.2.1 ]
  ports: [ { name: http, port: 80, targetPort: http, nodePort: 30000 }, { name: dns, port: 53, protocol: UDP } ]
status: { loadBalancer: { ingress: [ { ip: 198.51.100.1 } ] } }
---
apiVersion: v1
kind: Service
metadata: { name: headless, namespace: t }
spec: { clusterIP: None, ports: [ { port: 1 } ] }
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: p, namespace: t, annotations: { ringfence.dev/enforcement: Audit } }
spec:
  podSelector:
    matchLabels: { app: a }
    matchExpressions: [ { key: x, operator: NotIn, values: [ a, b ] }, { key: y, operator: Exists }, { key: z, operator: DoesNotExist } ]
  policyTypes: [ Ingress, Egress ]
  ingress:
  - {}
  - from:
    - { podSelector: {} }
    - { namespaceSelector: { matchLabels: { team: x } } }
    - { namespaceSelector: {}, podSelector: { matchLabels: { app: b } } }
    - { ipBlock: { cidr: 10.0.0.0/8, except: [ 10.1.0.0/16 ] } }
    ports: [ { port: 80 }, { port: 1000, endPort: 2000, protocol: UDP }, { port: http, protocol: SCTP }, { protocol: UDP } ]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: deny-egress, namespace: t }
spec: { podSelector: {}, policyTypes: [ Egress ] }
"#;

fn index(reads: Vec<Read>) -> Snapshot {
    let mut index = Index::default();
    for read in reads {
        // As if it came from the API.
        let origin = Origin::default();
        let lines = BTreeMap::new();
        index
            .put(&Read {
                origin,
                lines,
                ..read
            })
            .unwrap();
    }
    index.snapshot
}

#[test]
fn what_is_kept_and_read_again_is_the_same_state() {
    let state = index(objects(EVERYTHING));
    assert_eq!((state.pods.len(), state.policies.len()), (2, 2));
    let directory = tempfile::tempdir().unwrap();
    kept::write(directory.path(), "n1", revert::objects(&state)).unwrap();
    let (_, reads) = kept::read(directory.path(), "n1").unwrap().unwrap();
    assert_eq!(index(reads), state);
}
