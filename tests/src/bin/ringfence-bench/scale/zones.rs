//! What zones cost: the same cluster with 10 and with 1,000 zones above it.
//!
//! Half of the zones are of namespaces and half of networks, every fourth one is Isolated; each has a policy with a rule that
//! allows another zone and one that denies a third.

use std::net::Ipv4Addr;

use ringfence_agent::diff::Limits;
use ringfence_agent::model::{
    Enforcement, Expiry, IntraZone, Labels, Members, Openness, Operator, Origin, PortSpec, Ports,
    Protocol, Requirement, Selector, Snapshot, Workloads, Zone, ZoneAction, ZonePeer, ZonePolicy,
    ZoneRule,
};

/// An edit of a cluster with so many zones, in some round.
pub type Edit = fn(&mut Snapshot, u32, u32);

/// What changes of zones while they are in force.
pub const EDITS: [(&str, Edit); 2] = [
    ("address book", edit_networks),
    ("namespace's label", relabel),
];

/// With 1,000 zones nearly every namespace is an identity of its own, and every table has a row for it: what
/// `--class-entries` and `--cell-entries` are by default does not hold that many.
pub fn limits() -> Limits {
    Limits {
        classes: 1 << 20,
        cells: 1 << 21,
        ..Limits::default()
    }
}

/// The label that says in which zone a namespace is.
const LABEL: &str = "ringfence.dev/zone";

fn name(number: u32) -> String {
    format!("zone-{number:04}")
}

/// Puts this many zones, and policies between them, above a cluster.
pub fn put(snapshot: &mut Snapshot, zones: u32) {
    for number in 0..zones {
        let zone = zone(number, 0);
        snapshot.zones.insert(zone.name.clone(), zone);
        let policy = policy(number, zones);
        snapshot.zone_policies.insert(policy.name.clone(), policy);
    }
    let names: Vec<String> = snapshot.namespaces.keys().cloned().collect();
    for (number, namespace) in (0..).zip(&names) {
        label(snapshot, namespace, number * 2 % zones);
    }
}

/// A zone; `edit` says which addresses are in its book.
fn zone(number: u32, edit: u32) -> Zone {
    let members = if number.is_multiple_of(2) {
        Members::Workloads(Workloads {
            namespaces: Selector {
                requirements: [Requirement {
                    key: LABEL.to_owned(),
                    operator: Operator::In([name(number)].into()),
                }]
                .into(),
            },
            ..Workloads::default()
        })
    } else {
        let net = |address: u32| {
            ipnet::Ipv4Net::new_assert(Ipv4Addr::from(address), 28)
                .trunc()
                .into()
        };
        let base = 0xc633_0000 + (number << 8);
        Members::Networks {
            cidrs: (0..8)
                .map(|at| net(base + (((at + edit) % 16) << 4)))
                .collect(),
            except: Vec::new(),
        }
    };
    Zone {
        name: name(number),
        members: vec![members],
        ingress: if number.is_multiple_of(4) {
            Openness::Isolated
        } else {
            Openness::Open
        },
        egress: Openness::Open,
        intra_zone: IntraZone::Allow,
        enforcement: Enforcement::Enforce,
        origin: Origin::default(),
    }
}

fn policy(number: u32, zones: u32) -> ZonePolicy {
    let zone = |number: u32| vec![ZonePeer::Zone(name(number % zones))];
    let rule = |name: &str, action, from, port| ZoneRule {
        name: name.to_owned(),
        action,
        from: zone(from),
        to: zone(number),
        ports: Ports::Of(vec![PortSpec::Range(Protocol::Tcp, port, port)]),
        except: Vec::new(),
        acknowledge_lockout: false,
        expiry: Expiry(None),
    };
    ZonePolicy {
        name: name(number),
        rules: vec![
            rule("service", ZoneAction::Allow, number + 1, 8080),
            rule("no-ssh", ZoneAction::Deny, number + 2, 22),
        ],
        enforcement: Enforcement::Enforce,
        canary: None,
        origin: Origin::default(),
    }
}

fn label(snapshot: &mut Snapshot, namespace: &str, zone: u32) {
    if let Some(namespace) = snapshot.namespaces.get_mut(namespace) {
        let others = namespace.labels.iter().filter(|(key, _)| *key != LABEL);
        let mut labels: Labels = others
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        labels.insert(LABEL.to_owned(), name(zone));
        namespace.labels = labels;
    }
}

/// The address book of some zone changes.
fn edit_networks(snapshot: &mut Snapshot, zones: u32, round: u32) {
    let number = round * 2 % zones + 1;
    let zone = zone(number, round + 1);
    snapshot.zones.insert(zone.name.clone(), zone);
}

/// A namespace, one of those with endpoints here now and then, moves to another zone.
fn relabel(snapshot: &mut Snapshot, zones: u32, round: u32) {
    let at = (round * 7 % 1_000) as usize;
    let namespace = snapshot.namespaces.keys().nth(at).cloned();
    label(
        snapshot,
        &namespace.unwrap_or_default(),
        (round * 2 + 2 + round / 1_000 * 4) % zones,
    );
}
