//! Devices that go while programs are being attached to them.

use std::{
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use ringfence_agent::{compile::Desired, dataplane::Kernel as _};
use ringfence_tests::{desk::Desk, sandbox::sandbox};

use super::world;

fn ip(words: &[&str]) -> bool {
    let run = Command::new("ip").args(words).output();
    run.expect("iproute2 is installed").status.success()
}

#[test]
fn a_device_that_goes_while_it_is_being_guarded_refuses_no_state() {
    let manifests = world(&[]).replace("name: t }", "name: shop }")
        + "---\napiVersion: v1\nkind: Pod\nmetadata: { name: cart, namespace: shop, labels: { app: cart } }\n\
           status: { phase: Running, podIPs: [ { ip: 10.0.0.10 } ] }\n";
    sandbox(move |bpffs| {
        let mut desk = Desk::new(bpffs, &manifests);
        let desired = desk.compile(&manifests);
        let mut last = desired.clone();
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    ip(&[
                        "link", "add", "veth0", "type", "veth", "peer", "name", "veth1",
                    ]);
                    ip(&["link", "del", "veth0"]);
                }
            });
            let mut found = 0;
            while found < 300 {
                let Ok(ifindex) = nix::net::if_::if_nametoindex("veth0") else {
                    continue;
                };
                found += 1;
                last = at(&desired, ifindex);
                let applied = desk.kernel.apply(&last);
                if let Err(error) = applied {
                    done.store(true, Ordering::Relaxed);
                    panic!("{error}");
                }
            }
            done.store(true, Ordering::Relaxed);
        });
        // It is gone, and what was attached to it and to those before it is too.
        desk.kernel.apply(&last).unwrap();
        let mut links = desk.kernel.objects().unwrap();
        links.retain(|object| object.kind == "link");
        assert!(
            links.iter().all(|link| link.pin.contains("/links/1-")),
            "{links:?}"
        );
        let programs = desk.kernel.programs().unwrap();
        let from_pod = programs.iter().find(|program| program.name == "from_pod");
        assert_eq!(
            from_pod.unwrap().attached,
            Some(true),
            "at the loopback device"
        );
    });
}

/// The same with the pod's device at this index.
pub(super) fn at(desired: &Desired, ifindex: u32) -> Desired {
    let mut desired = desired.clone();
    let pods: Vec<_> = desired.endpoints.keys().cloned().collect();
    for pod in pods {
        let endpoint = desired.endpoints.get_mut(&pod).expect("it is there");
        endpoint.located.ifindex = ifindex;
    }
    desired
}
