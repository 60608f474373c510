//! New flows: what policy says, and that the event says why.

use ringfence_agent::dataplane::{EventView, Kernel as _, Options};
use ringfence_common::{
    Hook,
    cell::{Tier, Verdict},
    event::Reason,
};
use ringfence_tests::{
    desk::{self, Desk},
    packet::{
        Way, frame, icmp,
        tcp::{ACK, SYN},
    },
    sandbox::sandbox,
};

use super::{FRIEND, NODE, POD, STRANGER, WORLD, at, guarded, on_the_desk, tcp, udp};

#[test]
fn rules_allow_what_they_name_and_nothing_else() {
    on_the_desk(&guarded(), |desk| {
        for family in 0..2 {
            let (pod, friend, stranger) = (POD[family], FRIEND[family], STRANGER[family]);
            for (way, peer, port, allowed) in [
                (Way::In, friend, 80, true),
                (Way::In, friend, 81, false),
                (Way::In, stranger, 80, false),
                (Way::Out, friend, 443, true),
                (Way::Out, friend, 80, false),
                (Way::Out, stranger, 443, false),
            ] {
                let frame = match way {
                    Way::In => tcp(way, (pod, port), (peer, 40_000), SYN),
                    Way::Out => tcp(way, (pod, 40_000), (peer, port), SYN),
                };
                assert_eq!(
                    desk.passes(way, &frame),
                    allowed,
                    "{way:?} {peer} tcp/{port}"
                );
            }
            assert!(desk.passes(Way::Out, &udp(Way::Out, (pod, 5000), (friend, 53))));
            assert!(!desk.passes(Way::Out, &udp(Way::Out, (pod, 5000), (friend, 443))));
            let echo = if family == 0 { 8 } else { 128 };
            let ping = icmp(at(friend, 0).ip(), at(pod, 0).ip(), echo, 0, &[0, 7, 0, 1]);
            assert!(
                !desk.passes(Way::In, &frame(Way::In, &ping)),
                "a rule with ports covers no ICMP"
            );
        }
    });
}

#[test]
fn without_policy_everything_passes_and_with_a_rule_without_ports_icmp_does() {
    on_the_desk(WORLD, |desk| {
        assert!(desk.passes(
            Way::In,
            &tcp(Way::In, (POD[0], 81), (STRANGER[0], 4000), SYN)
        ));
        assert!(desk.passes(Way::Out, &udp(Way::Out, (POD[1], 81), (STRANGER[1], 4000))));
    });
    let policy = r#"
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: cart, namespace: shop }
spec:
  podSelector: {}
  ingress: [ { from: [ { podSelector: { matchLabels: { app: friend } } } ] } ]
"#;
    on_the_desk(&format!("{WORLD}{policy}"), |desk| {
        let ping = |from| {
            frame(
                Way::In,
                &icmp(at(from, 0).ip(), at(POD[0], 0).ip(), 8, 0, &[0, 7, 0, 1]),
            )
        };
        assert!(desk.passes(Way::In, &ping(FRIEND[0])));
        assert!(!desk.passes(Way::In, &ping(STRANGER[0])));
    });
}

#[test]
fn a_denial_names_the_rule_and_the_endpoint() {
    on_the_desk(&guarded(), |desk| {
        assert!(!desk.passes(
            Way::In,
            &tcp(Way::In, (POD[0], 80), (STRANGER[0], 4000), SYN)
        ));
        assert!(desk.passes(Way::In, &tcp(Way::In, (POD[0], 80), (FRIEND[0], 4000), SYN)));
        let events = desk.events();
        let [event] = &events[..] else {
            panic!("one event, not {events:#?}")
        };
        assert_eq!(
            (event.hook, event.verdict, event.reason),
            (Hook::ToPod, Verdict::Deny, Reason::Policy)
        );
        assert_eq!(
            event.rule.as_deref(),
            Some("NetworkPolicy/shop/cart ingress: no rule matches")
        );
        assert_eq!(event.tier, Some(Tier::NetworkPolicy));
        assert_eq!(event.endpoint.as_deref(), Some("shop/cart"));
        assert_eq!(
            (event.source, event.source_port),
            (at(STRANGER[0], 0).ip(), 4000)
        );
        assert_eq!(
            (event.destination, event.destination_port),
            (at(POD[0], 0).ip(), 80)
        );
    });
}

#[test]
fn networks_with_exceptions_ranges_and_named_ports_are_judged_in_the_kernel() {
    let policy = r#"
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: nets, namespace: shop }
spec:
  podSelector: { matchLabels: { app: cart } }
  ingress:
  - from: [ { ipBlock: { cidr: 198.51.100.0/24, except: [ 198.51.100.128/25 ] } } ]
    ports: [ { port: 8000, endPort: 8999 } ]
  - from: [ { ipBlock: { cidr: "2001:db8::/32", except: [ "2001:db8:bad::/48" ] } } ]
"#;
    on_the_desk(&format!("{WORLD}{policy}"), |desk| {
        for (peer, port, allowed) in [
            ("198.51.100.1", 8000, true),
            ("198.51.100.1", 8999, true),
            ("198.51.100.1", 7999, false),
            ("198.51.100.1", 9000, false),
            ("198.51.100.200", 8500, false),
            ("203.0.113.1", 8500, false),
        ] {
            let frame = tcp(Way::In, (POD[0], port), (peer, 4000), SYN);
            assert_eq!(desk.passes(Way::In, &frame), allowed, "{peer} {port}");
        }
        for (peer, allowed) in [
            ("2001:db8::1", true),
            ("2001:db8:bad::1", false),
            ("2001:db9::1", false),
        ] {
            let frame = tcp(Way::In, (POD[1], 1), (peer, 4000), SYN);
            assert_eq!(desk.passes(Way::In, &frame), allowed, "{peer}");
        }
    });
}

#[test]
fn what_the_own_node_generates_passes_and_its_address_alone_does_not() {
    on_the_desk(&guarded(), |desk| {
        let probe = tcp(Way::In, (POD[0], 8080), (NODE, 4000), SYN);
        assert!(
            !desk.passes(Way::In, &probe),
            "forwarded with the node's address: a masqueraded client"
        );
        assert!(desk.passes_from_node(&probe));
        let answer = tcp(Way::Out, (POD[0], 8080), (NODE, 4000), SYN | 16);
        assert!(desk.passes(Way::Out, &answer));
        let stranger = tcp(Way::In, (POD[0], 8080), (STRANGER[0], 4000), SYN);
        assert!(
            !desk.passes_from_node(&stranger),
            "decapsulated packets have no ingress device either"
        );
    });
}

#[test]
fn only_a_rule_that_denies_binds_the_own_node_and_ends_what_it_had() {
    let rule = |enforcement| {
        format!(
            r#"{WORLD}
---
apiVersion: ringfence.dev/v1alpha1
kind: SecurityZone
metadata: {{ name: shop }}
spec:
  members: [ {{ workloads: {{ namespaceSelector: {{}}, podSelector: {{ matchLabels: {{ app: cart }} }} }} }} ]
  ingress: Isolated
---
apiVersion: ringfence.dev/v1alpha1
kind: ZonePolicy
metadata: {{ name: no-ssh }}
spec:
  enforcement: {enforcement}
  rules:
    - name: no-ssh
      action: Deny
      from: [ {{ entity: Any }} ]
      to: [ {{ zoneNames: [shop] }} ]
      ports: [ {{ protocol: TCP, port: 22 }} ]
"#
        )
    };
    let [off, audit, on] = ["Disabled", "Audit", "Enforce"].map(rule);
    on_the_desk(&off.clone(), move |desk| {
        let from_node = move |port, flags| tcp(Way::In, (POD[0], port), (NODE, 4000), flags);
        let answer = tcp(Way::Out, (POD[0], 22), (NODE, 4000), SYN | ACK);
        let stranger = tcp(Way::In, (POD[0], 80), (STRANGER[0], 4000), SYN);
        assert!(!desk.passes(Way::In, &stranger), "the zone is isolated");
        assert!(desk.passes_from_node(&from_node(80, SYN)), "a probe passes");
        assert!(desk.passes_from_node(&from_node(22, SYN)));
        assert!(desk.passes(Way::Out, &answer));
        assert!(desk.passes_from_node(&from_node(22, ACK)));
        desk.events();

        desk.apply(&audit);
        assert!(desk.passes_from_node(&from_node(22, ACK)));
        assert!(desk.passes_from_node(&tcp(Way::In, (POD[0], 22), (NODE, 4001), SYN)));
        let events = desk.events();
        let told = |event: &EventView| {
            let verdicts = (event.verdict, event.staged, event.reason);
            verdicts == (Verdict::Allow, Verdict::Deny, Reason::OwnNode)
        };
        assert!(
            events.iter().any(told),
            "what would be denied is told: {events:#?}"
        );

        desk.apply(&on);
        assert!(
            !desk.passes_from_node(&from_node(22, ACK)),
            "it ends at once"
        );
        assert!(!desk.passes_from_node(&tcp(Way::In, (POD[0], 22), (NODE, 4002), SYN)));
        assert!(desk.passes_from_node(&from_node(80, SYN)), "probes go on");

        desk.apply(&off);
        assert!(desk.passes_from_node(&tcp(Way::In, (POD[0], 22), (NODE, 4003), SYN)));
    });
}

#[test]
fn a_pod_reaches_itself() {
    on_the_desk(&guarded(), |desk| {
        let own = tcp(Way::In, (POD[0], 8080), (POD[0], 4000), SYN);
        assert!(desk.passes_back(&own));
        assert!(
            !desk.passes(Way::In, &own),
            "from elsewhere: somebody pretends to be the pod"
        );
        // Through a service, with the node's address for a source.
        let hairpin = tcp(Way::In, (POD[0], 8080), (NODE, 4000), SYN);
        assert!(
            !desk.passes(Way::In, &hairpin),
            "from elsewhere: somebody whom the node masquerades"
        );
        assert!(desk.passes_back(&hairpin));
        assert!(
            desk.passes(
                Way::Out,
                &tcp(Way::Out, (POD[0], 8080), (NODE, 4000), SYN | 16)
            ),
            "the answer"
        );
        assert!(!desk.passes(
            Way::In,
            &tcp(Way::In, (POD[0], 8080), (STRANGER[0], 4000), SYN)
        ));
    });
}

#[test]
fn an_audited_policy_denies_nothing_and_says_what_it_would() {
    let audited = POLICY_AUDITED;
    on_the_desk(&format!("{WORLD}{audited}"), |desk| {
        assert!(desk.passes(
            Way::In,
            &tcp(Way::In, (POD[0], 80), (STRANGER[0], 4000), SYN)
        ));
        let events = desk.events();
        let [event] = &events[..] else {
            panic!("one event, not {events:#?}")
        };
        assert_eq!(
            (event.verdict, event.staged),
            (Verdict::Allow, Verdict::Deny)
        );
        assert_eq!(
            event.rule.as_deref(),
            Some("NetworkPolicy/shop/all ingress: no rule matches")
        );
    });
}

#[test]
fn events_over_the_rate_are_lost_and_counted_and_the_verdict_stands() {
    let manifests = guarded();
    sandbox(move |bpffs| {
        let options = Options {
            event_rate: 4,
            ..desk::options(bpffs)
        };
        let mut desk = Desk::with(&options, &manifests);
        for port in 0..100 {
            assert!(!desk.passes(
                Way::In,
                &tcp(Way::In, (POD[0], 80), (STRANGER[0], 4000 + port), SYN)
            ));
        }
        assert!(desk.passes(Way::In, &tcp(Way::In, (POD[0], 80), (FRIEND[0], 4000), SYN)));
        let seen = desk.events().len() as u64;
        let counters = desk.kernel.counters().unwrap();
        assert!(seen > 0 && seen < 100, "{seen} events");
        assert_eq!(seen + counters.lost_events, 100);
        let denied = (Hook::ToPod, Reason::Policy, Verdict::Deny, 100);
        assert!(counters.packets.contains(&denied), "{counters:?}");
    });
}

const POLICY_AUDITED: &str = r#"
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: all, namespace: shop, annotations: { ringfence.dev/enforcement: Audit } }
spec: { podSelector: {} }
"#;
