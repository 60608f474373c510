//! What the kernel holds for a pod names the rule that decides, cell by cell: the one that is named offline.

use std::{net::IpAddr, process::Command};

use ipnet::IpNet;
use ringfence_agent::lab::Lab;
use ringfence_tests::{
    agent::Agent,
    lab::{addresses, binary, small},
};
use serde_json::Value;

use super::{is_closed, lets_in, pod, reaches, world};

/// Nobody reaches port 22, whatever teams say.
const NO_SSH: &str = "---\napiVersion: ringfence.dev/v1alpha1\nkind: ZonePolicy\nmetadata: { name: no-ssh }\n\
    spec:\n  rules:\n    - name: nobody\n      action: Deny\n      from: [{ entity: Any }]\n      to: [{ entity: Any }]\n      \
    ports: [{ protocol: TCP, port: 22 }]\n";

/// The cell of a direction for a peer and a port of TCP.
fn cell<'a>(cells: &'a [Value], direction: &str, peer: IpAddr, port: u16) -> &'a Value {
    let holds = |cell: &Value| {
        let nets = cell["peers"].as_array().into_iter().flatten();
        nets.filter_map(|it| it.as_str()?.parse::<IpNet>().ok())
            .any(|net| net.contains(&peer))
    };
    let listed = cells
        .iter()
        .any(|it| it["direction"] == direction && holds(it));
    let has_port = |cell: &Value| {
        let runs = cell["ports"].as_array().into_iter().flatten();
        let mut runs = runs.filter_map(|it| it.as_str()?.strip_suffix("/tcp"));
        runs.any(|run| {
            let (first, last) = run.split_once('-').unwrap_or((run, run));
            let [first, last] = [first, last].map(|it| it.parse::<u16>().expect("a port"));
            (first..=last).contains(&port)
        })
    };
    let mut found = cells.iter().filter(|it| {
        let is_its = if listed { holds(it) } else { it["class"] == 0 };
        it["direction"] == direction && is_its && has_port(it)
    });
    let cell = found.next().expect("each flow has a cell");
    assert_eq!(found.next(), None, "and only one");
    cell
}

#[test]
fn any_cell_names_the_rule_that_decides() {
    let lab = Lab::up(&small("cells", &["a", "b"], &[80, 81, 22])).expect("a lab");
    let manifests = world(&["a", "b"]) + &lets_in("b", "a", 80) + NO_SSH;
    let agent = Agent::start(&lab, &manifests, &[]);
    assert!(reaches(&lab, &pod("a"), 2, 80));
    assert!(is_closed(&lab, &pod("a"), 2, 22) && is_closed(&lab, &pod("a"), 2, 81));

    let shown = agent.json(&["endpoints", "t/b"]);
    let cells = shown["items"].as_array().expect("cells");
    for (port, verdict, rule) in [
        (80, "allow", "NetworkPolicy/t/b ingress[0]"),
        (81, "deny", "NetworkPolicy/t/b ingress: no rule allows it"),
        (22, "deny", "ZonePolicy/no-ssh nobody"),
    ] {
        for from in addresses(1) {
            let cell = cell(cells, "ingress", from, port);
            assert_eq!(cell["verdict"], verdict, "{cell}");
            // What `can` says is the same words.
            let to = addresses(2)
                .into_iter()
                .find(|it| it.is_ipv4() == from.is_ipv4());
            let offline = Command::new(binary())
                .args(["can", "-o", "json", "-f"])
                .arg(agent.manifests())
                .args([from.to_string(), to.expect("both families").to_string()])
                .arg(format!("{port}/tcp"))
                .output()
                .expect("the binary is there");
            let named = String::from_utf8_lossy(&offline.stdout).into_owned();
            let of_cell = cell["rule"].as_str().expect("a rule");
            assert!(named.contains(of_cell), "{of_cell:?} is not in {named}");
            assert!(
                of_cell.contains(rule.split(' ').next().expect("a word")),
                "{of_cell}"
            );

            let element = cell["element"].to_string();
            let same = agent.json(&["bpf", "show", "--cell", &element]);
            let rows = same["items"].as_array().expect("cells");
            assert!(rows.iter().any(|it| it == cell), "{same}");
        }
    }
    let nobody = agent.ringfence(&["endpoints", "t/nobody"]);
    assert_eq!(nobody.status.code(), Some(2));
    let said = String::from_utf8_lossy(&nobody.stderr).into_owned();
    assert!(said.contains("t/nobody") && said.contains("help"), "{said}");
}
