//! A pod to itself, where its packets do cross its device: translated on the node, and back.

use std::net::Ipv6Addr;

use ringfence_agent::dataplane::fake::FakeMaps;
use ringfence_common::{
    Hook,
    cell::{Cell, Tier, Verdict},
    endpoint::{EndpointRecord, EndpointWord},
    event::Reason,
    judge::{Context, Outcome, judge},
    table::{NO_PAGES, TableRef},
};
use ringfence_tests::packet::{Way, tcp::SYN};

use super::{STRANGER, tcp};

const IFINDEX: u32 = 5;
const UPLINK: u32 = 7;
/// The pod's addresses.
const FIRST: [&str; 2] = ["10.0.0.10", "fd00::10"];
const SECOND: [&str; 2] = ["10.0.0.11", "fd00::11"];

/// A pod that may neither send nor receive.
fn closed() -> FakeMaps {
    let mut maps = FakeMaps::default();
    let table = TableRef {
        id: 1,
        cells: 1,
        pages: NO_PAGES,
        columns: 1,
        flags: 0,
    };
    let [first, second] = [FIRST[1], SECOND[1]]
        .map(|address| address.parse::<Ipv6Addr>().expect("an address").octets());
    let record = EndpointRecord {
        born: 1,
        addresses4: [[10, 0, 0, 10], [10, 0, 0, 11]],
        addresses6: [first, second, [0; 16], [0; 16]],
        ingress: table,
        egress: table,
        ..EndpointRecord::default()
    };
    maps.records.insert(1, record);
    maps.endpoints.insert(IFINDEX, EndpointWord::new(1, 1));
    let deny = Cell::new(Verdict::Deny, Verdict::Deny, Tier::NetworkPolicy, 1);
    maps.cells.insert(1, deny);
    maps
}

fn run(way: Way, local: &str, remote: &str, ingress: u32) -> Outcome {
    let hook = match way {
        Way::Out => Hook::FromPod,
        Way::In => Hook::ToPod,
    };
    let context = Context {
        hook,
        ifindex: IFINDEX,
        ingress,
        mark: 0,
    };
    let frame = tcp(way, (local, 4000), (remote, 80), SYN);
    judge(&closed(), &frame[..], &context)
}

#[test]
fn a_pod_reaches_itself_whatever_address_it_takes() {
    for family in 0..2 {
        let own = [FIRST[family], SECOND[family]];
        for from in own {
            for to in own {
                assert_eq!(run(Way::Out, from, to, 0), Outcome::allow(Reason::ToItself));
                assert_eq!(
                    run(Way::In, to, from, IFINDEX),
                    Outcome::allow(Reason::ToItself)
                );
                // From elsewhere somebody only has the address.
                for ingress in [0, UPLINK] {
                    assert_eq!(run(Way::In, to, from, ingress).verdict, Verdict::Deny);
                }
            }
            assert_eq!(
                run(Way::Out, from, STRANGER[family], 0).verdict,
                Verdict::Deny
            );
            assert_eq!(
                run(Way::Out, STRANGER[family], from, 0).reason,
                Reason::SpoofedAddress
            );
            assert_eq!(
                run(Way::In, from, STRANGER[family], IFINDEX).verdict,
                Verdict::Deny
            );
        }
    }
}
