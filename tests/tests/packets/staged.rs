//! What is not in force yet: whatever an audited policy would newly deny or newly allow is told, and only where it is a canary's
//! it counts.

use ringfence_agent::dataplane::EventView;
use ringfence_common::{Hook, cell::Verdict, event::Reason};
use ringfence_tests::{
    desk::Desk,
    packet::{Way, tcp::SYN},
};

use super::{FRIEND, POD, STRANGER, WORLD, on_the_desk, tcp};

/// The pod is in an Isolated zone, and its friend is let in on port 80.
const ZONE: &str = r#"
---
apiVersion: ringfence.dev/v1alpha1
kind: SecurityZone
metadata: { name: shop }
spec:
  members: [ { workloads: { namespaceSelector: {}, podSelector: { matchLabels: { app: cart } } } } ]
  ingress: Isolated
---
apiVersion: ringfence.dev/v1alpha1
kind: SecurityZone
metadata: { name: friends }
spec:
  members: [ { workloads: { namespaceSelector: {}, podSelector: { matchLabels: { app: friend } } } } ]
---
apiVersion: ringfence.dev/v1alpha1
kind: SecurityZone
metadata: { name: strangers }
spec:
  members: [ { workloads: { namespaceSelector: {}, podSelector: { matchLabels: { app: stranger } } } } ]
---
apiVersion: ringfence.dev/v1alpha1
kind: ZonePolicy
metadata: { name: version1 }
spec:
  rules: [ { name: friends, action: Allow, from: [ { zoneNames: [friends] } ], to: [ { zoneNames: [shop] } ], ports: [ { protocol: TCP, port: 80 } ] } ]
"#;

/// What is to come: the stranger is let in, and the friend is not.
fn version2(more: &str) -> String {
    format!(
        r#"{WORLD}{ZONE}
---
apiVersion: ringfence.dev/v1alpha1
kind: ZonePolicy
metadata: {{ name: version2 }}
spec:
  {more}
  rules:
  - {{ name: strangers, action: Allow, from: [ {{ zoneNames: [strangers] }} ], to: [ {{ zoneNames: [shop] }} ], ports: [ {{ protocol: TCP, port: 80 }} ] }}
  - {{ name: no-friends, action: Deny, from: [ {{ zoneNames: [friends] }} ], to: [ {{ zoneNames: [shop] }} ], ports: [ {{ protocol: TCP, port: 80 }} ] }}
"#
    )
}

fn syn(from: [&str; 2], family: usize, port: u16) -> Vec<u8> {
    tcp(Way::In, (POD[family], 80), (from[family], port), SYN)
}

/// What became of a packet, what would have, and by which rule.
fn told(desk: &mut Desk) -> Vec<(Verdict, Verdict, Option<String>)> {
    let of_policy = |event: &EventView| event.hook == Hook::ToPod && event.reason == Reason::Policy;
    let events = desk.events().into_iter().filter(of_policy);
    events
        .map(|event| (event.verdict, event.staged, event.rule))
        .collect()
}

#[test]
fn what_would_be_allowed_is_denied_and_told_and_so_is_what_would_be_denied() {
    on_the_desk(&version2("enforcement: Audit"), |desk| {
        for family in [0, 1] {
            desk.events();
            assert!(!desk.passes(Way::In, &syn(STRANGER, family, 4000)));
            let [(verdict, staged, _)] = &told(desk)[..] else {
                panic!("one event")
            };
            assert_eq!((*verdict, *staged), (Verdict::Deny, Verdict::Allow));
            assert!(desk.passes(Way::In, &syn(FRIEND, family, 4000)));
            let [(verdict, staged, rule)] = &told(desk)[..] else {
                panic!("one event")
            };
            assert_eq!((*verdict, *staged), (Verdict::Allow, Verdict::Deny));
            assert_eq!(
                rule.as_deref(),
                Some("ZonePolicy/version2 rule no-friends"),
                "who would deny"
            );
        }
        // Without the audit nothing would: the difference is what is told.
        desk.apply(&version2("enforcement: Disabled"));
        assert!(!desk.passes(Way::In, &syn(STRANGER, 0, 4001)));
        let verdicts: Vec<_> = told(desk).into_iter().map(|it| (it.0, it.1)).collect();
        assert_eq!(verdicts, [(Verdict::Deny, Verdict::Deny)]);
        assert!(desk.passes(Way::In, &syn(FRIEND, 0, 4001)));
        assert_eq!(told(desk), []);
    });
}

#[test]
fn a_canary_is_under_what_others_are_only_audited_by() {
    let canary = |app: &str| {
        version2(&format!(
            "enforcement: Audit\n  canary: {{ podSelector: {{ matchLabels: {{ app: {app} }} }} }}"
        ))
    };
    let [of_the_pod, of_others] = ["cart", "nobody"].map(canary);
    on_the_desk(&of_others.clone(), move |desk| {
        assert!(!desk.passes(Way::In, &syn(STRANGER, 0, 4000)));
        assert!(desk.passes(Way::In, &syn(FRIEND, 0, 4000)));
        desk.apply(&of_the_pod);
        for family in [0, 1] {
            assert!(desk.passes(Way::In, &syn(STRANGER, family, 4001)));
            assert!(!desk.passes(Way::In, &syn(FRIEND, family, 4001)));
        }
        desk.apply(&of_others);
        assert!(!desk.passes(Way::In, &syn(STRANGER, 0, 4002)));
        assert!(desk.passes(Way::In, &syn(FRIEND, 0, 4002)));
    });
}
