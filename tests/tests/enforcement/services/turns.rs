//! Services with several backends that take turns: each connection is judged by the backend that it got.

use ringfence_agent::lab::{Lab, Outcome, wire::Transport};
use ringfence_tests::{
    agent::Agent,
    lab::{addresses, small},
};

use super::{
    TO_B, lets_out, manifest, outcomes,
    proxy::{Mode, Spread, lay},
    service,
};
use crate::{PATIENT, SHORT, flows_on, pod, pod_manifest, stands_still, stream, world};

const TO_C: &str = "{ podSelector: { matchLabels: { app: c } } }";

/// Checks who answers at a Service, time after time, the same for all transports and families; nobody is "".
fn answers_in_turn(lab: &Lab, from: &str, number: u8, expected: &[&str]) {
    for (time, name) in expected.iter().enumerate() {
        let (timeout, who) = match *name {
            "" => (SHORT, None),
            name => (PATIENT, Some(format!("t/{name}"))),
        };
        for (to, protocol, outcome) in outcomes(lab, from, number, 8080, timeout) {
            let told = match outcome {
                Outcome::Answered { who } => Some(who),
                _ => None,
            };
            assert_eq!(
                told, who,
                "{from} -> Service {number}, {to} {protocol:?}, time {time}"
            );
        }
    }
}

fn each_connection_is_judged_by_its_backend(lab: &str, mode: Mode) {
    let lab = Lab::up(&small(lab, &["a", "b", "c", "d"], &[80, 81])).expect("a lab");
    let manifests = world(&["a", "b", "c", "d"]) + &manifest(1, 8080) + &manifest(2, 8080);
    // Of the second Service it is the port that tells the backends apart.
    let spreads = [
        (1, [(addresses(2), 80), (addresses(3), 80)]),
        (2, [(addresses(2), 81), (addresses(2), 80)]),
    ];
    let spreads = spreads.each_ref().map(|(service, backends)| Spread {
        service: *service,
        port: 8080,
        backends,
        affinity: false,
    });
    lay(&lab, mode, &spreads);
    let agent = Agent::start(&lab, &(manifests.clone() + &lets_out(TO_B, 80)), &[]);
    answers_in_turn(&lab, "d", 1, &["b", "c", "b", "c"]);
    answers_in_turn(&lab, "a", 1, &["b", "", "b", ""]);
    answers_in_turn(&lab, "a", 2, &["", "b", "", "b"]);
    let revision = agent.revision();
    agent.edit("manifests.yaml", &(manifests + &lets_out(TO_C, 80)));
    agent.wait_beyond(revision);
    answers_in_turn(&lab, "a", 1, &["", "c", "", "c"]);
    answers_in_turn(&lab, "a", 2, &["", ""]);
    drop(agent);
    lab.down().expect("down");
}

#[test]
fn backends_in_turn_with_nftables() {
    each_connection_is_judged_by_its_backend("turnnft", Mode::Nftables);
}

#[test]
fn backends_in_turn_with_iptables() {
    each_connection_is_judged_by_its_backend("turnipt", Mode::Iptables);
}

/// Two clients under one policy; affinity gives the first the one backend and the second the other.
fn a_client_is_judged_by_the_backend_that_it_stays_with(lab: &str, mode: Mode) {
    let lab = Lab::up(&small(lab, &["a", "b", "c", "d"], &[80])).expect("a lab");
    let manifests =
        world(&["a", "b", "c"]) + "---\n" + &pod_manifest("d", "a", 4, "") + &manifest(1, 8080);
    let spread = Spread {
        service: 1,
        port: 8080,
        backends: &[(addresses(2), 80), (addresses(3), 80)],
        affinity: true,
    };
    lay(&lab, mode, &[spread]);
    let agent = Agent::start(&lab, &(manifests.clone() + &lets_out(TO_B, 80)), &[]);
    answers_in_turn(&lab, "a", 1, &["b", "b", "b"]);
    answers_in_turn(&lab, "d", 1, &["", "", ""]);
    let revision = agent.revision();
    agent.edit("manifests.yaml", &(manifests + &lets_out(TO_C, 80)));
    agent.wait_beyond(revision);
    answers_in_turn(&lab, "a", 1, &["", ""]);
    answers_in_turn(&lab, "d", 1, &["c", "c"]);
    drop(agent);
    lab.down().expect("down");
}

#[test]
fn affinity_with_nftables() {
    a_client_is_judged_by_the_backend_that_it_stays_with("staynft", Mode::Nftables);
}

#[test]
fn affinity_with_iptables() {
    a_client_is_judged_by_the_backend_that_it_stays_with("stayipt", Mode::Iptables);
}

#[test]
fn a_connection_stays_with_its_backend_when_others_come_and_it_goes() {
    let lab = Lab::up(&small("moved", &["a", "b", "c"], &[80])).unwrap();
    let manifests = world(&["a", "b", "c"]) + &manifest(1, 8080);
    let leads_to = |number: u8| {
        let spread = Spread {
            service: 1,
            port: 8080,
            backends: &[(addresses(number), 80)],
            affinity: false,
        };
        lay(&lab, Mode::Nftables, &[spread]);
    };
    leads_to(2);
    let agent = Agent::start(&lab, &(manifests.clone() + &lets_out(TO_B, 80)), &[]);
    let a = pod("a");
    let mut ids = Vec::new();
    for to in service(1) {
        for protocol in Transport::ALL {
            let id = format!("{to} {protocol:?}");
            stream(&lab, &id, &a, to, 8080, protocol);
            flows_on(&lab, &id, &a, 10);
            ids.push(id);
        }
    }
    leads_to(3);
    for id in &ids {
        flows_on(&lab, id, &a, 10);
    }
    // c is not allowed.
    answers_in_turn(&lab, "a", 1, &[""]);
    let revision = agent.revision();
    agent.edit("manifests.yaml", &(manifests + &lets_out(TO_C, 80)));
    agent.wait_beyond(revision);
    for id in &ids {
        stands_still(&lab, id, &a);
    }
    answers_in_turn(&lab, "a", 1, &["c"]);
    drop(agent);
    lab.down().unwrap();
}
