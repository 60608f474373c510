//! Tiers, passes and audits, one by one.

use super::*;
use crate::compile::{DesiredCell, fact::Facts};
use ringfence_common::cell::Verdict;

const HTTP: Port = Some((Protocol::Tcp, 80));

fn rule(peers: Peers, ports: PortSet, action: Action, name: NameId) -> Rule {
    Rule {
        peers,
        only: [].into(),
        ports: Arc::new(ports),
        except: [].into(),
        action,
        name,
        counts: Counts::Both,
    }
}

fn tier(tier: Tier, rules: Vec<Rule>, unmatched: Option<NameId>) -> TierRules {
    TierRules {
        tier,
        rules,
        unmatched: Unmatched {
            live: unmatched,
            staged: unmatched,
        },
    }
}

fn decide(tiers: Vec<TierRules>, peer: &[FactId], port: Port) -> DesiredCell {
    Ruleset { tiers }
        .facing(&Facts::default(), peer)
        .decide(port)
}

#[test]
fn the_first_tier_that_decides_wins_and_a_pass_leaves_its_tier() {
    let admin = |action| {
        let peers = Peers::AnyOf([1].into());
        let rules = vec![
            rule(peers, PortSet::Any, action, 10),
            rule(
                Peers::Everybody,
                PortSet::of(&[(Protocol::Tcp, 80, 80)], vec![]),
                Action::Deny,
                11,
            ),
        ];
        tier(Tier::ClusterAdmin, rules, None)
    };
    let policy = tier(Tier::NetworkPolicy, vec![], Some(20));
    for (action, peer, port, expect) in [
        (
            Action::Accept,
            1,
            HTTP,
            (Verdict::Allow, Tier::ClusterAdmin, Some(10)),
        ),
        (
            Action::Deny,
            1,
            HTTP,
            (Verdict::Deny, Tier::ClusterAdmin, Some(10)),
        ),
        (
            Action::Pass,
            1,
            HTTP,
            (Verdict::Deny, Tier::NetworkPolicy, Some(20)),
        ),
        (
            Action::Accept,
            2,
            HTTP,
            (Verdict::Deny, Tier::ClusterAdmin, Some(11)),
        ),
        (
            Action::Accept,
            2,
            None,
            (Verdict::Deny, Tier::NetworkPolicy, Some(20)),
        ),
    ] {
        let cell = decide(vec![admin(action), policy.clone()], &[peer], port);
        assert_eq!(
            (cell.live, cell.tier, cell.rule),
            expect,
            "{action:?} {peer} {port:?}"
        );
        assert_eq!(cell.staged, cell.live);
    }
    let cell = decide(vec![admin(Action::Pass)], &[1], HTTP);
    assert_eq!(
        (cell.live, cell.tier, cell.rule),
        (Verdict::Allow, Tier::Default, None)
    );
}

#[test]
fn a_cell_names_the_live_rule_unless_the_staged_verdict_differs() {
    let accept = |name, audit| Rule {
        counts: if audit { Counts::Staged } else { Counts::Both },
        ..rule(
            Peers::Everybody,
            PortSet::of(&[(Protocol::Tcp, 80, 80)], vec![]),
            Action::Accept,
            name,
        )
    };
    let with = |rules, live, staged| {
        vec![TierRules {
            tier: Tier::NetworkPolicy,
            rules,
            unmatched: Unmatched { live, staged },
        }]
    };
    let both = decide(
        with(vec![accept(1, true), accept(2, false)], Some(3), Some(4)),
        &[],
        HTTP,
    );
    assert_eq!(
        (both.live, both.staged, both.rule),
        (Verdict::Allow, Verdict::Allow, Some(2))
    );
    let opened = decide(with(vec![accept(1, true)], Some(3), Some(4)), &[], HTTP);
    assert_eq!(
        (opened.live, opened.staged, opened.rule),
        (Verdict::Deny, Verdict::Allow, Some(1))
    );
    let closed = decide(with(vec![accept(1, true)], None, Some(4)), &[], None);
    assert_eq!(
        (closed.live, closed.staged, closed.rule),
        (Verdict::Allow, Verdict::Deny, Some(4))
    );
    assert_eq!(closed.tier, Tier::NetworkPolicy);
}

#[test]
fn ranges_join_and_an_empty_one_matches_nothing() {
    let set = PortSet::of(
        &[
            (Protocol::Tcp, 90, 95),
            (Protocol::Tcp, 80, 89),
            (Protocol::Tcp, 93, 93),
            (Protocol::Udp, 9, 8),
            (Protocol::Sctp, 0, 65535),
        ],
        vec![],
    );
    let PortSet::Of { ranges, .. } = &set else {
        panic!("{set:?}")
    };
    assert_eq!(ranges, &[vec![(80, 95)], vec![], vec![(0, 65535)]]);
    for (port, expect) in [
        (Some((Protocol::Tcp, 79)), false),
        (Some((Protocol::Tcp, 80)), true),
        (Some((Protocol::Tcp, 95)), true),
        (Some((Protocol::Tcp, 96)), false),
        (Some((Protocol::Udp, 9)), false),
        (Some((Protocol::Sctp, 65535)), true),
        (None, false),
    ] {
        assert_eq!(set.contains(port), expect, "{port:?}");
    }
}
