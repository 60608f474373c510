//! What lasts is told, what is settled is told too, and nothing else.

use super::*;

fn found(object: &str, field: &str, message: &str) -> Diagnostic {
    Diagnostic {
        object: object.to_owned(),
        field: field.to_owned(),
        message: message.to_owned(),
        ..Diagnostic::default()
    }
}

fn reasons(notes: &[Note]) -> Vec<Reason> {
    notes.iter().map(|note| note.reason).collect()
}

#[test]
fn what_lasts_is_told_once_and_told_to_be_settled() {
    let mut troubles = Troubles::new("w1".to_owned());
    let start = Instant::now();
    let diagnostics = [
        found("NetworkPolicy/t/b", "spec.ingress[0]", "no such thing"),
        found(
            "NetworkPolicy/t/b",
            "",
            "not in force; its last good state stays so",
        ),
        found("Service/t/s", "", "not in force"),
        found(
            "NetworkPolicy/t/half",
            "spec.egress[0]",
            "a note in passing",
        ),
    ];
    let wrong = broken(&diagnostics, "w1");
    assert_eq!(wrong.len(), 1);
    assert!(troubles.compare(wrong.clone(), start).is_empty());
    let notes = troubles.compare(wrong.clone(), start + SETTLE);
    assert_eq!(reasons(&notes), [Reason::PolicyNotInForce]);
    assert!(notes[0].shared);
    assert_eq!(
        notes[0].text,
        "not in force; its last good state stays so (spec.ingress[0]: no such thing)"
    );
    assert!(
        troubles
            .compare(wrong.clone(), start + 2 * SETTLE)
            .is_empty()
    );
    let again = troubles.compare(wrong, start + SETTLE + REMIND);
    assert_eq!(again, notes);
    let notes = troubles.compare(BTreeMap::new(), start + SETTLE + REMIND);
    assert_eq!(reasons(&notes), [Reason::PolicyInForce]);
    assert!(
        troubles
            .compare(BTreeMap::new(), start + SETTLE + REMIND)
            .is_empty()
    );
}

#[test]
fn a_moment_is_not_told_and_a_pod_that_is_not_found_is_one_thing() {
    let mut troubles = Troubles::new("w1".to_owned());
    let start = Instant::now();
    let missing = |why: &str| broken(&[found("Pod/t/a", "", why)], "w1");
    assert!(troubles.compare(missing("one"), start).is_empty());
    assert!(troubles.compare(BTreeMap::new(), start).is_empty());
    assert!(troubles.compare(missing("one"), start + SETTLE).is_empty());
    let later = start + 2 * SETTLE;
    let notes = troubles.compare(missing("two"), later);
    assert_eq!(reasons(&notes), [Reason::PodNotEnforced]);
    assert_eq!(notes[0].text, "On node w1: two");
    assert!(
        troubles
            .compare(missing("three"), later + SETTLE)
            .is_empty()
    );
}

#[test]
fn names_that_are_nobodys_are_told_and_told_to_be_settled() {
    let mut troubles = Troubles::new("w1".to_owned());
    let start = Instant::now();
    let nobody = [
        found("ZonePolicy/p", "spec.rules[0].from", "there is no x"),
        found("ZonePolicy/p", "spec.rules[0].to", "there is no y"),
        found("SecurityZone/z", "spec.members", "overlaps"),
    ];
    let wrong = unresolved(&nobody);
    assert!(troubles.compare(wrong.clone(), start).is_empty());
    let notes = troubles.compare(wrong, start + SETTLE);
    assert_eq!(reasons(&notes), [Reason::ZoneNotFound]);
    assert_eq!(
        notes[0].text,
        "spec.rules[0].from: there is no x; spec.rules[0].to: there is no y"
    );
    let broken = broken(&[found("ZonePolicy/p", "", "not in force")], "w1");
    let later = start + 2 * SETTLE;
    assert!(troubles.compare(broken.clone(), later).is_empty());
    let notes = troubles.compare(broken, later + SETTLE);
    assert_eq!(reasons(&notes), [Reason::NotInForce]);
    let notes = troubles.compare(BTreeMap::new(), later + 2 * SETTLE);
    assert_eq!(reasons(&notes), [Reason::InForce]);
}

#[test]
fn long_words_are_cut_between_characters() {
    let text = short("ä".repeat(900));
    assert!(text.len() <= TEXT + 4 && text.ends_with("ä ..."));
}
