//! Connections that are older than the agent, or that it has forgotten: real sockets.

use std::net::UdpSocket;

use ringfence_agent::lab::{Lab, inside_netns, names, wire::Transport};
use ringfence_tests::{
    agent::Agent,
    lab::{addresses, small},
};

use super::field::{is_closed, labelled, lets_in, pod, reaches, stream, world};

#[test]
fn what_is_older_than_the_agent_is_adopted_where_policy_allows_it_and_cut_where_not() {
    let lab = Lab::up(&small("older", &["a", "b", "c"], &[80, 81])).unwrap();
    let mut kept = Vec::new();
    let mut cut = Vec::new();
    for to in addresses(2) {
        for protocol in Transport::ALL {
            kept.push(stream(&lab, "a", to, 80, protocol));
            cut.push(stream(&lab, "c", to, 80, protocol));
            cut.push(stream(&lab, "a", to, 81, protocol));
        }
    }
    // What the pod itself opened, and what nobody guards.
    cut.push(stream(&lab, "b", addresses(3)[0], 80, Transport::Tcp));
    kept.push(stream(&lab, "c", addresses(1)[0], 80, Transport::Tcp));
    let policy = lets_in("b", &labelled(&["a"]), 80, false);
    let agent = Agent::start(&lab, &(world(&["a", "b", "c"]) + &policy), &[]);
    for flow in &cut {
        flow.stands_still(&lab);
    }
    for flow in &kept {
        flow.goes_on(&lab);
        flow.has_lost_nothing(&lab);
    }
    assert!(
        reaches(&lab, &pod("a"), &addresses(2), 80)
            && is_closed(&lab, &pod("c"), &addresses(2), 80)
    );
    drop(agent);
    lab.down().unwrap();
}

#[test]
fn where_the_other_direction_is_free_an_old_connection_stays_and_no_new_one_opens() {
    let lab = Lab::up(&small("free", &["a", "b", "c"], &[80, 81])).unwrap();
    let to = addresses(2)[0];
    // Nobody saw who opened it, and the pod may open connections to c: it may be one of these.
    let old = stream(&lab, "c", to, 80, Transport::Tcp);
    let datagrams = stream(&lab, "c", to, 80, Transport::Udp);
    let manifests = world(&["a", "b", "c"]);
    let policy = |egress| lets_in("b", &labelled(&["a"]), 80, egress);
    let agent = Agent::start(&lab, &(manifests.clone() + &policy(true)), &[]);
    datagrams.stands_still(&lab);
    old.goes_on(&lab);
    assert!(
        is_closed(&lab, &pod("c"), &addresses(2), 80)
            && reaches(&lab, &pod("a"), &addresses(2), 80)
    );
    let revision = agent.revision();
    agent.edit("manifests.yaml", &(manifests + &policy(false)));
    agent.wait_beyond(revision);
    old.stands_still(&lab);
    drop(agent);
    lab.down().unwrap();
}

#[test]
fn connections_outlive_a_flood_of_others() {
    let lab = Lab::up(&small("flood", &["a", "b", "c"], &[80, 81])).unwrap();
    let manifests = world(&["a", "b", "c"]) + &lets_in("b", &labelled(&["a"]), 80, false);
    let agent = Agent::start(&lab, &manifests, &["--connection-entries", "512"]);
    let flows = addresses(2).map(|to| stream(&lab, "a", to, 80, Transport::Tcp));
    // Datagrams from many ports to somebody who answers: ten times what the table holds, at both ends.
    let [v4, _] = addresses(1);
    let netns = names::netns_prefix(lab.name()) + "c";
    inside_netns(&netns, || {
        let mut answer = [0; 64];
        for _ in 0..2560 {
            let socket = UdpSocket::bind("0.0.0.0:0")?;
            socket.connect((v4, 81))?;
            for _ in 0..2 {
                socket.send(b"flood")?;
                socket.recv(&mut answer)?;
            }
        }
        Ok(())
    })
    .unwrap();
    assert!(is_closed(&lab, &pod("c"), &addresses(2), 80));
    for flow in &flows {
        flow.goes_on(&lab);
        flow.has_lost_nothing(&lab);
    }
    drop(agent);
    lab.down().unwrap();
}
