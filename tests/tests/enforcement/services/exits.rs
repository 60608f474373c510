//! Services that lead off the node, to its own sockets, or into its tunnels.

use ringfence_agent::lab::{Actor, Lab, wire::Transport};
use ringfence_tests::{
    agent::Agent,
    lab::{eventually, small},
};

use super::{
    TO_B, Ways, is_closed, lets_out, manifest, node, on_the_node, outside, reaches, service,
    translate, with_outside,
};
use crate::{PATIENT, flows_on, pod, pod_manifest, stands_still, stream, world};

#[test]
fn a_device_that_appears_is_guarded_and_a_tunnel_carries_what_is_allowed() {
    let lab = with_outside("device");
    let db =
        "{ ipBlock: { cidr: 203.0.113.20/32 } }, { ipBlock: { cidr: \"2001:db8:9::20/128\" } }";
    let manifests =
        world(&["a", "b"]) + &manifest(1, 8080) + &manifest(2, 8080) + &lets_out(db, 80);
    let rules = [
        (1, 8080, outside("203.0.113.20", "2001:db8:9::20"), 80),
        (2, 8080, outside("203.0.113.30", "2001:db8:9::30"), 80),
    ];
    translate(&lab, Ways::default(), &rules);
    let agent = Agent::start(&lab, &manifests, &[]);
    let add = "ip link add vx type vxlan id 7 dstport 4789 nolearning";
    let ends = [
        ("10.0.9.1", "203.0.113.9", 1),
        ("203.0.113.9", "10.0.9.1", 2),
    ];
    for (actor, (local, remote, number)) in [Actor::Node, Actor::outside("client")].iter().zip(ends)
    {
        for words in [
            format!("{add} local {local} remote {remote}"),
            format!("ip addr add 10.245.0.{number}/24 dev vx"),
            format!("ip addr add fd00:245::{number}/64 dev vx nodad"),
            "ip link set vx up".to_owned(),
        ] {
            let words: Vec<&std::ffi::OsStr> = words.split(' ').map(AsRef::as_ref).collect();
            let output = lab.exec(actor, words).expect("the lab obeys");
            assert!(output.status.success(), "{output:?}");
        }
    }
    eventually("the tunnel is guarded", || {
        let shown = agent.ringfence(&["bpf", "show"]);
        let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
        (shown.matches("-to_host").count() == 2 && shown.matches("-from_tunnel").count() == 1)
            .then_some(())
    });
    for (host, via) in [
        ("203.0.113.20", "10.245.0.2"),
        ("203.0.113.30", "10.245.0.2"),
        ("2001:db8:9::20", "fd00:245::2"),
        ("2001:db8:9::30", "fd00:245::2"),
    ] {
        on_the_node(
            &lab,
            &["ip", "route", "replace", host, "via", via, "dev", "vx"],
        );
    }
    assert!(reaches(&lab, "a", 1, 8080), "through the tunnel");
    assert!(is_closed(&lab, "a", 2, 8080));
    assert!(reaches(&lab, "b", 2, 8080), "b is free");
    let devices = on_the_node(&lab, &["cat", "/proc/net/dev"]);
    let sent = devices.lines().find_map(|line| {
        line.trim()
            .strip_prefix("vx:")?
            .split_whitespace()
            .nth(9)?
            .parse()
            .ok()
    });
    assert!(sent > Some(0_u64), "it went that way: {devices}");
    drop(agent);
    lab.down().unwrap();
}

#[test]
fn a_service_that_leads_off_the_node_is_judged_where_it_leaves() {
    let lab = with_outside("onprem");
    let db =
        "{ ipBlock: { cidr: 203.0.113.20/32 } }, { ipBlock: { cidr: \"2001:db8:9::20/128\" } }";
    // That the Service's own address is in a block says nothing.
    let vip = ", { ipBlock: { cidr: 10.96.0.0/16 } }, { ipBlock: { cidr: \"fd00:96::/64\" } }";
    let manifests = world(&["a", "b"])
        + &manifest(1, 8080)
        + &manifest(2, 8080)
        + &lets_out(&format!("{db}{vip}"), 80);
    let rules = [
        (1, 8080, outside("203.0.113.20", "2001:db8:9::20"), 80),
        (2, 8080, outside("203.0.113.30", "2001:db8:9::30"), 80),
    ];
    let agent = Agent::start(&lab, &manifests, &[]);
    for (masquerade, clobber) in [(false, false), (true, false), (false, true), (true, true)] {
        let ways = Ways {
            masquerade,
            clobber,
        };
        translate(&lab, ways, &rules);
        assert!(reaches(&lab, "a", 1, 8080), "{ways:?}");
        assert!(is_closed(&lab, "a", 2, 8080), "{ways:?}");
        assert!(reaches(&lab, "b", 2, 8080), "b is free, {ways:?}");
    }
    drop(agent);
    lab.down().unwrap();
}

#[test]
fn a_service_is_no_alias_of_metadata() {
    let lab = with_outside("alias");
    let granted = "apiVersion: v1\nkind: Namespace\nmetadata: { name: t }\n".to_owned()
        + &pod_manifest("a", "a", 1, ", metadata.ringfence.dev/access: imds")
        + &pod_manifest("b", "b", 2, "");
    let agent = Agent::start(&lab, &(granted + &manifest(1, 8080)), &[]);
    let rules = [(1, 8080, outside("169.254.169.254", "fd00:ec2::254"), 80)];
    for masquerade in [false, true] {
        let ways = Ways {
            masquerade,
            clobber: false,
        };
        translate(&lab, ways, &rules);
        assert!(reaches(&lab, "a", 1, 8080), "granted, {ways:?}");
        assert!(is_closed(&lab, "b", 1, 8080), "not granted, {ways:?}");
    }
    let told = lab
        .served(&Actor::outside("metadata"))
        .expect("the lab obeys");
    assert!(!told.visits.is_empty());
    let direct = lab
        .probe(&pod("a"), service(1)[0], 8080, Transport::Tcp, PATIENT)
        .expect("the lab obeys");
    assert!(direct.is_answered());
    drop(agent);
    lab.down().unwrap();
}

#[test]
fn a_backend_with_the_nodes_network_is_judged_where_it_listens() {
    let mut spec = small("hostnet", &["a", "b"], &[80]);
    spec.node_ports = vec![80, 81];
    let lab = Lab::up(&spec).expect("a lab");
    // The node is no pod: only its address lets it be reached, as a backend as well as directly.
    let to_node = "{ ipBlock: { cidr: 10.0.9.1/32 } }, { ipBlock: { cidr: \"fd00:9::1/128\" } }";
    let services = manifest(1, 8080) + &manifest(2, 8080);
    let manifests = world(&["a", "b"]) + &services;
    let rules = [(1, 8080, node(), 80), (2, 8080, node(), 81)];
    let agent = Agent::start(&lab, &(manifests.clone() + &lets_out(to_node, 80)), &[]);
    for masquerade in [false, true] {
        let ways = Ways {
            masquerade,
            clobber: false,
        };
        translate(&lab, ways, &rules);
        assert!(reaches(&lab, "a", 1, 8080), "{ways:?}");
        assert!(
            is_closed(&lab, "a", 2, 8080),
            "the port is not allowed, {ways:?}"
        );
        assert!(reaches(&lab, "b", 2, 8080), "b is free, {ways:?}");
    }
    let a = pod("a");
    let ids = Transport::ALL.map(|protocol| {
        let id = format!("{protocol:?}");
        stream(&lab, &id, &a, service(1)[0], 8080, protocol);
        flows_on(&lab, &id, &a, 10);
        id
    });
    let revision = agent.revision();
    agent.edit("manifests.yaml", &(manifests + &lets_out(TO_B, 80)));
    agent.wait_beyond(revision);
    for id in &ids {
        stands_still(&lab, id, &a);
    }
    assert!(is_closed(&lab, "a", 1, 8080), "taken back");
    drop(agent);
    lab.down().unwrap();
}
