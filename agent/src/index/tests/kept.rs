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
---
apiVersion: policy.networking.k8s.io/v1alpha2
kind: ClusterNetworkPolicy
metadata: { name: admin, annotations: { ringfence.dev/enforcement: Audit } }
spec:
  tier: Admin
  priority: 7
  subject: { namespaces: { matchLabels: { team: x } } }
  ingress:
  - { name: a, action: Pass, from: [ { namespaces: {} }, { pods: { podSelector: { matchLabels: { app: a } } } } ] }
  egress:
  - action: Accept
    to: [ { pods: { namespaceSelector: {}, podSelector: {} } } ]
    protocols: [ { destinationNamedPort: http }, { destinationNamedPort: dns }, { tcp: { destinationPort: { number: 80 } } } ]
  - action: Deny
    to: [ { nodes: { matchLabels: { zone: a } } }, { networks: [ 10.0.0.0/8, "fd00::/8" ] } ]
    protocols: [ { udp: { destinationPort: { range: { start: 1, end: 9 } } } }, { sctp: { destinationPort: { number: 5 } } } ]
---
apiVersion: policy.networking.k8s.io/v1alpha2
kind: ClusterNetworkPolicy
metadata: { name: baseline }
spec: { tier: Baseline, priority: 1000, subject: { pods: { podSelector: {} } } }
---
apiVersion: ringfence.dev/v1alpha1
kind: SecurityZone
metadata: { name: db }
spec:
  description: Databases
  members:
  - workloads: { namespaceSelector: { matchLabels: { team: x } }, podSelector: { matchLabels: { app: a } }, serviceAccountNames: [ sa, sb ] }
  - workloads: { namespaceSelector: {} }
  - networks: { cidrs: [ 10.0.0.0/8, "fd00::/8" ], except: [ 10.1.0.0/16 ] }
  - networks: { cidrs: [ 192.0.2.0/24 ] }
  - nodes: { matchExpressions: [ { key: x, operator: Exists } ] }
  ingress: Isolated
  egress: Isolated
  intraZoneTraffic: Deny
  enforcement: Audit
---
apiVersion: ringfence.dev/v1alpha1
kind: ZonePolicy
metadata: { name: p }
spec:
  enforcement: Audit
  canary: { podSelector: { matchLabels: { version: version2 } } }
  rules:
  - { name: a, action: Allow, from: [ { zoneNames: [ b, a ] }, { entity: World } ], to: [ { entity: Cluster } ] }
  - name: d
    action: Deny
    from: [ { entity: Any } ]
    to: [ { entity: Unzoned } ]
    ports: [ { protocol: TCP, port: 22 }, { protocol: UDP, port: 1, endPort: 9 }, { protocol: SCTP } ]
    acknowledgeLockout: true
    expirationTime: "2999-01-01T00:00:00Z"
    except:
    - { name: e, from: [ { zoneNames: [ a ] } ], expirationTime: "2020-01-01T00:00:00Z" }
    - { name: f, to: [ { zoneNames: [ a ] } ], ports: [ { protocol: TCP } ] }
---
apiVersion: ringfence.dev/v1alpha1
kind: TenantIsolation
metadata: { name: default }
spec:
  namespaceLabelKey: ringfence.dev/tenant
  mode: Overridable
  sharedNamespaces: [ { matchLabels: { shared: "yes" } } ]
  enforcement: Audit
  canary: { namespaceSelector: { matchLabels: { canary: "yes" } } }
  except:
  - name: e
    from: [ { namespaceSelector: {} } ]
    to: [ { namespaceSelector: {}, podSelector: { matchLabels: { app: a } } } ]
    ports: [ { protocol: TCP, port: 443 } ]
    expirationTime: "2998-01-01T00:00:00Z"
  - { name: f, ports: [ { protocol: UDP } ] }
---
apiVersion: ringfence.dev/v1alpha1
kind: MetadataFirewall
metadata: { name: default }
spec:
  enforcement: Audit
  hostNetworkPods: Allow
  hostNetworkExceptions:
  - { name: cni, namespaceSelector: { matchLabels: { kubernetes.io/metadata.name: kube-system } } }
  - { name: odd, podSelector: { matchExpressions: [ { key: app, operator: Exists } ] } }
  encapsulatingPods: [ { name: router, podSelector: { matchLabels: { app: router } } } ]
  annotatedPods: Granted
  annotationNamespaceSelector: { matchLabels: { platform: "yes" } }
  endpoints:
  - { name: router, addresses: [ 10.1.0.1, "fd00:1::1" ], ports: [ 80, 443 ], protocols: [ TCP, UDP ] }
  - { name: kube2iam, kind: Proxy, standsFor: [ imds, router ], ports: [ 8181 ] }
---
apiVersion: ringfence.dev/v1alpha1
kind: MetadataAccess
metadata: { name: dns }
spec:
  subjects: [ { namespaceSelector: {}, serviceAccountNames: [ dns ] } ]
  podAnnotation: Ignored
  endpointNames: [ imds, router ]
  expirationTime: "2997-01-01T00:00:00Z"
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
    assert_eq!((state.cluster_policies.len(), state.zones.len()), (2, 1));
    let rest = (
        state.zone_policies.len(),
        state.tenants.len(),
        state.grants.len(),
    );
    assert_eq!(rest, (1, 1, 1));
    assert_eq!(state.firewalls["default"].endpoints.len(), 2);
    let directory = tempfile::tempdir().unwrap();
    kept::write(directory.path(), "n1", revert::objects(&state)).unwrap();
    let (_, reads) = kept::read(directory.path(), "n1").unwrap().unwrap();
    assert_eq!(index(reads), state);
}
