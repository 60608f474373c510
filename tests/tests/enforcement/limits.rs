//! What does not fit or is not ours is refused whole, and what was in force stays.

use ringfence_agent::lab::{Lab, state};
use ringfence_tests::{
    agent::{Agent, get},
    lab::{eventually, small},
};

use super::{is_closed, lets_in, pod, reaches, world};

#[test]
fn a_full_map_keeps_the_previous_tables_and_names_the_flag() {
    let lab = Lab::up(&small("full", &["a", "b", "c"], &[80, 81])).unwrap();
    let manifests = world(&["a", "b", "c"]) + &lets_in("b", "a", 80);
    let agent = Agent::start(&lab, &manifests, &["--cell-entries", "8"]);
    let (a, revision) = (pod("a"), agent.revision());
    assert!(reaches(&lab, &a, 2, 80) && is_closed(&lab, &a, 2, 81));
    agent.edit(
        "more.yaml",
        &(lets_in("c", "a", 80) + &lets_in("a", "b", 81)),
    );
    let status = eventually("the agent tells of it", || {
        let status = agent.json(&["status"]).to_string();
        status.contains("--cell-entries").then_some(status)
    });
    assert!(status.contains("CELLS"), "{status}");
    let metrics = get(&agent.run_dir(), "/metrics").expect("it answers");
    let refused = "ringfence_bpf_map_update_errors_total{map=\"CELLS\",error=\"full\"}";
    assert!(metrics.contains(refused), "{metrics}");
    assert_eq!(agent.revision(), revision);
    assert!(
        reaches(&lab, &a, 2, 80) && is_closed(&lab, &a, 2, 81),
        "as before"
    );
    assert!(reaches(&lab, &a, 3, 81), "no half of the edit is in force");
    drop(agent);
    lab.down().unwrap();
}

#[test]
fn a_pin_of_another_layout_is_refused_and_enforcement_stays() {
    let lab = Lab::up(&small("pin", &["a", "b"], &[80, 81])).unwrap();
    let mut agent = Agent::start(&lab, &(world(&["a", "b"]) + &lets_in("b", "a", 80)), &[]);
    let a = pod("a");
    agent.kill();
    // Another map of ours under a name that is not its own: the pin of a foreigner.
    let maps = state::bpffs(lab.name()).join(format!("v{}/maps", ringfence_common::ABI_VERSION));
    std::fs::rename(maps.join("CELLS"), maps.join("aside")).unwrap();
    std::fs::rename(maps.join("CLASSES"), maps.join("CELLS")).unwrap();
    let output = agent.command().output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(
        said.contains("maps/CELLS") && said.contains("detach"),
        "{said}"
    );
    assert!(
        reaches(&lab, &a, 2, 80) && is_closed(&lab, &a, 2, 81),
        "what was in force stays"
    );
    std::fs::rename(maps.join("CELLS"), maps.join("CLASSES")).unwrap();
    std::fs::rename(maps.join("aside"), maps.join("CELLS")).unwrap();
    agent.spawn();
    agent.wait_until_ready();
    assert!(reaches(&lab, &a, 2, 80) && is_closed(&lab, &a, 2, 81));
    drop(agent);
    lab.down().unwrap();
}

#[test]
fn a_directory_that_is_no_bpffs_is_refused() {
    let lab = Lab::up(&small("nobpf", &["a", "b"], &[80])).unwrap();
    let agent = Agent::prepare(&lab, &world(&["a", "b"]), &[]);
    let directory = tempfile::tempdir().unwrap();
    let words: Vec<_> = agent
        .command()
        .get_args()
        .map(std::ffi::OsStr::to_owned)
        .collect();
    let at = words.iter().position(|word| word == "--bpffs").unwrap();
    let mut command = std::process::Command::new(agent.command().get_program());
    command
        .args(&words[..=at])
        .arg(directory.path())
        .args(&words[at + 2..]);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(
        said.contains("is not on a bpffs") && said.contains("--bpffs"),
        "{said}"
    );
    assert!(reaches(&lab, &pod("a"), 2, 80));
    lab.down().unwrap();
}
