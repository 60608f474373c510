//! What stays in force, and what is published when.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::*;
use crate::{
    model::Rule,
    watch::{Batch, Source},
};

fn one(text: &str) -> Read {
    objects(text).remove(0)
}

fn apply(read: Read) -> Event {
    Event::Apply(Box::new(read))
}

fn policy(body: &str) -> Read {
    one(&format!(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: p}}\nspec: \
         {{podSelector: {{matchLabels: {{app: db}}}}, {body}}}\n"
    ))
}

fn pod(name: &str) -> Read {
    one(&format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}}}}}"
    ))
}

#[test]
fn an_invalid_policy_keeps_its_last_good_state() {
    let mut index = Index::default();
    assert!(index.apply(apply(policy("ingress: [{}]"))));
    let before = index.snapshot().clone();
    assert!(index.apply(apply(policy("ingress: [{ports: [{port: 0}]}]"))));
    assert_eq!(*index.snapshot(), before);
    assert_eq!(index.diagnostics().len(), 2);
    assert_eq!(
        in_force(&index),
        "not in force; its last good state stays so until this is mended"
    );
    // The same again is no news; mended, nothing is left of it.
    assert!(!index.apply(apply(policy("ingress: [{ports: [{port: 0}]}]"))));
    assert!(index.apply(apply(policy("ingress: [{}]"))));
    assert_eq!((index.snapshot(), index.diagnostics().len()), (&before, 0));
}

#[test]
fn a_policy_without_a_good_state_isolates_whom_it_selects() {
    let bad = "ports: [{port: 0}]";
    for (body, ingress, egress, words) in [
        (
            format!("ingress: [{{{bad}}}]"),
            true,
            false,
            "isolated for ingress",
        ),
        (
            format!("egress: [{{{bad}}}]"),
            true,
            true,
            "isolated for ingress and egress",
        ),
        (
            format!("policyTypes: [Egress], egress: [{{{bad}}}]"),
            false,
            true,
            "isolated for egress",
        ),
        (
            "policyTypes: [egress]".to_owned(),
            true,
            true,
            "isolated for ingress and egress",
        ),
    ] {
        let mut index = Index::default();
        index.apply(apply(policy(&body)));
        let substitute = index.snapshot().policies.values().next().unwrap();
        assert_eq!(substitute.ingress, ingress.then(Vec::<Rule>::new), "{body}");
        assert_eq!(substitute.egress, egress.then(Vec::<Rule>::new), "{body}");
        assert_eq!(substitute.subject.requirements.len(), 1);
        assert!(in_force(&index).ends_with(words), "{}", in_force(&index));
        // Another broken state may be about other pods; a good one takes its place; gone is gone.
        index.apply(apply(policy(
            "policyTypes: [Egress], ingress: [{from: [{}]}]",
        )));
        assert!(
            index
                .snapshot()
                .policies
                .values()
                .all(|policy| policy.ingress.is_none())
        );
        index.apply(apply(policy("ingress: [{}]")));
        assert!(index.diagnostics().is_empty());
        index.apply(Event::Delete(policy("").key));
        assert!(index.snapshot().policies.is_empty());
    }
    // Whom it is about cannot be told.
    let mut index = Index::default();
    let text = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p}\nspec: \
                {podSelector: {matchExpressions: [{key: a, operator: Is}]}}\n";
    index.apply(apply(one(text)));
    assert!(index.snapshot().policies.is_empty());
    assert_eq!(
        in_force(&index),
        "not in force, and no good state of it is known"
    );
}

#[test]
fn what_is_not_named_between_init_and_init_done_is_gone() {
    let mut index = Index::default();
    for event in [
        apply(pod("a")),
        apply(pod("b")),
        apply(pod("c")),
        apply(policy("")),
    ] {
        index.apply(event);
    }
    let broken = Broken {
        key: pod("b").key,
        origin: pod("b").origin,
        revision: None,
        remnant: None,
        diagnostics: vec![Diagnostic {
            origin: pod("b").origin,
            object: "Pod/default/b".into(),
            field: "spec".into(),
            message: "broken".into(),
        }],
    };
    index.apply(Event::Init(Kind::Pod));
    index.apply(apply(pod("a")));
    index.apply(Event::Broken(Box::new(broken)));
    assert!(!index.is_synced());
    assert!(index.apply(Event::InitDone(Kind::Pod)));
    let names: Vec<&str> = index
        .snapshot()
        .pods
        .keys()
        .map(|key| key.name.as_str())
        .collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(index.snapshot().policies.len(), 1);
    assert!(!index.is_synced());
    for kind in Kind::ALL {
        index.apply(Event::Init(kind));
        index.apply(Event::InitDone(kind));
    }
    assert!(index.is_synced());
    assert_eq!(*index.snapshot(), Snapshot::default());
    assert!(index.diagnostics().is_empty());
}

/// A source that delivers what the test hands it.
struct Relay(mpsc::Receiver<Batch>);

impl Source for Relay {
    async fn run(mut self, batches: mpsc::Sender<Batch>) -> anyhow::Result<()> {
        while let Some(batch) = self.0.recv().await {
            if batches.send(batch).await.is_err() {
                return Ok(());
            }
        }
        anyhow::bail!("the source has dried up")
    }
}

#[tokio::test]
async fn states_are_published_when_complete_and_changed_and_as_one_change_per_batch() {
    let (source, receiver) = mpsc::channel(8);
    let (mut states, task) = follow(Relay(receiver));
    let send = async |batch: Batch| source.send(batch).await.unwrap();
    let complaint = |message: &str| {
        let (origin, object, field) = Default::default();
        Diagnostic {
            origin,
            object,
            field,
            message: message.into(),
        }
    };

    // Not before every kind is named in full; diagnostics are no secret until then.
    send(
        Kind::ALL[1..]
            .iter()
            .flat_map(|&kind| [Event::Init(kind), Event::InitDone(kind)])
            .collect(),
    )
    .await;
    send(vec![
        apply(pod("a")),
        Event::Diagnostics(vec![complaint("first")]),
    ])
    .await;
    states.changed().await.unwrap();
    let state = Arc::clone(&states.borrow_and_update());
    assert!(!state.synced && state.snapshot.pods.is_empty() && state.diagnostics.len() == 1);
    send(vec![
        Event::Init(Kind::Namespace),
        Event::InitDone(Kind::Namespace),
    ])
    .await;
    states.changed().await.unwrap();
    assert!(states.borrow().synced && states.borrow_and_update().snapshot.pods.len() == 1);

    // While a kind is named anew the state before stays; what is no change is not published.
    send(vec![
        apply(pod("a")),
        Event::Init(Kind::Pod),
        apply(pod("b")),
    ])
    .await;
    send(vec![Event::Diagnostics(vec![complaint("second")])]).await;
    states.changed().await.unwrap();
    assert!(
        states
            .borrow_and_update()
            .snapshot
            .pods
            .keys()
            .all(|key| key.name == "a")
    );
    send(vec![apply(pod("a")), Event::InitDone(Kind::Pod)]).await;
    states.changed().await.unwrap();
    assert_eq!(states.borrow_and_update().snapshot.pods.len(), 2);
    // What was last known is marked as that until the kind is named by who knows better.
    for (end, recalled) in [
        (Event::Recalled(Kind::Node), true),
        (Event::InitDone(Kind::Node), false),
    ] {
        send(vec![Event::Init(Kind::Node), end]).await;
        states.changed().await.unwrap();
        assert_eq!(states.borrow_and_update().recalled, recalled);
    }
    send(vec![apply(pod("a"))]).await;
    send(vec![
        apply(pod("c")),
        Event::Delete(pod("b").key),
        Event::Delete(pod("a").key),
    ])
    .await;
    states.changed().await.unwrap();
    assert_eq!(states.borrow_and_update().snapshot.pods.len(), 1);

    // The end of the source is an error of the task; the last state stays.
    drop(source);
    assert!(
        task.await
            .unwrap()
            .unwrap_err()
            .to_string()
            .contains("dried up")
    );
    assert!(states.borrow().synced);
}
