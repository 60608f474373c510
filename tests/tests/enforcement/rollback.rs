//! A new version whose programs the verifier refuses: what was in force stays so, and the agent says so.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use ringfence_agent::lab::Lab;
use ringfence_common::ABI_VERSION;
use ringfence_tests::{
    agent::Agent,
    lab::{binary, small},
};

use super::{
    pod, reaches,
    upgrade::{age, all_flow, manifests, nothing_was_noticed, streams, version},
};

/// A 64-bit object for the BPF machine.
const HEADER: [u8; 20] = [
    0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0xf7, 0,
];
/// Copies register 9, in which nothing is: an instruction that exists, in a program that may not run.
const COPY: [u8; 8] = [0xbf, 0x90, 0, 0, 0, 0, 0, 0];

fn number(bytes: &[u8]) -> usize {
    let digits = bytes.iter().rev();
    digits.fold(0, |sum, &byte| sum << 8 | usize::from(byte))
}

/// Where the first program of a section begins in the object.
fn program(object: &[u8], section: &str) -> usize {
    let (table, count, names) = (
        number(&object[0x28..0x30]),
        number(&object[0x3c..0x3e]),
        number(&object[0x3e..0x40]),
    );
    let header = |index: usize| &object[table + index * 64..][..64];
    let offset = |index: usize| number(&header(index)[0x18..0x20]);
    let named = |index: &usize| {
        let name = &object[offset(names) + number(&header(*index)[..4])..];
        name.starts_with(section.as_bytes()) && name[section.len()] == 0
    };
    offset((0..count).find(named).expect("the object has it"))
}

/// The agent's binary with a program that begins so.
fn broken(folder: &Path, section: &str) -> PathBuf {
    let mut bytes = fs::read(binary()).expect("the binary");
    let objects: Vec<usize> = bytes
        .windows(HEADER.len())
        .enumerate()
        .filter(|(_, window)| *window == HEADER)
        .map(|(at, _)| at)
        .collect();
    let [object] = objects[..] else {
        panic!("one kernel half, not {objects:?}");
    };
    let at = object + program(&bytes[object..], section);
    bytes[at..at + COPY.len()].copy_from_slice(&COPY);
    let path = folder.join("ringfence");
    fs::write(&path, bytes).expect("the temporary directory can be written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("just made");
    path
}

/// Tries to start that instead of the agent.
fn try_in_its_place(agent: &Agent, section: &str) -> Output {
    let folder = tempfile::tempdir().expect("the temporary directory can be written");
    let mut command = Command::new(broken(folder.path(), section));
    command.args(agent.command().get_args());
    command.output().expect("it runs")
}

/// All pins below a version.
fn pins(version: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = ["maps", "links"]
        .into_iter()
        .flat_map(|folder| fs::read_dir(version.join(folder)).expect("the agent's pins"))
        .map(|entry| entry.expect("a pin").path())
        .collect();
    found.sort();
    found
}

fn is_refused(output: &Output, program: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    for part in [
        &format!("does not accept the program {program}"),
        "R9 !read_ok",
        "in force as the agent before this one left",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

/// One in the middle of those that are loaded, and the last.
const PROGRAMS: [(&str, &str); 2] = [("classifier", "clock"), ("cgroup_skb/ingress", "to_node")];

#[test]
fn a_program_that_is_refused_leaves_every_hook_and_map_as_it_was() {
    let lab = Lab::up(&small("refused", &["a", "b", "c"], &[80, 81])).expect("a lab");
    let mut agent = Agent::start(&lab, &manifests(), &[]);
    streams(&lab);
    assert!(agent.stop());
    let before = pins(&version(&lab, ABI_VERSION));
    for (section, program) in PROGRAMS {
        is_refused(&try_in_its_place(&agent, section), program);
        assert_eq!(pins(&version(&lab, ABI_VERSION)), before, "{program}");
        all_flow(&lab);
        assert!(!reaches(&lab, &pod("a"), 2, 81), "{program}");
    }
    let revision = {
        agent.spawn();
        agent.wait_until_ready();
        agent.revision()
    };
    assert_eq!(revision, 1, "nothing was to be done");
    all_flow(&lab);
    nothing_was_noticed(&lab);
    drop(agent);
    lab.down().expect("it goes");
}

#[test]
fn a_version_with_other_layouts_that_is_refused_leaves_nothing_of_its_own() {
    let lab = Lab::up(&small("refused2", &["a", "b", "c"], &[80, 81])).expect("a lab");
    let mut agent = Agent::start(&lab, &manifests(), &[]);
    streams(&lab);
    assert!(agent.stop());
    let older = age(&lab);
    let before = pins(&older);
    for (section, program) in PROGRAMS {
        is_refused(&try_in_its_place(&agent, section), program);
        assert!(!version(&lab, ABI_VERSION).exists(), "{program}");
        assert_eq!(pins(&older), before, "{program}");
        all_flow(&lab);
        assert!(!reaches(&lab, &pod("a"), 2, 81), "{program}");
    }
    // The next one goes over.
    agent.spawn();
    agent.wait_until_ready();
    assert!(!older.exists());
    all_flow(&lab);
    nothing_was_noticed(&lab);
    drop(agent);
    lab.down().expect("it goes");
}
