//! The order among objects does not matter.

use proptest::prelude::*;

use super::*;

/// What may become of each of some objects, in its own order.
fn histories() -> impl Strategy<Value = Vec<Vec<Event>>> {
    let states = |name: &str| {
        let text = |body: &str| {
            objects(&format!(
                "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: {name}}}\n\
                 spec: {{podSelector: {{matchLabels: {{app: {name}}}}}, {body}}}\n"
            ))
            .remove(0)
        };
        let good = text("ingress: [{}]");
        let other = text("egress: [{}]");
        let invalid = text("ingress: [{ports: [{port: 0}]}]");
        let broken = Event::Broken(Box::new(Broken {
            key: good.key.clone(),
            origin: good.origin.clone(),
            revision: None,
            remnant: match &good.object {
                Object::NetworkPolicy(policy) => Some(policy.clone()),
                _ => None,
            },
            diagnostics: vec![Diagnostic {
                origin: good.origin.clone(),
                object: good.key.to_string(),
                field: String::new(),
                message: "broken".into(),
            }],
        }));
        let delete = Event::Delete(good.key.clone());
        let apply = |read| Event::Apply(Box::new(read));
        vec![apply(good), apply(other), apply(invalid), broken, delete]
    };
    let pod = |name: &str| {
        let text = |address: &str| {
            objects(&format!(
                "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}}}, status: {{podIP: {address}}}}}"
            ))
            .remove(0)
        };
        let good = text("10.0.0.1");
        let delete = Event::Delete(good.key.clone());
        vec![
            Event::Apply(Box::new(good)),
            Event::Apply(Box::new(text("10.0.0.2"))),
            Event::Apply(Box::new(text("nowhere"))),
            delete,
        ]
    };
    let all = vec![states("a"), states("b"), states("c"), pod("x"), pod("y")];
    all.into_iter()
        .map(|states| prop::collection::vec(prop::sample::select(states), 0..6))
        .collect::<Vec<_>>()
}

/// Takes events from the histories in the order that the choices say.
fn interleave(mut histories: Vec<Vec<Event>>, choices: &[prop::sample::Index]) -> Vec<Event> {
    histories.iter_mut().for_each(|history| history.reverse());
    let mut events = Vec::new();
    for choice in choices.iter().cycle() {
        histories.retain(|history| !history.is_empty());
        if histories.is_empty() {
            break;
        }
        let next = choice.index(histories.len());
        events.extend(histories[next].pop());
    }
    events
}

proptest! {
    #[test]
    fn interleavings_of_the_same_histories_give_the_same_state(
        histories in histories(),
        first in prop::collection::vec(any::<prop::sample::Index>(), 7),
        second in prop::collection::vec(any::<prop::sample::Index>(), 11),
    ) {
        let run = |choices| {
            let mut index = Index::default();
            for event in interleave(histories.clone(), choices) {
                index.apply(event);
            }
            (index.snapshot().clone(), index.diagnostics())
        };
        prop_assert_eq!(run(&first), run(&second));
    }

    #[test]
    fn apply_says_truly_whether_something_changed(
        histories in histories(),
        choices in prop::collection::vec(any::<prop::sample::Index>(), 7),
    ) {
        let mut index = Index::default();
        for event in interleave(histories, &choices) {
            let before = (index.snapshot().clone(), index.diagnostics());
            let changed = index.apply(event);
            let after = (index.snapshot().clone(), index.diagnostics());
            prop_assert!(changed || before == after);
        }
    }
}
