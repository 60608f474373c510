//! A table of thousands of classes and cells, which are written, read back and removed in single calls of the kernel.

use std::{fmt::Write as _, time::Duration};

use ringfence_agent::dataplane::Kernel as _;
use ringfence_tests::{
    desk::{Desk, options},
    packet::{Way, tcp::SYN},
    sandbox::sandbox,
};

use super::{POD, tcp, with};

/// Pods that may use port 80, each with a label of its own.
const GUESTS: u16 = 2_000;
/// The first of them, each with a port of its own.
const NAMED: u16 = 100;

fn address(guest: u16) -> String {
    format!("10.1.{}.{}", guest / 250, guest % 250 + 1)
}

fn crowd() -> String {
    let mut text = with(&[]);
    for guest in 0..GUESTS {
        let address = address(guest);
        write!(
            text,
            "---\napiVersion: v1\nkind: Pod\nmetadata: {{ name: guest-{guest}, namespace: shop, labels: {{ app: guest-{guest} }} }}\n\
             status: {{ phase: Running, podIPs: [ {{ ip: {address} }} ] }}\n"
        )
        .expect("text grows");
    }
    text
}

fn policy() -> String {
    let from = |guest| format!("{{ podSelector: {{ matchLabels: {{ app: guest-{guest} }} }} }}");
    // One by one: guests whom no selector tells apart would be one identity.
    let all: Vec<String> = (0..GUESTS).map(from).collect();
    let mut text = format!(
        "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{ name: guests, namespace: shop }}\n\
         spec:\n  podSelector: {{ matchLabels: {{ app: cart }} }}\n  policyTypes: [Ingress]\n  ingress:\n  \
         - {{ from: [ {} ], ports: [ {{ port: 80 }} ] }}\n",
        all.join(", ")
    );
    for guest in 0..NAMED {
        writeln!(
            text,
            "  - {{ from: [ {} ], ports: [ {{ port: {} }} ] }}",
            from(guest),
            own_port(guest)
        )
        .expect("text grows");
    }
    text
}

const fn own_port(guest: u16) -> u16 {
    8_000 + 2 * guest
}

#[test]
fn thousands_of_classes_and_cells_are_there_whole_and_go_whole() {
    sandbox(|bpffs| {
        let mut options = options(bpffs);
        options.audit_interval = Duration::ZERO;
        let crowd = crowd();
        let mut desk = Desk::with(&options, &(crowd.clone() + &policy()));
        let mut local = 1000;
        let mut passes = |desk: &Desk, guest: u16, port: u16| {
            local += 1;
            let syn = tcp(Way::In, (POD[0], port), (&address(guest), local), SYN);
            desk.passes(Way::In, &syn)
        };
        for guest in [0, 1, 57, NAMED - 1] {
            assert!(passes(&desk, guest, 80) && passes(&desk, guest, own_port(guest)));
            assert!(!passes(&desk, guest, own_port(guest + 1)));
        }
        assert!(passes(&desk, GUESTS - 1, 80) && !passes(&desk, GUESTS - 1, own_port(1)));
        let classes = desk.kernel.installed().classes.len();
        assert!(classes >= usize::from(GUESTS), "{classes}");
        for _ in 0..600 {
            desk.kernel.audit();
        }
        let drift = desk.kernel.counters().expect("the maps can be read").drift;
        assert_eq!(drift.values().sum::<u64>(), 0, "{drift:?}");

        // One in their midst is gone already: the others go all the same.
        let maps = desk.kernel.maps();
        let one = maps.classes.keys().nth(classes / 2).unwrap().unwrap();
        maps.classes.remove(&one).unwrap();
        desk.apply(&crowd);
        assert_eq!(desk.kernel.maps().classes.keys().count(), 0);
        assert!(passes(&desk, 0, own_port(1)), "nothing isolates the pod");
        desk.apply(&(crowd + &policy()));
        assert!(!passes(&desk, 0, own_port(1)) && passes(&desk, 0, 80));
    });
}
