//! What the kinds of this group mean, and what of them is refused.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::*;
use crate::{
    model::{Entity, PortSpec, Ports, Protocol, ZonePeer},
    watch::{Batch, Source},
};

/// A policy whose rules begin in line 6.
fn policy(rules: &str) -> String {
    format!(
        "apiVersion: ringfence.dev/v1alpha1\nkind: ZonePolicy\nmetadata: {{name: p}}\nspec:\n  rules:\n{rules}"
    )
}

#[test]
fn a_zone_policy_means_what_it_says() {
    let text = policy(
        "  - {name: a, action: Allow, from: [{zoneNames: [x, y]}, {entity: World}], to: [{entity: Any}]}\n  \
         - {name: d, action: Deny, from: [{entity: Any}], to: [{entity: Unzoned}], ports: [{protocol: TCP, port: 22}, \
         {protocol: UDP}], except: [{name: e, ports: [{protocol: TCP, port: 1, endPort: 9}]}], expirationTime: \
         \"1970-01-01T00:01:40.5Z\"}\n",
    );
    let snapshot = read(&text).unwrap();
    let rules = &snapshot.zone_policies["p"].rules;
    assert_eq!(
        rules[0].from,
        [
            ZonePeer::Zone("x".into()),
            ZonePeer::Zone("y".into()),
            ZonePeer::Entity(Entity::World)
        ]
    );
    assert_eq!(rules[0].ports, Ports::Any);
    assert_eq!(
        rules[1].ports,
        Ports::Of(vec![
            PortSpec::Range(Protocol::Tcp, 22, 22),
            PortSpec::All(Protocol::Udp)
        ])
    );
    assert_eq!(rules[1].except[0].from, None);
    assert_eq!(rules[1].expiry.0, Some(100));
    assert_eq!(snapshot.past, 100);
    assert!(rules[1].expiry.is_over(snapshot.past));
}

#[test]
fn what_a_definition_does_not_allow_is_refused_with_its_line() {
    for (text, expect) in [
        (
            policy(
                "  - name: a\n    action: allow\n    from: [{entity: Any}]\n    to: [{entity: Any}]\n",
            ),
            "m.yaml:7: ZonePolicy/p: spec.rules[0].action: unknown value \"allow\"; did you mean `Allow`? (allowed \
             here: Allow, Deny)",
        ),
        (
            policy(
                "  - name: a\n    action: Allow\n    from: [{entity: Any}]\n    to:\n    - zoneNames: [b]\n      \
                 entity: Any\n",
            ),
            "m.yaml:10: ZonePolicy/p: spec.rules[0].to[0]: a peer must have exactly one of `zoneNames` and `entity`",
        ),
        (
            "apiVersion: ringfence.dev/v1alpha1\nkind: TenantIsolation\nmetadata: {name: t}\nspec:\n  \
             namespaceLabelkey: a\n"
                .to_owned(),
            "m.yaml:4: TenantIsolation/t: spec: `namespaceLabelKey` is missing",
        ),
    ] {
        assert_eq!(read(&text).unwrap_err()[0], expect);
    }
}

#[test]
fn what_is_not_enforced_yet_is_refused_as_such() {
    for (spec, fields) in [
        ("enforcement: Disabled", vec!["spec.enforcement"]),
        (
            "endpoints: [{name: a, addresses: [169.254.169.254, 127.0.0.1, 224.0.0.1, 255.255.255.255]}, {name: b, addresses: \
             [\"64:ff9b::a9fe:a9fe\", \"2002:a9fe:a9fe::\", \"fd00:ec2::254\", \"::\"], ports: [80]}]",
            vec![
                "spec.endpoints[0].addresses[1]",
                "spec.endpoints[0].addresses[2]",
                "spec.endpoints[0].addresses[3]",
                "spec.endpoints[1].addresses[0]",
                "spec.endpoints[1].addresses[1]",
                "spec.endpoints[1].addresses[3]",
            ],
        ),
    ] {
        let object = one("MetadataFirewall", "default", spec);
        let mut index = Index::default();
        index.apply(Event::Apply(Box::new(object)));
        let found = index.diagnostics();
        let found = found.iter().filter(|found| !found.field.is_empty());
        let unsupported: Vec<&str> = found
            .inspect(|found| assert_eq!(found.reason(), Diagnostic::NOT_SUPPORTED))
            .map(|found| found.field.as_str())
            .collect();
        assert_eq!(unsupported, fields);
    }
    let plain = "endpoints: [{name: a, addresses: [169.254.169.254]}]";
    let mut index = Index::default();
    index.apply(Event::Apply(Box::new(one(
        "MetadataFirewall",
        "default",
        plain,
    ))));
    assert_eq!(index.diagnostics(), []);
}

#[test]
fn a_broken_one_keeps_the_last_good_state_and_is_told_otherwise() {
    let good = || {
        one(
            "ZonePolicy",
            "p",
            "rules: [{name: a, action: Allow, from: [{entity: World}], to: [{entity: Any}]}]",
        )
    };
    let broken = || {
        Event::Broken(Box::new(Broken {
            key: good().key,
            origin: good().origin,
            revision: None,
            remnant: None,
            diagnostics: vec![Diagnostic {
                origin: good().origin,
                object: "ZonePolicy/p".into(),
                field: "spec.rules".into(),
                message: "broken".into(),
            }],
        }))
    };
    let mut index = Index::default();
    index.apply(broken());
    assert!(index.snapshot().zone_policies.is_empty());
    assert_eq!(
        in_force(&index),
        "not in force, and no good state of it is known"
    );
    index.apply(Event::Apply(Box::new(good())));
    assert_eq!(index.diagnostics(), []);
    index.apply(broken());
    assert_eq!(index.snapshot().zone_policies["p"].rules.len(), 1);
    assert_eq!(
        in_force(&index),
        "not in force; its last good state stays so until this is mended"
    );
}

#[test]
fn an_audit_ends_with_a_version_that_does_not_ask_for_it_and_cannot_be_used() {
    let firewall = |spec: &str| Event::Apply(Box::new(one("MetadataFirewall", "default", spec)));
    let twice = "endpoints: [ { name: a, addresses: [ 192.0.2.1 ] }, { name: b, addresses: [ 192.0.2.1 ] } ]";
    for (refused, ends) in [
        ("enforcement: Disabled".to_owned(), true),
        (twice.to_owned(), true),
        (format!("enforcement: Audit, {twice}"), false),
    ] {
        let mut index = Index::default();
        index.apply(firewall("enforcement: Audit, hostNetworkPods: Allow"));
        assert_eq!(index.diagnostics(), []);
        assert!(index.apply(firewall(&refused)), "{refused}: is news");
        let kept = &index.snapshot().firewalls["default"];
        let audited = kept.enforcement == Enforcement::Audit;
        assert_eq!(audited, !ends, "{refused}");
        assert!(kept.host_network_granted, "the rest stays");
        assert_ne!(index.diagnostics(), [], "{refused}");
    }
}

fn one(kind: &str, name: &str, spec: &str) -> Read {
    objects(&format!(
        "apiVersion: ringfence.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {{{spec}}}\n"
    ))
    .remove(0)
}

/// Hands over what it is given, and lives on.
struct Given(mpsc::Receiver<Batch>);

impl Source for Given {
    async fn run(mut self, batches: mpsc::Sender<Batch>) -> anyhow::Result<()> {
        while let Some(batch) = self.0.recv().await {
            batches.send(batch).await?;
        }
        std::future::pending().await
    }
}

#[tokio::test]
async fn what_ends_by_itself_ends_without_an_event() {
    let grant = |name: &str, time: i64| {
        let time = jiff::Timestamp::from_second(time).unwrap();
        let spec = format!("subjects: [{{namespaceSelector: {{}}}}], expirationTime: \"{time}\"");
        Event::Apply(Box::new(one("MetadataAccess", name, &spec)))
    };
    let soon = moments::now() + 2;
    let mut batch: Batch = Kind::ALL.map(Event::Init).into();
    batch.extend([
        grant("past", 100),
        grant("soon", soon),
        grant("late", soon + 1_000_000),
    ]);
    batch.extend(Kind::ALL.map(Event::InitDone));
    let (source, given) = mpsc::channel(1);
    source.send(batch).await.unwrap();
    let (mut states, _task) = follow(Given(given));
    let past = |state: &Arc<State>| state.snapshot.past;
    // A loaded machine may take its time to begin.
    let seen = past(&states.wait_for(|state| state.synced).await.unwrap());
    assert!([100, soon].contains(&seen), "{seen}");
    states.wait_for(|state| past(state) == soon).await.unwrap();
    assert_eq!(states.borrow().snapshot.grants.len(), 3);
}
