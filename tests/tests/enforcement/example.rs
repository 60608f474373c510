//! The hybrid-cloud example: what real sockets find is what `ringfence matrix` says, cell by cell.

use std::{fs, path::PathBuf, process::Command};

use ringfence_agent::{
    index,
    lab::{Actor, Lab, LabFile, LabSpec, Outcome, Probe, wire::Transport},
    watch,
};
use ringfence_tests::{agent::Agent, lab::binary};

use super::{PATIENT, SHORT};

fn example() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../deploy/examples/hybrid-cloud")
}

/// Compares every cell that both ends of the lab can try; how many there were, and how many were denied.
fn compare(lab: &Lab, agent: &Agent, file: &LabFile) -> (usize, usize) {
    let mut matrix = Command::new(binary());
    matrix
        .args(["matrix", "-o", "json", "-f"])
        .arg(agent.manifests());
    for host in file.outside.iter().filter(|host| !host.only_answers) {
        for address in &host.addresses {
            matrix
                .arg("--outside")
                .arg(format!("{}={address}", host.name));
        }
    }
    let output = matrix.output().expect("the binary is there");
    assert!(output.status.success(), "{output:?}");
    let cells: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let cells = cells["items"].as_array().expect("a list");
    let mut probes = Vec::new();
    let mut said = Vec::new();
    for cell in cells {
        let text = |field: &str| cell[field].as_str().unwrap_or_default().to_owned();
        let from: Actor = text("from")
            .trim_start_matches("pod/")
            .parse()
            .expect("infallible");
        let to: Actor = text("to")
            .trim_start_matches("pod/")
            .parse()
            .expect("infallible");
        if from == to || !matches!(to, Actor::Pod { .. }) {
            continue;
        }
        let v4 = text("family") == "IPv4";
        let addresses = lab.addresses(&to).expect("a pod of the lab");
        let Some(&address) = addresses.iter().find(|address| address.is_ipv4() == v4) else {
            continue;
        };
        let port = text("port");
        let (port, protocol) = port.split_once('/').expect("PORT/PROTO");
        let protocol = if protocol == "udp" {
            Transport::Udp
        } else {
            Transport::Tcp
        };
        let port = port.parse().expect("a port");
        let allowed = text("verdict") == "allow";
        probes.push(Probe {
            from,
            to: address,
            port,
            protocol,
            timeout: if allowed { PATIENT } else { SHORT },
        });
        said.push(text("verdict"));
    }
    let outcomes = lab.probe_all(&probes).expect("the lab obeys");
    for ((probe, outcome), said) in probes.iter().zip(&outcomes).zip(&said) {
        let expected = match said.as_str() {
            "allow" => outcome.is_answered(),
            "deny" => *outcome == Outcome::Timeout,
            other => panic!("verdict {other}"),
        };
        assert!(expected, "{probe:?}: {outcome}, and the matrix says {said}");
    }
    (
        said.len(),
        said.iter().filter(|said| *said == "deny").count(),
    )
}

#[test]
fn real_sockets_find_what_the_matrix_says_before_and_after_an_edit() {
    let manifests = example().join("manifests");
    let file = LabFile::read(&example()).unwrap();
    let snapshot =
        index::load(std::slice::from_ref(&manifests), watch::Options::default()).unwrap();
    let name = LabSpec::unique_name("example");
    let spec = LabSpec::new(
        &name,
        binary().to_owned(),
        &snapshot,
        LabFile::read(&example()).unwrap(),
    )
    .unwrap();
    let lab = Lab::up(&spec).unwrap();
    let mut agent = Agent::prepare(&lab, "", &[]);
    fs::remove_file(agent.manifests().join("manifests.yaml")).unwrap();
    for entry in fs::read_dir(manifests).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        agent.edit(name, &fs::read_to_string(&path).unwrap());
    }
    agent.spawn();
    agent.wait_until_ready();
    let (cells, denied) = compare(&lab, &agent, &file);
    assert!(
        cells > 200 && denied > 50 && denied < cells,
        "{cells} cells, {denied} denied"
    );

    let revision = agent.revision();
    let policies = fs::read_to_string(agent.manifests().join("40-policies.yaml")).unwrap();
    let edited = policies.replace("port: 3306", "port: 22");
    assert_ne!(edited, policies);
    agent.edit("40-policies.yaml", &edited);
    agent.wait_beyond(revision);
    assert_eq!(compare(&lab, &agent, &file).0, cells);
    drop(agent);
    lab.down().unwrap();
}

/// The demo compares every cell itself, the world outside as a destination included.
#[test]
fn the_ten_rules_hold_for_real_sockets_in_every_cell() {
    let name = LabSpec::unique_name("zones");
    let output = Command::new(binary())
        .args(["lab", "demo", "--name", &name])
        .arg(example().join("zones"))
        .output()
        .expect("the binary is there");
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{errors}");
    assert!(
        said.contains("each went as the manifests say offline"),
        "{said}"
    );
    assert!(said.contains("ZonePolicy/r10-no-ssh rule no-ssh"), "{said}");
}
