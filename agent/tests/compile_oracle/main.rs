//! The compiler against a naive evaluator, on random small clusters.
#![expect(
    clippy::unwrap_used,
    reason = "what the tests write themselves is right"
)]

mod above;
mod history;
mod incremental;
mod objects;
mod oracle;
mod worlds;
mod zoned;

use std::{collections::BTreeSet, net::IpAddr};

use proptest::prelude::*;
use ringfence_agent::{
    compile::{Answer, Asker, Desired, Options, Party, Question, as_if_local, compile},
    model::Snapshot,
};
use ringfence_common::{
    Direction,
    cell::{Tier, Verdict},
};

const DIRECTIONS: [Direction; 2] = [Direction::Ingress, Direction::Egress];

fn desired(snapshot: &Snapshot) -> Desired {
    compile(snapshot, &Options::default()).0
}

const fn verdict(judged: &oracle::Judged) -> Verdict {
    if judged.allowed {
        Verdict::Allow
    } else {
        Verdict::Deny
    }
}

/// Every cell that any packet can find is the oracle's.
fn check_against_oracle(snapshot: &Snapshot) -> Result<(), TestCaseError> {
    let desired = desired(snapshot);
    let expected: BTreeSet<_> = snapshot
        .local
        .keys()
        .filter(|key| oracle::counts(&snapshot.pods[*key]))
        .collect();
    prop_assert_eq!(desired.endpoints.keys().collect::<BTreeSet<_>>(), expected);
    for (key, endpoint) in &desired.endpoints {
        for direction in DIRECTIONS {
            for address in worlds::addresses(snapshot) {
                let of_family =
                    |it: &IpAddr| it.to_canonical().is_ipv4() == address.to_canonical().is_ipv4();
                if !endpoint.addresses.is_empty() && !endpoint.addresses.iter().any(of_family) {
                    // Nobody can talk with it over this family.
                    continue;
                }
                for port in worlds::ports() {
                    let live = oracle::judge(snapshot, key, direction, address, port, false);
                    let staged = oracle::judge(snapshot, key, direction, address, port, true);
                    let cell = desired.cell(key, direction, address, port);
                    let context = || {
                        format!(
                            "{key} {direction:?} {address} {port:?}: {cell:?}, {live:?} {staged:?}"
                        )
                    };
                    let Some(cell) = cell else {
                        for silent in [&live, &staged] {
                            prop_assert_eq!(silent.tier, Tier::Default, "{}", context());
                        }
                        continue;
                    };
                    prop_assert_eq!(cell.live, verdict(&live), "{}", context());
                    prop_assert_eq!(cell.staged, verdict(&staged), "{}", context());
                    let named = if cell.live == cell.staged {
                        &live
                    } else {
                        &staged
                    };
                    prop_assert_eq!(cell.tier, named.tier, "{}", context());
                    let rule = cell.rule.map(|rule| desired.rules[&rule].as_str());
                    prop_assert_eq!(rule.is_some(), !named.rules.is_empty(), "{}", context());
                    prop_assert!(
                        rule.is_none_or(|rule| named.rules.contains(rule)),
                        "{}",
                        context()
                    );
                    let binds = |it: &oracle::Judged| !it.allowed && it.tier == Tier::ZoneDeny;
                    prop_assert_eq!(cell.binds_own_node, binds(&live), "{}", context());
                    prop_assert_eq!(cell.would_bind_own_node, binds(&staged), "{}", context());
                }
            }
        }
    }
    Ok(())
}

/// What `Table` and `Desired` promise.
fn check_invariants(desired: &Desired) -> Result<(), TestCaseError> {
    prop_assert!(
        desired
            .rules
            .values()
            .is_sorted_by(|one, other| one < other)
    );
    prop_assert!(
        desired
            .signatures
            .values()
            .is_sorted_by(|one, other| one < other)
    );
    prop_assert_eq!(desired.signatures.get(&0), Some(&Vec::new()));
    for signature in desired.signatures.values() {
        prop_assert!(signature.is_sorted_by(|one, other| one < other));
    }
    let mut named = BTreeSet::new();
    for (index, table) in &desired.tables {
        prop_assert!(
            desired.tables.values().take(*index).all(|it| it != table),
            "table {index} is there twice"
        );
        prop_assert_eq!(table.class(0), 0);
        prop_assert!(
            table
                .classes
                .iter()
                .all(|(signature, _)| desired.signatures.contains_key(&signature))
        );
        let used: BTreeSet<usize> = desired
            .signatures
            .keys()
            .map(|&it| table.class(it))
            .collect();
        prop_assert!(
            table.rows.len() == used.len(),
            "rows that nobody is in: {table:?}"
        );
        let distinct: BTreeSet<_> = table.rows.iter().collect();
        prop_assert_eq!(distinct.len(), table.rows.len());
        let column = |column: usize| table.rows.iter().map(|row| row[column]).collect::<Vec<_>>();
        let columns: BTreeSet<_> = (0..table.columns).map(column).collect();
        prop_assert_eq!(columns.len(), table.columns);
        prop_assert!(table.rows.iter().all(|row| row.len() == table.columns));
        for runs in &table.ports {
            prop_assert_eq!(runs[0].0, 0);
            prop_assert!(runs.is_sorted_by(|one, other| one.0 < other.0 && one.1 != other.1));
        }
        named.extend(
            table
                .rows
                .iter()
                .flat_map(|row| row.iter())
                .filter_map(|cell| cell.rule),
        );
    }
    prop_assert!(
        named.into_iter().eq(0..desired.rules.len()),
        "a rule's name that no cell uses"
    );
    Ok(())
}

/// Questions get the answers that the tables give.
fn check_answers(snapshot: &Snapshot) -> Result<(), TestCaseError> {
    let everywhere = as_if_local(snapshot);
    let desired = desired(&everywhere);
    let asker = Asker::new(&everywhere);
    for from in everywhere.pods.keys() {
        for to in everywhere.pods.keys() {
            for port in worlds::ports().into_iter().step_by(5) {
                let question = Question {
                    from: Party::Pod(from.clone()),
                    to: Party::Pod(to.clone()),
                    port,
                    family: None,
                };
                let Ok(answer) = asker.ask(&question) else {
                    continue;
                };
                let Answer {
                    from_address: Some(source),
                    to_address: Some(destination),
                    ..
                } = answer
                else {
                    continue;
                };
                if from == to {
                    prop_assert_eq!(answer.live, Verdict::Allow);
                    prop_assert_eq!(answer.egress.map(|it| it.tier), Some(Tier::Origin));
                    continue;
                }
                for (judgement, pod, direction, peer) in [
                    (answer.egress, from, Direction::Egress, destination),
                    (answer.ingress, to, Direction::Ingress, source),
                ] {
                    let cell = desired.cell(pod, direction, peer, port);
                    prop_assert_eq!(
                        judgement.map(|it| (it.live, it.staged, it.told.0, it.told.1)),
                        cell.map(|it| {
                            (
                                it.live,
                                it.staged,
                                it.tier,
                                it.rule.map(|rule| desired.rules[&rule].clone()),
                            )
                        }),
                        "{:?} at {}",
                        question,
                        pod
                    );
                }
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn cells_are_the_oracles(parts in worlds::parts()) {
        let snapshot = parts.snapshot();
        check_against_oracle(&snapshot)?;
        check_invariants(&desired(&snapshot))?;
    }

    #[test]
    fn order_of_arrival_does_not_matter(
        (parts, others) in worlds::parts().prop_flat_map(|parts| {
            let shuffled = parts.shuffled();
            (Just(parts), shuffled)
        })
    ) {
        let one = compile(&parts.snapshot(), &Options::default());
        prop_assert_eq!(&one, &compile(&others.snapshot(), &Options::default()));
        prop_assert_eq!(&one, &compile(&parts.snapshot(), &Options::default()));
    }

    #[test]
    fn a_policy_about_no_local_pod_changes_nothing(
        parts in worlds::parts(),
        policy in worlds::unrelated_policy(),
    ) {
        let mut snapshot = parts.snapshot();
        let before = desired(&snapshot);
        snapshot.policies.insert(policy.key.clone(), policy);
        prop_assert_eq!(before, desired(&snapshot));
    }

    #[test]
    fn answers_are_the_tables(parts in worlds::parts()) {
        check_answers(&parts.snapshot())?;
    }
}
