//! Services in questions: by name and by address, and what cannot be known of them.

use std::{fs, path::Path};

use super::{manifests, told};

const MORE: &str = "\
---
apiVersion: v1
kind: Pod
metadata: { name: one, namespace: shop, labels: { tier: back, app: one } }
status: { podIPs: [ { ip: 10.0.0.21 }, { ip: 'fd00::21' } ] }
---
apiVersion: v1
kind: Pod
metadata: { name: two, namespace: shop, labels: { tier: back, app: two } }
status: { podIPs: [ { ip: 10.0.0.22 }, { ip: 'fd00::22' } ] }
---
apiVersion: v1
kind: Pod
metadata: { name: onhost, namespace: shop, labels: { tier: host } }
spec: { hostNetwork: true, nodeName: n1 }
status: { hostIP: 192.0.2.10, podIPs: [ { ip: 192.0.2.10 } ] }
---
apiVersion: v1
kind: Service
metadata: { name: back, namespace: shop }
spec:
  selector: { tier: back }
  clusterIP: 10.96.0.20
  clusterIPs: [ 10.96.0.20, 'fd00:96::20' ]
  externalIPs: [ 198.51.100.20 ]
  ports: [ { name: web, port: 80, targetPort: 8080, nodePort: 30080 } ]
status: { loadBalancer: { ingress: [ { ip: 203.0.113.20 } ] } }
---
apiVersion: v1
kind: Service
metadata: { name: written, namespace: shop }
spec: { clusterIP: 10.96.0.21, ports: [ { port: 80 } ] }
---
apiVersion: v1
kind: Service
metadata: { name: empty, namespace: shop }
spec: { selector: { tier: none }, clusterIP: 10.96.0.22, ports: [ { port: 80 } ] }
---
apiVersion: v1
kind: Service
metadata: { name: headless, namespace: shop }
spec: { selector: { app: one }, clusterIP: None, ports: [ { port: 8080 } ] }
---
apiVersion: v1
kind: Service
metadata: { name: onhost, namespace: shop }
spec: { selector: { tier: host }, clusterIP: 10.96.0.23, ports: [ { port: 8080 } ] }
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: web, namespace: shop }
spec:
  podSelector: { matchLabels: { app: web } }
  policyTypes: [Egress]
  egress:
  - to: [ { podSelector: { matchLabels: { app: one } } }, { ipBlock: { cidr: 10.96.0.0/16 } } ]
    ports: [ { port: 8080 } ]
";

/// Asks about what the pod `shop/web` may, in the manifests with Services.
fn can(directory: &Path, words: &[&str]) -> (String, String, i32) {
    can_with(MORE, directory, words)
}

fn can_with(more: &str, directory: &Path, words: &[&str]) -> (String, String, i32) {
    fs::write(directory.join("more.yaml"), more).unwrap();
    let files = ["-f", "all.yaml", "-f", "more.yaml"];
    told(
        directory,
        &[&["can", "shop/web"], words, &files[..]].concat(),
    )
}

#[test]
fn a_service_is_as_open_as_each_of_its_backends() {
    let directory = manifests();
    let can = |words: &[&str]| can(directory.path(), words);
    let (out, err, code) = can(&["svc/shop/back", "web"]);
    insta::assert_snapshot!(out, @r"
    DENIED  shop/web -> svc/shop/back web  (2 of 4 flows allowed)
     IPv4 shop/one 8080/tcp, IPv6 shop/one 8080/tcp
      egress    allow  NetworkPolicy/shop/web egress[0]  (more.yaml:49)
      ingress   allow  no policy selects pod shop/one for ingress
     IPv4 shop/two 8080/tcp, IPv6 shop/two 8080/tcp
      egress    deny   NetworkPolicy/shop/web egress: no rule matches  (more.yaml:49)
      ingress   allow  no policy selects pod shop/two for ingress
    ");
    assert_eq!((err.as_str(), code), ("", 1));
    // Only the families of the address that was asked about.
    let (out, _, code) = can(&["10.96.0.20", "80"]);
    insta::assert_snapshot!(out, @r"
    DENIED  shop/web -> 10.96.0.20 (svc/shop/back) 80/tcp  (1 of 2 flows allowed)
     IPv4 shop/one 8080/tcp
      egress    allow  NetworkPolicy/shop/web egress[0]  (more.yaml:49)
      ingress   allow  no policy selects pod shop/one for ingress
     IPv4 shop/two 8080/tcp
      egress    deny   NetworkPolicy/shop/web egress: no rule matches  (more.yaml:49)
      ingress   allow  no policy selects pod shop/two for ingress
    ");
    assert_eq!(code, 1);
    for address in [
        "198.51.100.20",
        "203.0.113.20",
        "fd00:96::20",
        "::ffff:10.96.0.20",
    ] {
        let (out, _, code) = can(&[address, "80", "-o", "json"]);
        let answer: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(
            (answer["service"].as_str(), code),
            (Some("svc/shop/back"), 1)
        );
        let flows = answer["flows"].as_array().unwrap();
        let verdicts: Vec<_> = flows
            .iter()
            .map(|flow| {
                (
                    flow["to"].as_str().unwrap(),
                    flow["verdict"].as_str().unwrap(),
                )
            })
            .collect();
        assert_eq!(
            verdicts,
            [("shop/one", "allow"), ("shop/two", "deny")],
            "{address}"
        );
        let rule = flows[0]["egress"]["rule"].as_str();
        assert_eq!(rule, Some("NetworkPolicy/shop/web egress[0]"));
    }
    // With one backend that is allowed.
    let (out, _, code) = can(&["svc/shop/headless", "8080"]);
    insta::assert_snapshot!(out, @r"
    ALLOWED  shop/web -> svc/shop/headless 8080/tcp
     IPv4 shop/one 8080/tcp, IPv6 shop/one 8080/tcp
      egress    allow  NetworkPolicy/shop/web egress[0]  (more.yaml:49)
      ingress   allow  no policy selects pod shop/one for ingress
    ");
    assert_eq!(code, 0);
}

#[test]
fn a_backend_with_the_nodes_network_is_judged_by_the_nodes_address() {
    let directory = manifests();
    let (out, _, code) = can(directory.path(), &["10.96.0.23", "8080"]);
    insta::assert_snapshot!(out, @r"
    DENIED  shop/web -> 10.96.0.23 (svc/shop/onhost) 8080/tcp
     IPv4 shop/onhost 8080/tcp
      egress    deny   NetworkPolicy/shop/web egress: no rule matches  (more.yaml:49)
      ingress   none   no pod: nobody judges here
    ");
    assert_eq!(code, 1);
    let open = MORE.replace("10.96.0.0/16", "192.0.2.10/32");
    let (_, _, code) = can_with(&open, directory.path(), &["10.96.0.23", "8080"]);
    assert_eq!(code, 0);
}

#[test]
fn what_no_service_translates_is_judged_as_it_stands() {
    let directory = manifests();
    let can = |words: &[&str]| can(directory.path(), words);
    // The Service has the address and not the port; the policy's block has both.
    let (out, _, code) = can(&["10.96.0.20", "8080"]);
    insta::assert_snapshot!(out, @r"
    ALLOWED  shop/web -> 10.96.0.20 8080/tcp
      egress    allow  NetworkPolicy/shop/web egress[0]  (more.yaml:49)
      ingress   none   no pod: nobody judges here
    ");
    assert_eq!(code, 0);
    let (_, _, code) = can(&["10.96.0.20", "80/udp"]);
    assert_eq!(code, 1);
}

#[test]
fn what_is_behind_some_services_is_unknown_and_said_to_be() {
    let directory = manifests();
    let fails = |words: &[&str]| {
        let (out, err, code) = can(directory.path(), words);
        assert_eq!((out.as_str(), code), ("", 2), "{words:?}: {err}");
        err
    };
    let written = fails(&["svc/shop/written", "80"]);
    insta::assert_snapshot!(written, @"error: more.yaml:29: Service/shop/written has no selector, its endpoints are written by somebody else: ask for a pod or an address");
    assert_eq!(fails(&["10.96.0.21", "80"]), written);
    let empty = fails(&["svc/shop/empty", "80"]);
    insta::assert_snapshot!(empty, @"error: Service/shop/empty has no running pods: its selector matches none in namespace shop");
    assert_eq!(fails(&["10.96.0.22", "80"]), empty);
    let words = [
        "matrix",
        "--outside",
        "vip=10.96.0.20",
        "-f",
        "all.yaml",
        "-f",
        "more.yaml",
    ];
    let (out, err, code) = told(directory.path(), &words);
    assert_eq!((out.as_str(), code), ("", 2));
    insta::assert_snapshot!(err, @r"
    error: 10.96.0.20 is an address of service shop/back, not of somebody outside
      --outside vip=10.96.0.20
      help: look at the columns of the pods behind it, or ask `ringfence can POD svc/shop/back PORT`
    ");
}
