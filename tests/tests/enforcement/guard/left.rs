//! A guard beside an agent, and layers that cannot be put up.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use ringfence_agent::lab::state;
use ringfence_tests::agent::Agent;

use super::{Scene, is_answered, is_denied, standing, text, world};

/// Every pin below a directory, by its inode.
fn pins(directory: &Path) -> BTreeMap<PathBuf, u64> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory).expect("the lab's").flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(pins(&path));
        } else {
            found.insert(path, entry.metadata().expect("it is there").ino());
        }
    }
    found
}

#[test]
fn where_an_agent_is_or_was_nothing_is_touched() {
    let scene = Scene::up("guardleft");
    let mut agent = Agent::start(&scene.lab, &world(true), &[]);
    let bpffs = state::bpffs(scene.lab.name());
    let revision = agent.revision();
    let leaves = |why: &str| {
        let before = pins(&bpffs);
        let output = scene.guard(&[]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let said = text(&output);
        assert!(
            said.contains(why) && said.contains("left as it is"),
            "{said}"
        );
        assert_eq!(pins(&bpffs), before);
        assert!(is_answered(&scene.asks("a")) && is_denied(&scene.asks("b")));
    };
    leaves("an agent runs");
    assert_eq!(agent.revision(), revision);
    agent.kill();
    leaves("an agent has pinned its own");
    agent.spawn();
    agent.wait_until_ready();
    leaves("an agent runs");
    drop(agent);
    scene.lab.down().expect("it goes");
}

#[test]
fn a_guard_that_runs_again_changes_nothing_and_mends_what_is_missing() {
    let scene = Scene::up("guardagain");
    scene.put_up();
    let links = state::bpffs(scene.lab.name()).join("v0/links");
    let names = || pins(&links).into_keys().collect::<Vec<_>>();
    let before = names();
    super::besieged(&scene, || {
        scene.put_up();
        scene.put_up();
    });
    assert_eq!(names(), before);
    for link in &before {
        fs::remove_file(link).expect("it is there");
    }
    scene.put_up();
    assert_eq!(names(), before);
    let arrived = scene.arrived();
    scene.knock("b");
    assert!(is_denied(&scene.asks("b")));
    assert_eq!(scene.arrived(), arrived);
    scene.lab.down().expect("it goes");
}

#[test]
fn a_layer_that_cannot_be_put_up_is_named_and_the_others_stand() {
    let scene = Scene::up("guardpart");
    let directory = tempfile::tempdir().expect("the temporary directory can be written");
    let file = directory.path().join("file");
    fs::write(&file, "").expect("the temporary directory can be written");
    let below_a_file = file.join("pods").display().to_string();
    let no_cgroup = directory.path().display().to_string();
    for (flags, missing, stand) in [
        // Where the pods' cgroup cannot be made.
        (
            ["--cgroup-root", &below_a_file],
            &["sockets", "socket-packets"][..],
            &["to-host", "lo"][..],
        ),
        // Where it is none.
        (
            ["--cgroup-root", &no_cgroup],
            &["sockets", "socket-packets"],
            &["to-host", "lo"],
        ),
        (
            ["--node-cgroup", &no_cgroup],
            &["to-host"],
            &["lo", "socket-packets", "sockets"],
        ),
    ] {
        let output = scene.guard(&[&flags[..], &["-o", "json"]].concat());
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert_eq!(standing(&output), stand, "{output:?}");
        let said = text(&output);
        assert!(missing.iter().all(|layer| said.contains(layer)), "{said}");
        assert!(said.contains(directory.path().to_str().unwrap()), "{said}");
        // What stands is in force.
        let arrived = scene.arrived();
        scene.knock("b");
        assert_eq!(scene.arrived(), arrived, "{flags:?}");
    }
    // It is mended by running it rightly.
    scene.put_up();
    assert!(is_denied(&scene.asks("b")));
    scene.lab.down().expect("it goes");
}

#[test]
fn the_capabilities_of_its_unit_are_enough() {
    let scene = Scene::up("guardrights");
    let set = "-all,+bpf,+net_admin,+perfmon";
    let guard = scene.command(&["-o", "json"]);
    // To enter a namespace takes more: whoever calls it does that.
    let words: Vec<_> = guard.get_args().collect();
    let at = words.iter().position(|word| *word == "--netns");
    let at = at.expect("a lab's");
    let output = Command::new("nsenter")
        .arg(format!("--net=/run/netns/{}", scene.node()))
        .arg("setpriv")
        .args([
            &format!("--bounding-set={set}"),
            &format!("--inh-caps={set}"),
        ])
        .arg(guard.get_program())
        .args(&words[..at])
        .args(&words[at + 2..])
        .output()
        .expect("util-linux");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(is_denied(&scene.asks("b")));
    scene.lab.down().expect("it goes");
}
