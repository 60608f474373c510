//! Devices that were pods' and are the node's own by now, and the other way round.

use std::{collections::BTreeSet, path::PathBuf, process::Command, time::Duration};

use ringfence_agent::{
    compile::Desired,
    dataplane::{self, Attach, Kernel as _, Options},
    model::{HostDevice, HostKind, Objects},
};
use ringfence_tests::{
    desk::{Desk, options},
    lab::eventually,
    sandbox::sandbox,
};

use super::{vanish::at, world};

/// Index of the device that changes.
const DEVICE: u32 = 4242;

fn ip(words: &str) {
    let run = Command::new("ip").args(words.split(' ')).output();
    let output = run.expect("iproute2 is installed");
    assert!(output.status.success(), "ip {words}: {output:?}");
}

/// Makes a device with our index.
fn device(kind: &str) {
    ip(&format!("link add dev changing index {DEVICE} type {kind}"));
}

fn host(kind: HostKind) -> BTreeSet<HostDevice> {
    let device = HostDevice {
        ifindex: DEVICE,
        kind,
        ethernet: true,
        listens: None,
    };
    [device].into()
}

fn manifests(there: bool) -> String {
    let base = world(&[]).replace("name: t }", "name: shop }");
    let pod = "---\napiVersion: v1\nkind: Pod\nmetadata: { name: cart, namespace: shop, labels: { app: cart } }\n\
               status: { phase: Running, podIPs: [ { ip: 10.0.0.10 } ] }\n";
    base + if there { pod } else { "" }
}

/// What is wanted while a pod is at our device, and while none is.
fn states(desk: &Desk) -> [Desired; 2] {
    let there = at(&desk.compile(&manifests(true)), DEVICE);
    let mut none = there.clone();
    none.endpoints = Objects::default();
    [there, none]
}

/// Our programs that the device carries, by links or by filters.
fn carried() -> BTreeSet<String> {
    let all = dataplane::attached("changing").expect("the device is there");
    let links = all.into_iter().filter(|program| program.ours);
    let mut names: BTreeSet<String> = links.map(|program| program.name).collect();
    for side in ["ingress", "egress"] {
        let words = ["filter", "show", "dev", "changing", side];
        let run = Command::new("tc").args(words).output();
        let said = run.expect("iproute2 is installed").stdout;
        let said = String::from_utf8_lossy(&said).into_owned();
        let all = [
            "from_pod",
            "to_pod",
            "from_host",
            "to_host",
            "from_tunnel",
            "to_inner",
        ];
        let there = all.into_iter().filter(|name| said.contains(name));
        names.extend(there.map(str::to_owned));
    }
    names
}

/// Runs the test with links and with filters.
fn either_way(test: fn(Desk)) {
    for attach in [Attach::Auto, Attach::Clsact] {
        sandbox(move |bpffs: PathBuf| {
            let options = Options {
                attach,
                audit_interval: Duration::ZERO,
                ..options(bpffs)
            };
            test(Desk::with(&options, &manifests(true)));
        });
    }
}

fn is(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

/// Waits until these are all that it carries: the kernel detaches links a moment after their pins have gone.
fn becomes(names: &[&str]) {
    eventually("the programs are as they should", || {
        (carried() == is(names)).then_some(())
    });
}

#[test]
fn a_pods_device_that_becomes_the_nodes_own_loses_the_programs_of_pods() {
    either_way(|mut desk| {
        let [there, none] = states(&desk);
        let guard = |desk: &mut Desk, devices| desk.kernel.guard(&devices).expect("it is guarded");
        let apply = |desk: &mut Desk, state| {
            desk.kernel.apply(state).expect("it fits");
        };
        device("veth peer name other");
        apply(&mut desk, &there);
        assert_eq!(carried(), is(&["from_pod", "to_pod"]));

        // The pod goes after the device is known as an uplink, then before.
        guard(&mut desk, host(HostKind::Uplink));
        apply(&mut desk, &none);
        becomes(&["from_host", "to_host"]);
        audit(&mut desk);
        becomes(&["from_host", "to_host"]);
        guard(&mut desk, BTreeSet::new());
        becomes(&[]);
        apply(&mut desk, &there);
        apply(&mut desk, &none);
        assert_eq!(
            carried(),
            is(&["from_pod", "to_pod"]),
            "nobody knows what it is now"
        );
        guard(&mut desk, host(HostKind::Uplink));
        becomes(&["from_host", "to_host"]);

        // Back to a pod, which stays one whatever the devices' roles were a moment ago.
        apply(&mut desk, &there);
        assert!(carried().is_superset(&is(&["from_pod", "to_pod"])));
        guard(&mut desk, BTreeSet::new());
        becomes(&["from_pod", "to_pod"]);
    });
}

#[test]
fn a_bridge_that_has_the_index_of_a_pods_device_carries_nothing() {
    either_way(|mut desk| {
        let [there, none] = states(&desk);
        device("veth peer name other");
        desk.kernel.apply(&there).expect("it fits");
        ip("link del changing");
        device("bridge");
        desk.kernel
            .guard(&host(HostKind::Bridge))
            .expect("it is guarded");
        desk.kernel.apply(&none).expect("it fits");
        audit(&mut desk);
        becomes(&[]);
        assert_eq!(
            desk.kernel.counters().expect("the maps can be read").drift["attachment"],
            0
        );
    });
}

#[test]
fn a_tunnels_programs_are_found_in_order() {
    either_way(|mut desk| {
        device("vxlan id 7 dstport 4789");
        desk.kernel
            .guard(&host(HostKind::Tunnel))
            .expect("it is guarded");
        audit(&mut desk);
        assert_eq!(carried(), is(&["from_tunnel", "to_host"]));
        assert_eq!(
            desk.kernel.counters().expect("the maps can be read").drift["attachment"],
            0
        );
    });
}

#[test]
fn an_end_of_a_pair_has_its_program_until_the_other_end_is_elsewhere() {
    either_way(|mut desk| {
        let [there, none] = states(&desk);
        device("veth peer name other");
        let guard = |desk: &mut Desk, devices| desk.kernel.guard(&devices).expect("it is guarded");
        guard(&mut desk, host(HostKind::Inner));
        becomes(&["to_inner"]);
        audit(&mut desk);
        becomes(&["to_inner"]);
        assert_eq!(
            desk.kernel.counters().expect("the maps can be read").drift["attachment"],
            0
        );
        // It becomes a pod's device.
        guard(&mut desk, BTreeSet::new());
        desk.kernel.apply(&there).expect("it fits");
        becomes(&["from_pod", "to_pod"]);
        desk.kernel.apply(&none).expect("it fits");
        guard(&mut desk, host(HostKind::Inner));
        becomes(&["to_inner"]);
    });
}

/// More steps than two rounds have.
fn audit(desk: &mut Desk) {
    for _ in 0..400 {
        desk.kernel.audit();
    }
}
