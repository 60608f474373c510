//! What is served, and that it is what the reference says.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use ringfence_common::{Hook, cell::Verdict, event::Reason};

use super::*;
use crate::{
    locate::Placed,
    model::{Diagnostic, Expiry, MetadataAccess, Origin, Policy, PolicyKey, Snapshot},
    observe::told::ToldResult,
};

/// Something of everything.
fn text() -> String {
    let lasting = Lasting::default();
    lasting.force.programmed(Duration::from_millis(3));
    lasting.force.realized(Duration::from_millis(4));
    lasting.force.refused();
    lasting.force.endpoint(Duration::from_millis(5));
    lasting.told.told(ToldResult::Written);
    lasting.status.reported(true);
    lasting.status.wrote(true);
    lasting.nri.connected(true);
    lasting
        .nri
        .gated(Gated::LetThrough, Duration::from_millis(3));
    lasting.nri.unwatched(2);
    let map = |name: &str, entries| ObjectView {
        pin: format!("/sys/fs/bpf/ringfence/v1/maps/{name}"),
        kind: "map",
        object_type: "array".to_owned(),
        id: 3,
        entries: Some(entries),
        max_entries: 100,
        memory: None,
    };
    let program = |name, hook, attached, runs| ProgramView {
        name,
        hook,
        attached,
        runs,
    };
    let layer = |name, stands| Layer {
        name,
        stands,
        why: "",
    };
    let ran = Some((9, Duration::from_millis(1500)));
    let sample = Sample {
        counters: Counters {
            packets: vec![
                (Hook::ToPod, Reason::Policy, Verdict::Deny, 7),
                (Hook::Socket, Reason::Metadata, Verdict::Deny, 3),
                (Hook::Socket, Reason::Granted, Verdict::Allow, 2),
                (Hook::FromPod, Reason::Metadata, Verdict::Deny, 1),
                (Hook::FromPod, Reason::Metadata, Verdict::Allow, 8),
                (Hook::FromPod, Reason::Policy, Verdict::Allow, 11),
                (Hook::FromPod, Reason::Established, Verdict::Allow, 1000),
                (Hook::FromPod, Reason::Revoked, Verdict::Deny, 12),
                (Hook::ToPod, Reason::Egress, Verdict::Deny, 13),
                (Hook::ToHost, Reason::Egress, Verdict::Deny, 14),
                (Hook::ToHost, Reason::Policy, Verdict::Allow, 15),
            ],
            denied_bytes: vec![(Hook::ToPod, Reason::Policy, 420)],
            lost_events: 2,
            untracked: 4,
            update_errors: [(("RULES".to_owned(), "full".to_owned()), 5)].into(),
            vanished: 6,
            drift: [("missing", 3)].into(),
            metadata_audited: true,
        },
        objects: vec![
            map("CELLS", 4),
            map("CONNECTIONS4", 5),
            map("CONNECTIONS6", 6),
        ],
        programs: vec![
            program("to_pod", Hook::ToPod, Some(true), ran),
            program("from_pod", Hook::FromPod, Some(false), None),
            program("to_host_l3", Hook::ToHost, None, ran),
        ],
        metadata_layers: vec![layer("lo", true), layer("sockets", false)],
        slow_consumer: 1,
        endpoints: 5,
        unplaced: 1,
        policies: [((Kind::NetworkPolicy, PolicyState::Invalid), 2)].into(),
        revision: Some(41),
        realized_at: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(9)),
        diagnostics: 2,
        watches: BTreeMap::from([(
            Kind::Pod,
            KindHealth {
                heard: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(5)),
                errors: 3,
                ..KindHealth::default()
            },
        )]),
        process: Some(Process {
            cpu_seconds: 1.5,
            resident_bytes: 4096,
            virtual_bytes: 8192,
            open_fds: 12,
            max_fds: Some(1024),
            started: 1e9,
        }),
    };
    encode(&lasting, &sample).unwrap()
}

#[test]
fn the_text_names_what_dashboards_ask_for() {
    let text = text();
    for line in [
        "ringfence_build_info{version=\"0.1.0\"} 1",
        "ringfence_packets_total{hook=\"to_pod\",verdict=\"denied\",reason=\"policy\"} 7",
        "ringfence_denied_bytes_total{hook=\"to_pod\",reason=\"policy\"} 420",
        "ringfence_metadata_requests_total{hook=\"socket\",verdict=\"denied\"} 3",
        "ringfence_metadata_requests_total{hook=\"socket\",verdict=\"allowed\"} 2",
        "ringfence_metadata_requests_total{hook=\"from_pod\",verdict=\"denied\"} 1",
        "ringfence_metadata_requests_total{hook=\"from_pod\",verdict=\"would_deny\"} 8",
        "ringfence_metadata_audit 1",
        "ringfence_events_lost_total{reason=\"kernel\"} 2",
        "ringfence_events_lost_total{reason=\"slow_consumer\"} 1",
        "ringfence_conntrack_entries 11",
        "ringfence_conntrack_insert_failures_total 4",
        "ringfence_flows_total{direction=\"ingress\",verdict=\"denied\",reason=\"policy\"} 7",
        "ringfence_flows_total{direction=\"egress\",verdict=\"allowed\",reason=\"policy\"} 11",
        "ringfence_flows_total{direction=\"egress\",verdict=\"denied\",reason=\"egress\"} 27",
        "ringfence_flows_total{direction=\"egress\",verdict=\"denied\",reason=\"metadata\"} 4",
        "ringfence_bpf_map_update_errors_total{map=\"RULES\",error=\"full\"} 5",
        "ringfence_endpoint_programming_duration_seconds_count 1",
        "ringfence_drift_total{kind=\"missing\"} 3",
        "ringfence_drift_total{kind=\"attachment\"} 0",
        "ringfence_endpoints{state=\"ready\"} 5",
        "ringfence_endpoints{state=\"not_found\"} 1",
        "ringfence_endpoints_vanished_total 6",
        "ringfence_policies{kind=\"NetworkPolicy\",state=\"invalid\"} 2",
        "ringfence_policy_revision 41",
        "ringfence_policy_realized_timestamp_seconds 9.0",
        "ringfence_policy_compile_errors 2",
        "ringfence_bpf_map_entries{map=\"CELLS\"} 4",
        "ringfence_bpf_map_max_entries{map=\"CELLS\"} 100",
        "ringfence_bpf_program_attached{program=\"to_pod\",hook=\"to_pod\"} 1",
        "ringfence_metadata_layer{layer=\"lo\"} 1",
        "ringfence_metadata_layer{layer=\"sockets\"} 0",
        "ringfence_bpf_program_attached{program=\"from_pod\",hook=\"from_pod\"} 0",
        "ringfence_bpf_program_runs_total{program=\"to_pod\"} 9",
        "ringfence_bpf_program_run_time_seconds_total{program=\"to_pod\"} 1.5",
        "ringfence_policy_programming_duration_seconds_count 1",
        "ringfence_watch_errors_total{resource=\"Pod\"} 3",
        "ringfence_watch_last_sync_timestamp_seconds{resource=\"Pod\"} 5.0",
        "ringfence_policy_programming_total{result=\"refused\"} 1",
        "ringfence_nri_connected 1",
        "ringfence_nri_pods_total{result=\"let_through\"} 1",
        "ringfence_nri_unwatched_pods_total 2",
        "ringfence_nri_wait_seconds_count 1",
        "process_cpu_seconds_total 1.5",
        "process_resident_memory_bytes 4096",
        "process_open_fds 12",
        "process_max_fds 1024",
        "process_start_time_seconds 1000000000.0",
    ] {
        assert!(
            text.lines().any(|found| found == line),
            "no {line:?} in\n{text}"
        );
    }
    assert!(
        !text.contains("bpf_program_attached{program=\"to_host_l3\""),
        "it belongs nowhere"
    );
    assert!(
        !text.contains("bpf_program_runs_total{program=\"from_pod\""),
        "the kernel does not keep that"
    );
    assert!(text.ends_with("# EOF\n") && text.matches("# EOF").count() == 1);
}

/// A metric's type and the names of its labels, by its name.
type Described = BTreeMap<String, (String, BTreeSet<String>)>;

fn served() -> Described {
    let text = text();
    let mut found = Described::new();
    for line in text.lines() {
        let Some((name, kind)) = line
            .strip_prefix("# TYPE ")
            .and_then(|line| line.split_once(' '))
        else {
            continue;
        };
        let full = match kind {
            "counter" => format!("{name}_total"),
            "info" => format!("{name}_info"),
            _ => name.to_owned(),
        };
        let labels = text
            .lines()
            .filter_map(|line| line.strip_prefix(&full)?.strip_prefix('{')?.split_once('}'))
            .flat_map(|(labels, _)| labels.split(','))
            .filter_map(|label| Some(label.split_once('=')?.0.to_owned()));
        found.insert(full.clone(), (kind.to_owned(), labels.collect()));
    }
    found
}

/// The rows of the reference's tables: name, type, labels, meaning.
fn documented() -> Described {
    let reference = include_str!("../../../../docs/metrics.md");
    let rows = reference.lines().filter_map(|line| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let name = cells.get(1)?.strip_prefix('`')?.strip_suffix('`')?;
        assert_eq!(cells.len(), 6, "{line}");
        assert!(!cells[4].is_empty(), "{name} has no meaning");
        let labels = cells[3]
            .split('`')
            .skip(1)
            .step_by(2)
            .filter(|word| word.chars().all(|letter| letter.is_ascii_lowercase()));
        let labels = labels.map(str::to_owned).collect();
        Some((name.to_owned(), (cells[2].to_owned(), labels)))
    });
    rows.collect()
}

#[test]
fn the_reference_lists_what_is_served_and_nothing_else() {
    let (served, documented) = (served(), documented());
    let names = |of: &Described| of.keys().cloned().collect::<BTreeSet<_>>();
    let (here, there) = (names(&served), names(&documented));
    assert_eq!(
        here.difference(&there).collect::<Vec<_>>(),
        Vec::<&String>::new(),
        "not in docs/metrics.md"
    );
    assert_eq!(
        there.difference(&here).collect::<Vec<_>>(),
        Vec::<&String>::new(),
        "only in docs/metrics.md"
    );
    for (name, (kind, labels)) in served {
        let (documented, listed) = &documented[&name];
        assert_eq!(&kind, documented, "type of {name}");
        let labels: BTreeSet<String> = labels.into_iter().filter(|label| label != "le").collect();
        assert_eq!(&labels, listed, "labels of {name}");
    }
}

#[test]
fn no_label_names_a_pod_an_address_a_port_or_a_node() {
    let allowed = [
        "direction",
        "error",
        "hook",
        "kind",
        "layer",
        "le",
        "map",
        "program",
        "reason",
        "resource",
        "result",
        "state",
        "verdict",
        "version",
    ];
    for (name, (_, labels)) in served() {
        for label in labels {
            assert!(allowed.contains(&label.as_str()), "{name} has {label}");
        }
    }
}

#[test]
fn a_policy_is_in_force_or_pending_or_invalid() {
    let key = |name: &str| PolicyKey {
        namespace: "shop".to_owned(),
        name: name.to_owned(),
    };
    let mut in_force = Snapshot::default();
    for name in ["same", "changed", "gone", "broken"] {
        in_force.policies.insert(key(name), policy(name, "a"));
    }
    let mut wanted = in_force.clone();
    wanted
        .policies
        .insert(key("changed"), policy("changed", "b"));
    wanted.policies.insert(key("new"), policy("new", "a"));
    wanted.policies.remove(&key("gone"));
    let grant = MetadataAccess {
        endpoints: None,
        name: "g".to_owned(),
        subjects: Vec::new(),
        annotation_required: false,
        expiry: Expiry(None),
        origin: Origin::default(),
    };
    wanted.grants.insert("g".to_owned(), grant);
    let wrong = |object: &str, field: &str| Diagnostic {
        object: object.to_owned(),
        field: field.to_owned(),
        message: "wrong".to_owned(),
        ..Diagnostic::default()
    };
    let diagnostics = [
        wrong("NetworkPolicy/shop/broken", "spec.ingress[0]"),
        wrong("NetworkPolicy/shop/broken", ""),
        wrong("NetworkPolicy/shop/never-good", ""),
        // In force, with something to say about a part of it.
        wrong("NetworkPolicy/shop/same", "spec.egress[0]"),
        wrong("Pod/shop/cart", ""),
        wrong("SecurityZone/z", ""),
    ];
    let placed = |snapshot| Placed {
        snapshot: Arc::new(snapshot),
        ..Placed::default()
    };
    let (wanted, in_force) = (placed(wanted), placed(in_force));
    let counts = policy_states(&wanted, Some(&in_force), &diagnostics);
    assert_eq!(counts[&(Kind::MetadataAccess, PolicyState::Pending)], 1);
    assert_eq!(counts[&(Kind::SecurityZone, PolicyState::Invalid)], 1);
    assert_eq!(counts[&(Kind::ZonePolicy, PolicyState::InForce)], 0);
    let count = |state| counts[&(Kind::NetworkPolicy, state)];
    assert_eq!(count(PolicyState::InForce), 1);
    assert_eq!(count(PolicyState::Pending), 2);
    assert_eq!(count(PolicyState::Invalid), 2);
}

/// A policy about the pods with this label.
fn policy(name: &str, app: &str) -> Policy {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("policy.yaml");
    let text = format!(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{ name: {name}, namespace: shop }}\n\
         spec: {{ podSelector: {{ matchLabels: {{ app: {app} }} }} }}\n"
    );
    std::fs::write(&file, text).unwrap();
    let snapshot = crate::index::load(&[file], crate::watch::Options::default()).unwrap();
    snapshot.policies.values().next().unwrap().clone()
}
