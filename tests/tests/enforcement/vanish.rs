//! Devices that go while programs are being attached to them.

use std::{
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use ringfence_agent::dataplane::Kernel as _;
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
                let mut desired = desired.clone();
                let pods: Vec<_> = desired.endpoints.keys().cloned().collect();
                for pod in pods {
                    let endpoint = desired.endpoints.get_mut(&pod).expect("it is there");
                    endpoint.located.ifindex = ifindex;
                }
                let applied = desk.kernel.apply(&desired);
                if let Err(error) = applied {
                    done.store(true, Ordering::Relaxed);
                    panic!("{error}");
                }
            }
            done.store(true, Ordering::Relaxed);
            eprintln!("vanished: {}", desk.kernel.counters().unwrap().vanished);
        });
    });
}
