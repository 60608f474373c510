//! The metadata firewall behind pods' devices: each layer alone, for forwarded packets and for those of this machine's sockets.
//!
//! The kernel's test run gives a packet a socket of the process that runs it, and so its cgroup: which of the cgroups is taken
//! for the pods' root decides whose packets they are.

mod audit;
mod forms;

use std::{
    fs,
    net::IpAddr,
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
};

use ringfence_agent::lab::names;
use ringfence_common::{
    Hook,
    config::Config,
    event::Reason,
    mark::{MarkLayout, Stamp},
    metadata::{Grants, layers},
};
use ringfence_tests::{
    desk::{self, Desk, own_cgroup},
    packet::{Way, tcp::ACK, tcp::SYN},
    sandbox::sandbox,
};

use super::{
    FRIEND, POD, WORLD,
    metadata::{ADDRESSES, granted},
    tcp, udp,
};

/// The pod's device.
const OWN: u32 = 1;
/// A device that leads off the node.
const UPLINK: u32 = 7;
/// A bridge of pods.
const BRIDGE: u32 = 9;
/// Bits of the mark that are somebody else's.
const OTHERS: u32 = 0x4080;
/// A cgroup that is not this process's, nor above it.
const ELSEWHERE: u64 = 1 << 40;

/// A cgroup for hooks on sockets, which nobody is in.
struct Empty(PathBuf);

impl Empty {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("desk{}x{number}", std::process::id());
        let path = names::pods_cgroup(&name).expect("cgroup2");
        fs::create_dir(&path).expect("tests run as root");
        Self(path)
    }
}

impl Drop for Empty {
    fn drop(&mut self) {
        // What is left would be an empty directory.
        let _: std::io::Result<()> = fs::remove_dir(&self.0);
    }
}

/// Runs `body` with the pod on the desk under these manifests, all programs loaded.
fn on_the_desk(manifests: &str, body: impl FnOnce(&mut Desk) + Send + 'static) {
    let manifests = manifests.to_owned();
    sandbox(move |bpffs| {
        let (pods, node) = (Empty::new(), Empty::new());
        let options = ringfence_agent::dataplane::Options {
            cgroup_root: Some(pods.0.clone()),
            node_cgroup: Some(node.0.clone()),
            ..desk::options(bpffs)
        };
        let mut desk = Desk::with(&options, &manifests);
        let uplinks = &mut desk.kernel.maps().uplinks;
        uplinks.insert(UPLINK, 1, 0).expect("there is room");
        body(&mut desk);
    });
}

/// Tells the programs something else.
fn configure(desk: &mut Desk, change: impl FnOnce(&mut Config)) {
    let config = &mut desk.kernel.maps().config;
    let mut now = config.get(&0, 0).expect("one element");
    change(&mut now);
    config.set(0, now, 0).expect("one element");
}

fn grant(desk: &mut Desk, grants: Grants) {
    let map = &mut desk.kernel.maps().grants;
    map.insert(own_cgroup(), grants.0, 0)
        .expect("there is room");
}

fn marked(stamp: Stamp) -> u32 {
    MarkLayout::DEFAULT.stamped(OTHERS, stamp)
}

fn passes(desk: &Desk, program: &str, frame: &[u8], ingress: u32, stamp: Stamp) -> bool {
    desk.hook(program, frame, ingress, marked(stamp)).is_some()
}

fn syn(family: usize, to: &str) -> Vec<u8> {
    tcp(Way::Out, (POD[family], 4000), (to, 80), SYN)
}

#[test]
fn a_forwarded_packet_needs_the_proof_of_its_device_or_of_a_pods_own_hook() {
    on_the_desk(&granted(), |desk| {
        let place = Stamp(desk.place());
        for hook in ["to_host", "to_node"] {
            for (family, address) in ADDRESSES {
                let syn = syn(family, address);
                let pass = |ingress, stamp| passes(desk, hook, &syn, ingress, stamp);
                assert!(pass(OWN, place), "{hook}: {address} by its device");
                assert!(pass(BRIDGE, place), "{hook}: {address} by its mark");
                for forged in [Stamp::FINAL, Stamp(place.0 + 1), Stamp(9999)] {
                    assert!(!pass(BRIDGE, forged), "{hook}: {address}, {forged:?}");
                }
                assert!(!pass(UPLINK, place), "{hook}: {address} from outside");
            }
        }
        for (family, address) in ADDRESSES {
            let syn = syn(family, address);
            let pass = |ingress| passes(desk, "to_host", &syn, ingress, Stamp::NONE);
            assert!(pass(OWN), "{address}: a mark that was written over");
            assert!(!pass(BRIDGE), "{address}: its address alone is no proof");
            assert!(!pass(UPLINK), "{address}");
        }
        let events = desk.events();
        assert!(events.iter().all(|event| event.reason == Reason::Metadata));
        let told = |hook| events.iter().any(|event| event.hook == hook);
        assert!(told(Hook::ToHost) && told(Hook::ToNode));
        let address: IpAddr = ADDRESSES[0].1.parse().expect("an address");
        assert!(
            events
                .iter()
                .any(|it| it.destination == address && it.destination_port == 80)
        );
        // Taking the grant back ends what is under way.
        desk.apply(WORLD);
        let ack = tcp(Way::Out, (POD[0], 4000), (ADDRESSES[0].1, 80), ACK);
        for ingress in [OWN, BRIDGE] {
            assert!(!passes(desk, "to_host", &ack, ingress, place));
        }
        for ingress in [0, OWN, BRIDGE, UPLINK] {
            let other = udp(Way::Out, (POD[0], 4000), ("203.0.113.9", 80));
            assert!(passes(desk, "to_host", &other, ingress, Stamp::NONE));
            let dns = udp(Way::Out, (POD[0], 4000), (ADDRESSES[0].1, 53));
            assert!(passes(desk, "to_host", &dns, ingress, Stamp::NONE));
        }
    });
}

#[test]
fn a_packet_of_this_machine_passes_by_its_sockets_cgroup_and_never_by_a_mark() {
    on_the_desk(&granted(), |desk| {
        let place = Stamp(desk.place());
        let known = Grants::new(1, 0);
        let elsewhere = Grants::new(1 << 31, 0);
        let asks = Grants::new(0, u32::MAX);
        let reach = ["to_host", "to_lo"];
        for (whose, pods, granted, allowed) in [
            ("nobody is told apart", 0, None, true),
            ("the node's", ELSEWHERE, None, true),
            ("an unknown pod's", own_cgroup(), None, false),
            ("a pod's without", own_cgroup(), Some(Grants::NONE), false),
            ("a pod's with another", own_cgroup(), Some(elsewhere), false),
            ("a pod's that may ask", own_cgroup(), Some(asks), false),
            ("a pod's with", own_cgroup(), Some(known), true),
        ] {
            configure(desk, |config| config.pods_cgroup = pods);
            if let Some(granted) = granted {
                grant(desk, granted);
            }
            for hook in reach {
                let packet = syn(0, "169.254.169.254");
                for stamp in [Stamp::NONE, place, Stamp::FINAL] {
                    let found = passes(desk, hook, &packet, 0, stamp);
                    assert_eq!(found, allowed, "{hook}: {whose}, {stamp:?}");
                }
                let v6 = passes(desk, hook, &syn(1, "64:ff9b::a9fe:a9fe"), 0, place);
                assert_eq!(v6, allowed, "{hook}: {whose}");
                let other = syn(0, "203.0.113.9");
                assert!(passes(desk, hook, &other, 0, Stamp::NONE), "{hook}");
            }
        }
    });
}

#[test]
fn lo_loses_our_bits_of_the_mark_whoever_sends() {
    on_the_desk(&granted(), |desk| {
        let place = Stamp(desk.place());
        for stamp in [Stamp::NONE, place, Stamp::FINAL] {
            for layers in [layers::ALL, layers::ALL & !layers::LO] {
                configure(desk, |config| config.metadata_layers = layers);
                let packet = syn(0, "127.0.0.1");
                assert_eq!(desk.hook("to_lo", &packet, 0, marked(stamp)), Some(OTHERS));
            }
        }
        // What came by it and leaves: whoever wrote the mark, it was no pod's hook. (The pod on the desk has `lo` for its device.)
        desk.apply(&granted().replace("name: cart,", "name: other,"));
        let packet = syn(0, "169.254.169.254");
        assert!(!passes(desk, "to_host", &packet, OWN, place));
    });
}

#[test]
fn a_pair_of_the_nodes_own_keeps_the_mark_of_what_is_forwarded_only() {
    on_the_desk(&granted(), |desk| {
        let place = Stamp(desk.place());
        let hook = |desk: &Desk, frame: &[u8], ingress| {
            desk.hook("to_inner", frame, ingress, marked(place))
        };
        let other = syn(0, FRIEND[0]);
        assert_eq!(hook(desk, &other, 0), Some(OTHERS), "forged");
        for ingress in [OWN, BRIDGE, UPLINK] {
            assert_eq!(hook(desk, &other, ingress), Some(marked(place)));
            let metadata = syn(0, "169.254.169.254");
            assert!(hook(desk, &metadata, ingress).is_some(), "judged elsewhere");
        }
        configure(desk, |config| config.pods_cgroup = own_cgroup());
        for (family, address) in ADDRESSES {
            assert_eq!(hook(desk, &syn(family, address), 0), None, "{address}");
        }
        grant(desk, Grants::new(1, 0));
        let metadata = syn(0, "169.254.169.254");
        assert_eq!(hook(desk, &metadata, 0), Some(OTHERS));
    });
}

#[test]
fn what_pods_sockets_send_needs_a_grant_to_ask() {
    on_the_desk(WORLD, |desk| {
        let send = |desk: &Desk, frame: &[u8]| passes(desk, "from_socket", frame, 0, Stamp::NONE);
        configure(desk, |config| config.pods_cgroup = own_cgroup());
        for (family, address) in ADDRESSES {
            assert!(!send(desk, &syn(family, address)), "{address}");
        }
        assert!(send(
            desk,
            &udp(Way::Out, (POD[0], 4000), (ADDRESSES[0].1, 53))
        ));
        assert!(send(desk, &syn(0, FRIEND[0])) && send(desk, &syn(1, FRIEND[1])));
        let events = desk.events();
        assert_eq!(events.len(), ADDRESSES.len());
        assert!(events.iter().all(|it| it.hook == Hook::SocketPackets));
        grant(desk, Grants::new(0, u32::MAX));
        for (family, address) in ADDRESSES {
            assert!(send(desk, &syn(family, address)), "{address}");
        }
        grant(desk, Grants::NONE);
        assert!(!send(desk, &syn(0, ADDRESSES[0].1)), "taken back");
        // Below this hook all are pods'.
        configure(desk, |config| config.pods_cgroup = ELSEWHERE);
        assert!(!send(desk, &syn(0, ADDRESSES[0].1)));
    });
}

#[test]
fn a_layer_that_is_off_asks_nothing() {
    on_the_desk(WORLD, |desk| {
        let hooks = [
            ("from_pod", layers::FROM_POD),
            ("to_host", layers::TO_HOST),
            ("to_lo", layers::LO),
            ("from_socket", layers::SOCKET_PACKETS),
        ];
        for (_, on) in hooks {
            configure(desk, |config| {
                config.pods_cgroup = own_cgroup();
                config.metadata_layers = on;
            });
            for (hook, layer) in hooks {
                let found = passes(desk, hook, &syn(0, "169.254.169.254"), 0, Stamp::NONE);
                assert_eq!(found, layer != on, "{hook} with {on:#b}");
            }
        }
    });
}

#[test]
fn a_pod_with_a_grant_has_so_many_packets_and_no_more() {
    const SENT: usize = 400;
    on_the_desk(&granted(), |desk| {
        configure(desk, |config| {
            config.pods_cgroup = own_cgroup();
            config.metadata_packets_per_tick = 3;
        });
        grant(desk, Grants::ALL);
        for (hook, told) in [
            ("from_pod", Hook::FromPod),
            ("from_socket", Hook::SocketPackets),
        ] {
            let asked = (0..SENT)
                .filter(|_| passes(desk, hook, &syn(0, "169.254.169.254"), 0, Stamp::NONE));
            let passed = asked.count();
            assert!((3..SENT).contains(&passed), "{hook}: {passed}");
            let other = syn(0, FRIEND[0]);
            assert!(passes(desk, hook, &other, 0, Stamp::NONE), "{hook}");
            let events = desk.events();
            assert!(!events.is_empty(), "{hook}");
            for event in events {
                assert_eq!((event.hook, event.reason), (told, Reason::MetadataRate));
            }
        }
        configure(desk, |config| config.metadata_packets_per_tick = 0);
        let all =
            (0..SENT).all(|_| passes(desk, "from_pod", &syn(0, "169.254.169.254"), 0, Stamp::NONE));
        assert!(all, "any number");
    });
}

#[test]
fn the_set_is_in_force_before_any_pod_is_known() {
    sandbox(|bpffs| {
        let mut kernel = ringfence_agent::dataplane::open(&desk::options(bpffs))
            .unwrap_or_else(|error| panic!("{error}"));
        let endpoints = &ringfence_agent::metadata::catalogue().endpoints;
        for endpoint in endpoints.iter().flat_map(|it| &it.addresses) {
            let key = ringfence_agent::dataplane::maps::mapped(endpoint.address);
            let word = kernel.maps().metadata.get(&key, 0);
            assert!(
                word.is_ok_and(|word| word.is_of(&key)),
                "{}",
                endpoint.address
            );
        }
    });
}
