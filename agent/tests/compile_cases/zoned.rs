//! Worlds with zones, in few words.

use ringfence_agent::model::{
    Entity, Expiry, IntraZone, Members, Openness, Workloads, Zone, ZoneAction, ZoneException,
    ZonePeer, ZonePolicy, ZoneRule,
};

use super::*;

pub(super) const SSH: Port = Some((TCP, 22));

pub(super) fn workloads(namespaces: &[&str], pods: &[&str]) -> Members {
    Members::Workloads(Workloads {
        namespaces: team(namespaces),
        pods: if pods.is_empty() {
            Selector::default()
        } else {
            app(pods)
        },
        accounts: BTreeSet::new(),
    })
}

pub(super) fn team(teams: &[&str]) -> Selector {
    if teams.is_empty() {
        return Selector::default();
    }
    let values = teams.iter().map(|&it| it.to_owned()).collect();
    only("team", Operator::In(values))
}

pub(super) fn networks(cidrs: &[&str], except: &[&str]) -> Members {
    let all = |of: &[&str]| of.iter().map(|it| it.parse().unwrap()).collect();
    Members::Networks {
        cidrs: all(cidrs),
        except: all(except),
    }
}

pub(super) fn zone(name: &str, members: Vec<Members>) -> Zone {
    Zone {
        name: name.to_owned(),
        members,
        ingress: Openness::Open,
        egress: Openness::Open,
        intra_zone: IntraZone::Allow,
        enforcement: Enforcement::Enforce,
        origin: Origin::default(),
    }
}

pub(super) fn isolated(name: &str, members: Vec<Members>) -> Zone {
    Zone {
        ingress: Openness::Isolated,
        ..zone(name, members)
    }
}

pub(super) fn peers(names: &[&str]) -> Vec<ZonePeer> {
    let peer = |&name: &&str| match name {
        "Any" => ZonePeer::Entity(Entity::Any),
        "World" => ZonePeer::Entity(Entity::World),
        "Cluster" => ZonePeer::Entity(Entity::Cluster),
        "Unzoned" => ZonePeer::Entity(Entity::Unzoned),
        name => ZonePeer::Zone(name.to_owned()),
    };
    names.iter().map(peer).collect()
}

pub(super) fn zone_rule(action: ZoneAction, from: &[&str], to: &[&str], ports: Ports) -> ZoneRule {
    ZoneRule {
        name: "r".to_owned(),
        action,
        from: peers(from),
        to: peers(to),
        ports,
        except: Vec::new(),
        acknowledge_lockout: false,
        expiry: Expiry(None),
    }
}

pub(super) fn allow(from: &[&str], to: &[&str], ports: Ports) -> ZoneRule {
    zone_rule(ZoneAction::Allow, from, to, ports)
}

pub(super) fn deny(from: &[&str], to: &[&str], ports: Ports) -> ZoneRule {
    zone_rule(ZoneAction::Deny, from, to, ports)
}

pub(super) fn except(from: Option<&[&str]>, to: Option<&[&str]>, ports: Ports) -> ZoneException {
    ZoneException {
        name: "e".to_owned(),
        from: from.map(peers),
        to: to.map(peers),
        ports,
        expiry: Expiry(None),
    }
}

pub(super) fn zone_policy(rules: Vec<ZoneRule>) -> ZonePolicy {
    ZonePolicy {
        name: "zp".to_owned(),
        rules,
        enforcement: Enforcement::Enforce,
        canary: None,
        origin: Origin::default(),
    }
}

/// The usual pods with these zones and one policy.
pub(super) fn zoned(zones: Vec<Zone>, rules: Vec<ZoneRule>) -> Snapshot {
    let mut snapshot = world(usual(), Vec::new());
    for zone in zones {
        snapshot.zones.insert(zone.name.clone(), zone);
    }
    if !rules.is_empty() {
        snapshot
            .zone_policies
            .insert("zp".to_owned(), zone_policy(rules));
    }
    snapshot
}

/// Expects exactly these answers.
pub(super) fn expect(snapshot: &Snapshot, flows: &[(&str, &str, Port, bool)]) {
    for &(from, to, port, allowed) in flows {
        let answer = ask(snapshot, from, to, port);
        let got = answer.live == Verdict::Allow;
        assert_eq!(got, allowed, "{from} -> {to} {port:?}: {answer}");
    }
}
