//! From one version of the layouts to another one. The older version is this one's under an older one's name: what lies in its
//! maps is nobody's business after that.

use std::{fs, path::PathBuf};

use ringfence_agent::lab::{Lab, state, wire::Transport};
use ringfence_common::ABI_VERSION;
use ringfence_tests::{
    agent::{Agent, get},
    lab::{addresses, eventually, small},
};

use super::{attempt, flows_on, is_closed, lets_in, pod, reaches, report, stream, world};

pub(super) fn version(lab: &Lab, number: u32) -> PathBuf {
    state::bpffs(lab.name()).join(format!("v{number}"))
}

/// Makes what is pinned another version's.
pub(super) fn age(lab: &Lab) -> PathBuf {
    let older = version(lab, ABI_VERSION - 1);
    fs::rename(version(lab, ABI_VERSION), &older).expect("the agent has pinned something");
    older
}

/// Streams from the pod `a`, which may send to `b`, and from `c`, which may not.
pub(super) fn streams(lab: &Lab) {
    let [v4, v6] = addresses(2);
    let (a, c) = (pod("a"), pod("c"));
    stream(lab, "tcp4", &a, v4, 80, Transport::Tcp);
    stream(lab, "tcp6", &a, v6, 80, Transport::Tcp);
    stream(lab, "udp4", &a, v4, 80, Transport::Udp);
    stream(lab, "udp6", &a, v6, 80, Transport::Udp);
    stream(lab, "no4", &c, v4, 80, Transport::Udp);
    stream(lab, "no6", &c, v6, 80, Transport::Udp);
    all_flow(lab);
}

const ALLOWED: [&str; 4] = ["tcp4", "tcp6", "udp4", "udp6"];

pub(super) fn all_flow(lab: &Lab) {
    for id in ALLOWED {
        flows_on(lab, id, &pod("a"), 20);
    }
}

/// Ends the streams: nothing of what was allowed is lost, nothing of what was denied has arrived.
pub(super) fn nothing_was_noticed(lab: &Lab) {
    for id in ["no4", "no6"] {
        let report = report(lab, id, &pod("c"));
        assert!(report.sent > 50 && report.answered == 0, "{id}: {report:?}");
    }
    for id in ALLOWED {
        let report = lab.stream_stop(&pod("a"), id).expect("the lab obeys");
        assert_eq!(
            (report.lost, report.error.as_deref()),
            (0, None),
            "{id}: {report:?}"
        );
    }
}

pub(super) fn manifests() -> String {
    world(&["a", "b", "c"]) + &lets_in("b", "a", 80)
}

fn goes_over(name: &str, flags: &[&str], then: &[&str]) {
    let lab = Lab::up(&small(name, &["a", "b", "c"], &[80, 81])).expect("a lab");
    let mut agent = Agent::start(&lab, &manifests(), flags);
    streams(&lab);
    assert!(agent.stop());
    drop(agent);
    let older = age(&lab);
    let mut agent = Agent::start(&lab, &manifests(), then);
    assert!(!older.exists(), "pins of the older version are left");
    assert!(
        agent.said().contains("layouts stay in force"),
        "{}",
        agent.said()
    );
    all_flow(&lab);
    let (a, c) = (pod("a"), pod("c"));
    assert!(reaches(&lab, &a, 2, 80) && is_closed(&lab, &a, 2, 81));
    assert!(is_closed(&lab, &c, 2, 80));
    nothing_was_noticed(&lab);
    let edited = agent.revision();
    agent.edit("more.yaml", &lets_in("c", "a", 80));
    agent.wait_beyond(edited);
    assert!(reaches(&lab, &a, 3, 80) && is_closed(&lab, &a, 3, 81));
    assert!(agent.stop());
    assert!(agent.detach().status.success());
    // The kernel lets go of detached programs a moment later.
    eventually("nothing of any version is left", || {
        let answered = |to| attempt(&lab, &c, to, 80, Transport::Tcp).is_answered();
        addresses(2).into_iter().all(answered).then_some(())
    });
    lab.down().expect("it goes");
}

#[test]
fn another_version_of_the_layouts_is_replaced_hook_by_hook_and_no_packet_notices() {
    goes_over("newer", &[], &[]);
}

#[test]
fn filters_are_replaced_like_links() {
    goes_over("newclsact", &["--tcx", "off"], &["--tcx", "off"]);
}

#[test]
fn what_does_not_load_leaves_the_older_version_in_force_and_nothing_of_its_own() {
    let lab = Lab::up(&small("rollback", &["a", "b", "c"], &[80, 81])).expect("a lab");
    let mut agent = Agent::start(&lab, &manifests(), &[]);
    streams(&lab);
    assert!(agent.stop());
    drop(agent);
    let older = age(&lab);
    // Two terabytes.
    let agent = Agent::prepare(&lab, &manifests(), &["--page-entries", "4000000000"]);
    let output = agent.command().output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(
        said.contains("PAGES") && said.contains("stay in force"),
        "{said}"
    );
    assert!(older.exists() && !version(&lab, ABI_VERSION).exists());
    all_flow(&lab);
    assert!(is_closed(&lab, &pod("a"), 2, 81));
    drop(agent);
    // One that loads goes on where the last one could not.
    let agent = Agent::start(&lab, &manifests(), &[]);
    assert!(!older.exists());
    all_flow(&lab);
    nothing_was_noticed(&lab);
    drop(agent);
    lab.down().expect("it goes");
}

#[test]
fn maps_of_an_agent_that_died_while_it_filled_them_are_collected() {
    let lab = Lab::up(&small("halffilled", &["a", "b", "c"], &[80, 81])).expect("a lab");
    let mut agent = Agent::start(&lab, &manifests(), &[]);
    streams(&lab);
    agent.kill();
    let older = age(&lab);
    // It never gets to see what is wanted, so its maps stay empty.
    agent.edit("manifests.yaml", &(manifests() + "---\nkind: [\n"));
    agent.spawn();
    let ours = version(&lab, ABI_VERSION);
    eventually("its maps are there", || {
        agent.said().contains("layouts stay in force").then_some(())
    });
    agent.kill();
    assert!(older.exists() && ours.join("maps/CELLS").exists());
    let before = fs::read_dir(ours.join("links")).unwrap().count();
    assert_eq!(before, 0, "it has put nothing into force");
    // What is half written is not to be trusted.
    fs::remove_file(ours.join("maps/CLASSES")).unwrap();
    all_flow(&lab);
    agent.edit("manifests.yaml", &manifests());
    agent.spawn();
    agent.wait_until_ready();
    assert!(
        agent.said().contains("did not come to put into force"),
        "{}",
        agent.said()
    );
    assert!(!older.exists());
    all_flow(&lab);
    nothing_was_noticed(&lab);
    drop(agent);
    lab.down().expect("it goes");
}

#[test]
fn what_somebody_detaches_or_removes_under_a_running_agent_is_counted_and_put_right() {
    let lab = Lab::up(&small("drift", &["a", "b", "c"], &[80, 81])).expect("a lab");
    let agent = Agent::start(&lab, &manifests(), &["--audit-interval", "1"]);
    let (a, c) = (pod("a"), pod("c"));
    let counted = |kind: &str| {
        let metrics = get(&agent.run_dir(), "/metrics").unwrap_or_default();
        let start = format!("ringfence_drift_total{{kind=\"{kind}\"}} ");
        let line = metrics.lines().find_map(|line| line.strip_prefix(&start));
        line.and_then(|count| count.trim().parse::<u64>().ok())
    };
    assert_eq!(counted("attachment"), Some(0));
    let pins = version(&lab, ABI_VERSION);
    let links: Vec<PathBuf> = fs::read_dir(pins.join("links"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert!(links.len() > 6, "{links:?}");
    for link in &links {
        fs::remove_file(link).unwrap();
    }
    fs::remove_file(pins.join("maps/CLASSES")).unwrap();
    eventually("all of them are back", || {
        let all = links.iter().all(|link| link.exists());
        (all && pins.join("maps/CLASSES").exists()).then_some(())
    });
    eventually("they are counted", || {
        let attachments = counted("attachment")?;
        (attachments >= u64::try_from(links.len()).ok()? && counted("pin")? >= 1).then_some(())
    });
    assert!(agent.said().contains("repaired"), "{}", agent.said());
    assert!(reaches(&lab, &a, 2, 80) && is_closed(&lab, &a, 2, 81));
    assert!(is_closed(&lab, &c, 2, 80));
    drop(agent);
    lab.down().expect("it goes");
}
