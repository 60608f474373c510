//! The lab itself: sockets meet as its topology says, and taking it down leaves nothing.

mod ends;

use std::{fs, net::IpAddr, time::Duration};

use ringfence_agent::lab::{
    self, Actor, Lab, Outcome, Probe, names,
    wire::{Stream, Transport, Visit},
};
use ringfence_tests::lab::{addresses, eventually, small};

/// For what must be answered: long, since the machine may be busy.
const PATIENT: Duration = Duration::from_secs(10);
/// For what must not be: each such probe takes this long.
const SHORT: Duration = Duration::from_millis(500);

fn pod(name: &str) -> Actor {
    Actor::pod("t", name)
}

fn answered(who: &Actor) -> Outcome {
    Outcome::Answered {
        who: who.to_string(),
    }
}

#[test]
fn pods_outside_and_node_reach_each_other_by_both_transports_and_families() {
    let lab = Lab::up(&small("meet", &["a", "b"], &[80, 3306])).unwrap();
    let mut probes = Vec::new();
    let mut expect = Vec::new();
    for protocol in Transport::ALL {
        for to in addresses(2) {
            for from in [pod("a"), Actor::outside("client"), Actor::Node] {
                for (port, outcome) in [
                    (80, answered(&pod("b"))),
                    (3306, answered(&pod("b"))),
                    (81, Outcome::Refused),
                ] {
                    probes.push(Probe {
                        from: from.clone(),
                        to,
                        port,
                        protocol,
                        timeout: PATIENT,
                    });
                    expect.push(outcome);
                }
            }
        }
    }
    for to in lab.addresses(&Actor::outside("client")).unwrap() {
        probes.push(Probe {
            from: pod("a"),
            to: *to,
            port: 80,
            protocol: Transport::Tcp,
            timeout: PATIENT,
        });
        expect.push(answered(&Actor::outside("client")));
    }
    let outcomes = lab.probe_all(&probes).unwrap();
    for ((probe, expect), outcome) in probes.iter().zip(expect).zip(outcomes) {
        assert_eq!(outcome, expect, "{probe:?}");
    }

    // The server's own word, with the address that it saw: no translation on the way.
    let served = lab.served(&pod("b")).unwrap();
    assert_eq!(served.forgotten, 0);
    for from in [
        addresses(1)[0],
        "2001:db8:9::9".parse().unwrap(),
        "10.0.9.1".parse().unwrap(),
    ] {
        let address = addresses(2)[usize::from(from.is_ipv6())];
        for protocol in Transport::ALL {
            let visit = Visit {
                protocol,
                address,
                port: 80,
                peer: from,
            };
            assert!(served.visits.contains(&visit), "{visit:?} is missing");
        }
    }
    lab.down().unwrap();
}

#[test]
fn what_is_dropped_times_out_and_streams_count_it() {
    let lab = Lab::up(&small("drop", &["a", "b"], &[80])).unwrap();
    let stream = |protocol, to| Stream {
        id: format!("{protocol:?} {to}"),
        protocol,
        from: None,
        to,
        port: 80,
        interval_ms: 2,
    };
    let streams: Vec<Stream> = Transport::ALL
        .into_iter()
        .flat_map(|protocol| addresses(2).map(|to| stream(protocol, to)))
        .collect();
    let count = |stream: &Stream| lab.stream_report(&pod("a"), &stream.id).unwrap();
    for stream in &streams {
        lab.stream(&pod("a"), stream.clone()).unwrap();
    }
    for stream in &streams {
        eventually("fifty answers", || {
            (count(stream).answered >= 50).then_some(())
        });
    }

    forward(&lab, "0");
    for stream in &streams {
        let outcome = lab
            .probe(&pod("a"), stream.to, 80, stream.protocol, SHORT)
            .unwrap();
        assert_eq!(outcome, Outcome::Timeout, "{stream:?}");
    }
    forward(&lab, "1");

    for stream in &streams {
        let before = count(stream).answered;
        eventually("answers again", || {
            (count(stream).answered > before + 5).then_some(())
        });
        let report = lab.stream_stop(&pod("a"), &stream.id).unwrap();
        assert!(report.longest_gap_ms >= 400, "{report:?}");
        match stream.protocol {
            Transport::Udp => assert!(report.lost > 0, "{report:?}"),
            // TCP sends again: nothing is lost, and the delay tells.
            Transport::Tcp => {
                assert_eq!(
                    (report.lost, report.error.as_deref()),
                    (0, None),
                    "{report:?}"
                );
                assert!(
                    report.slowest_ms >= 200 && report.retransmitted > 0,
                    "{report:?}"
                );
            }
        }
        assert!(
            lab.stream_report(&pod("a"), &stream.id).is_err(),
            "a stopped stream is gone"
        );
    }
    lab.down().unwrap();
}

/// Switches the node's forwarding, without which it drops silently.
fn forward(lab: &Lab, value: &str) {
    lab::inside_netns(&names::node_netns(lab.name()), || {
        fs::write("/proc/sys/net/ipv4/ip_forward", value)?;
        Ok(fs::write("/proc/sys/net/ipv6/conf/all/forwarding", value)?)
    })
    .expect("a node that can be told");
}

#[test]
fn undisturbed_streams_lose_nothing() {
    let lab = Lab::up(&small("calm", &["a", "b"], &[80])).unwrap();
    for protocol in Transport::ALL {
        let to = addresses(2)[1];
        let stream = Stream {
            id: "s".to_owned(),
            protocol,
            from: None,
            to,
            port: 80,
            interval_ms: 1,
        };
        lab.stream(&pod("a"), stream).unwrap();
        eventually("a hundred answers", || {
            (lab.stream_report(&pod("a"), "s").unwrap().answered >= 100).then_some(())
        });
        let report = lab.stream_stop(&pod("a"), "s").unwrap();
        assert!(report.sent >= 100, "{report:?}");
        assert_eq!(
            (report.lost, report.repeated, report.error.as_deref()),
            (0, 0, None),
            "{report:?}"
        );
    }
    lab.down().unwrap();
}

#[test]
fn programs_run_in_the_pods_namespace_and_cgroup() {
    let lab = Lab::up(&small("exec", &["a"], &[80])).unwrap();
    let output = lab
        .exec(
            &pod("a"),
            [
                "/bin/sh",
                "-c",
                "cat /proc/self/cgroup /proc/self/net/if_inet6",
            ],
        )
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(
        said.contains(&format!("/rf-{}/t_a\n", lab.name())),
        "{said}"
    );
    assert!(said.contains("fd000010024400090000000000000001"), "{said}");

    let output = lab.exec(&pod("b"), ["true"]).unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("has no t/b") && said.contains("t/a"),
        "{said}"
    );
    lab.down().unwrap();
}

#[test]
fn a_question_across_families_that_the_asker_lacks_is_an_error() {
    let mut spec = small("family", &["a"], &[80]);
    spec.pods[0].addresses.retain(IpAddr::is_ipv4);
    let lab = Lab::up(&spec).unwrap();
    let error = lab
        .probe(&pod("a"), addresses(2)[1], 80, Transport::Tcp, SHORT)
        .unwrap_err();
    assert!(error.to_string().contains("no address to send"), "{error}");
    lab.down().unwrap();
}
