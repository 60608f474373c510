//! The lab itself: sockets meet as its topology says, and taking it down leaves nothing.

use std::{
    env, fs,
    io::{self, BufRead as _, BufReader, Read as _},
    net::IpAddr,
    panic,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use nix::{sys::signal, unistd::Pid};
use ringfence_agent::lab::{
    self, Actor, Lab, LabSpec, Outcome, Probe, names,
    wire::{Stream, Transport, Visit},
};
use ringfence_tests::lab::{addresses, binary, eventually, small};

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

/// What the machine has that could be a lab's, in words.
fn machine(name: &str) -> Vec<String> {
    let mine =
        |text: &str| text.contains(&format!("rf-{name}")) || text.contains(&format!("/lab/{name}"));
    let mut found: Vec<String> = fs::read_to_string("/proc/self/mountinfo")
        .expect("mounts")
        .lines()
        .filter(|line| mine(line))
        .map(str::to_owned)
        .collect();
    for process in fs::read_dir("/proc").expect("processes").flatten() {
        let cgroup = fs::read_to_string(process.path().join("cgroup")).unwrap_or_default();
        // An ended process that nobody has waited for yet still names its cgroup.
        if mine(&cgroup) && !cgroup.contains("(deleted)") {
            found.push(format!("process {}", process.path().display()));
        }
    }
    for folder in [
        "/run/netns",
        "/run/ringfence/lab",
        "/sys/fs/cgroup",
        "/sys/fs/cgroup/unified",
    ] {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path().display().to_string();
            if mine(&path) {
                found.push(path);
            }
        }
    }
    found
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
fn down_leaves_nothing_and_is_no_error_twice() {
    let spec = small("gone", &["a", "b"], &[80]);
    let before = machine(&spec.name);
    assert!(before.is_empty(), "{before:?}");
    let lab = Lab::up(&spec).unwrap();
    // Four namespaces and a bpffs are mounted; a folder, cgroups and processes are there too.
    assert!(
        machine(&spec.name).len() > 5 + 4,
        "{:?}",
        machine(&spec.name)
    );
    assert!(Lab::up(&spec).unwrap_err().to_string().contains("is up"));
    lab.down().unwrap();
    assert_eq!(machine(&spec.name), before);
    assert_eq!(lab::leftovers(&spec.name).unwrap(), Vec::<String>::new());
    Lab::down_by_name(&spec.name).unwrap();
}

#[test]
fn a_lab_whose_processes_were_killed_goes_and_its_name_can_be_used_again() {
    let spec = small("kill", &["a", "b"], &[80]);
    let lab = Lab::up(&spec).unwrap();
    let ids: Vec<_> = lab.state().ids().collect();
    assert_eq!(ids.len(), 4);
    // As if its maker had died without a word: nobody is left who would take it down.
    lab.keep().unwrap();
    for id in &ids {
        signal::kill(Pid::from_raw(id.pid), signal::Signal::SIGKILL).unwrap();
        eventually("a killed process ends", || (!id.is_alive()).then_some(()));
    }
    Lab::down_by_name(&spec.name).unwrap();
    assert_eq!(machine(&spec.name), Vec::<String>::new());
    Lab::up(&spec).unwrap().down().unwrap();
}

#[test]
fn a_lab_goes_with_its_state_lost_and_with_a_panic() {
    let spec = small("lost", &["a"], &[80]);
    let lab = Lab::up(&spec).unwrap();
    fs::remove_file(lab::state::folder(&spec.name).join("state.json")).unwrap();
    lab.keep().unwrap();
    Lab::down_by_name(&spec.name).unwrap();
    assert_eq!(machine(&spec.name), Vec::<String>::new());

    let result = panic::catch_unwind(|| {
        let _lab = Lab::up(&spec).unwrap();
        panic!("a failing test");
    });
    assert!(result.is_err());
    assert_eq!(machine(&spec.name), Vec::<String>::new());
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

/// Set for the child process that is the maker in the next test.
const MAKER: &str = "RINGFENCE_TEST_LAB_MAKER";

#[test]
fn a_lab_whose_maker_is_killed_ends_by_itself_and_can_be_removed() {
    let mut spec = small("maker", &["a"], &[80]);
    if let Ok(name) = env::var(MAKER) {
        spec.name = name;
        let lab = Lab::up(&spec).unwrap();
        println!("\nup");
        // Until the parent's end.
        let _: io::Result<usize> = io::stdin().read(&mut [0]);
        drop(lab);
        return;
    }
    let mut maker = Command::new(env::current_exe().unwrap())
        .args([
            "--exact",
            "a_lab_whose_maker_is_killed_ends_by_itself_and_can_be_removed",
            "--nocapture",
        ])
        .env(MAKER, &spec.name)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(maker.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok);
    assert!(said.any(|line| line == "up"), "the maker made no lab");
    let ids: Vec<_> = Lab::open(&spec.name).unwrap().state().ids().collect();
    assert!(ids.len() == 3 && ids.iter().all(|id| id.is_alive()));
    maker.kill().unwrap();
    maker.wait().unwrap();
    for id in ids {
        eventually("a process without a maker ends", || {
            (!id.is_alive()).then_some(())
        });
    }
    assert!(!lab::leftovers(&spec.name).unwrap().is_empty());
    Lab::down_by_name(&spec.name).unwrap();
    assert_eq!(machine(&spec.name), Vec::<String>::new());
}

#[test]
fn an_interrupted_demo_leaves_nothing() {
    for (signal, after) in [
        (signal::Signal::SIGINT, "[1/"),
        (signal::Signal::SIGTERM, "[2/"),
        (signal::Signal::SIGHUP, "[2/"),
    ] {
        let name = LabSpec::unique_name("interrupt");
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/examples/hybrid-cloud");
        let mut demo = Command::new(binary())
            .args(["lab", "demo", "--name", &name])
            .arg(example)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(demo.stdout.take().unwrap())
            .lines()
            .map_while(Result::ok);
        assert!(
            said.any(|line| line.starts_with(after)),
            "the demo did not come to step {after}"
        );
        // It may have failed meanwhile, which is no matter here: it must leave nothing either way.
        let _: nix::Result<()> = signal::kill(Pid::from_raw(demo.id().try_into().unwrap()), signal);
        said.for_each(drop);
        assert!(!demo.wait().unwrap().success());
        assert_eq!(machine(&name), Vec::<String>::new());
    }
}
