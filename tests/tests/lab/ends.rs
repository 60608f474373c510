//! How labs end: taken down, killed, lost, interrupted; nothing is left.

use std::{
    env, fs,
    io::{self, BufRead as _, BufReader, Read as _},
    panic,
    path::Path,
    process::{Command, Stdio},
};

use nix::{sys::signal, unistd::Pid};
use ringfence_agent::lab::{self, Lab, LabSpec};
use ringfence_tests::lab::{binary, eventually, small};

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
            "ends::a_lab_whose_maker_is_killed_ends_by_itself_and_can_be_removed",
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
