//! Pods that may send encapsulated packets to nodes: what their own node and the others know of them.

use std::{collections::BTreeSet, net::IpAddr};

use ringfence_agent::{
    compile::{Compiler, Desired, Options, compile, encapsulates},
    model::{Labels, MetadataFirewall, NamedPods, Operator, Selector, Snapshot},
};

use super::{only, pod, usual, world};

/// A firewall that lets pods with label `app: web` of team ops.
fn firewall() -> MetadataFirewall {
    let named = NamedPods {
        name: "it".into(),
        namespaces: only("team", Operator::In(["ops".to_owned()].into())),
        pods: only("app", Operator::In(["web".to_owned()].into())),
    };
    MetadataFirewall {
        encapsulating: vec![named],
        ..MetadataFirewall::default()
    }
}

/// The pods of this node, and all addresses, that may.
fn who(desired: &Desired) -> (Vec<String>, BTreeSet<IpAddr>) {
    let pods = desired.endpoints.iter().filter(|(_, it)| it.encapsulates);
    let addresses = desired.addresses.iter().filter(|(_, signature)| {
        let text = desired.signatures.get(*signature);
        text.is_some_and(encapsulates)
    });
    (
        pods.map(|(key, _)| key.to_string()).collect(),
        addresses.map(|(net, _)| net.addr()).collect(),
    )
}

fn expect(pods: &[&str], addresses: &[&str]) -> (Vec<String>, BTreeSet<IpAddr>) {
    (
        pods.iter().map(|&it| it.to_owned()).collect(),
        addresses.iter().map(|it| it.parse().unwrap()).collect(),
    )
}

#[test]
fn only_those_may_that_both_selectors_have_and_nobody_without_the_object() {
    let mut snapshot = world(usual(), Vec::new());
    let (desired, _) = compile(&snapshot, &Options::default());
    assert_eq!(who(&desired), expect(&[], &[]));
    snapshot.firewalls.insert("default".into(), firewall());
    let (desired, _) = compile(&snapshot, &Options::default());
    let one = expect(&["ops/web"], &["10.0.1.2", "fd00::1:2"]);
    assert_eq!(who(&desired), one);
    // Who is on another node is known by his address.
    let key = super::key("ops/web");
    snapshot.local.remove(&key);
    let (desired, _) = compile(&snapshot, &Options::default());
    assert_eq!(who(&desired), (Vec::new(), one.1));
}

#[test]
fn an_address_that_two_pods_claim_may_not() {
    let mut pods = usual();
    pods.push(pod("shop/copy", &["10.0.1.2"]));
    let mut snapshot = world(pods, Vec::new());
    snapshot.firewalls.insert("default".into(), firewall());
    let (desired, _) = compile(&snapshot, &Options::default());
    assert_eq!(who(&desired).1, expect(&[], &["fd00::1:2"]).1);
}

#[test]
fn it_follows_the_object_labels_of_pods_and_of_namespaces() {
    let mut compiler = Compiler::new(Options::default());
    let mut follows = |snapshot: &Snapshot, pods: &[&str], addresses: &[&str]| {
        let (desired, _) = compiler.update(snapshot);
        assert_eq!(who(&desired), expect(pods, addresses));
        let (fresh, _) = compile(snapshot, &Options::default());
        assert_eq!(who(&fresh), expect(pods, addresses));
    };
    let web = ["10.0.1.2", "fd00::1:2"];
    let mut snapshot = world(usual(), Vec::new());
    follows(&snapshot, &[], &[]);
    snapshot.firewalls.insert("default".into(), firewall());
    follows(&snapshot, &["ops/web"], &web);
    let mut job = snapshot.pods[&super::key("ops/job")].clone();
    job.labels = Labels::from([("app".to_owned(), "web".to_owned())]);
    snapshot.pods.insert(job.key.clone(), job);
    let both = [web[0], web[1], "10.0.1.3"];
    follows(&snapshot, &["ops/job", "ops/web"], &both);
    let labels = snapshot.namespaces["ops"].labels.clone();
    let mut namespace = snapshot.namespaces["ops"].clone();
    namespace.labels = Labels::default();
    snapshot.namespaces.insert("ops".into(), namespace.clone());
    follows(&snapshot, &[], &[]);
    namespace.labels = labels;
    snapshot.namespaces.insert("ops".into(), namespace);
    follows(&snapshot, &["ops/job", "ops/web"], &both);
    let mut other = firewall();
    other.encapsulating[0].namespaces = Selector::default();
    other.encapsulating[0].pods = only("app", Operator::In(["db".to_owned()].into()));
    snapshot.firewalls.insert("default".into(), other);
    follows(&snapshot, &["shop/db"], &["10.0.0.1", "fd00::1"]);
    snapshot.firewalls.remove("default");
    follows(&snapshot, &[], &[]);
}
