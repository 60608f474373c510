//! The metadata firewall's set, step by step: an address that is denied before and after a change is at no step open to a pod
//! that has no grant for it before or after.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use proptest::{
    collection::{btree_map, btree_set, vec},
    prelude::*,
    sample::select,
};
use ringfence_agent::{
    compile::{Access, Denied, Desired, Endpoint, Metadata},
    dataplane::fake::FakeMaps,
    diff::{Bits, Installed, Limits, NOBODY, Op, Planner, Wanted, deny_missing, diff},
    model::{EndpointKind, Located, PodKey, Protocol},
};
use ringfence_common::{
    endpoint::EndpointRecord,
    judge::{Asked, Tables as _, endpoint_at},
    metadata::{Grants, embedded, halves, mapped},
};

const ADDRESSES: [&str; 5] = [
    "169.254.169.254",
    "100.100.100.200",
    "10.0.0.9",
    "fd00:ec2::254",
    "fd00:9::9",
];
const NAMES: [&str; 4] = ["a", "b", "c", "d"];
const PORTS: [Option<(Protocol, u16)>; 4] = [
    None,
    Some((Protocol::Tcp, 80)),
    Some((Protocol::Tcp, 8080)),
    Some((Protocol::Udp, 53)),
];
/// Pods; the last has no interface, only a cgroup.
const PODS: usize = 3;

/// An address's endpoint, what stays open there, the ports that are denied.
type Said = (&'static str, u8, Option<BTreeSet<(Protocol, u16)>>);

/// What is denied where, and who may reach what.
#[derive(Clone, Debug)]
struct World {
    audited: bool,
    denied: BTreeMap<&'static str, Said>,
    reach: Vec<BTreeSet<&'static str>>,
}

fn world() -> impl Strategy<Value = World> {
    let ports = btree_set(
        select(vec![
            (Protocol::Tcp, 80),
            (Protocol::Tcp, 8080),
            (Protocol::Udp, 53),
        ]),
        1..3,
    );
    let ports = proptest::option::of(ports);
    let denied = (select(&NAMES[..]), 0_u8..2, ports);
    let denied = btree_map(select(&ADDRESSES[..]), denied, 0..=ADDRESSES.len());
    let reach = vec(btree_set(select(&NAMES[..]), 0..3), PODS);
    let audited = proptest::bool::weighted(0.25);
    (audited, denied, reach).prop_map(|(audited, denied, reach)| World {
        audited,
        denied,
        reach,
    })
}

impl World {
    fn metadata(&self) -> Metadata {
        let endpoints = NAMES.map(|name| (Arc::from(name), EndpointKind::Service));
        let denied = self.denied.iter().map(|(address, (name, open, ports))| {
            let denied = Denied {
                endpoint: (*name).into(),
                open: *open,
                ports: ports.clone(),
            };
            (address.parse().unwrap(), denied)
        });
        Metadata {
            audited: self.audited,
            endpoints: endpoints.into(),
            addresses: denied.collect(),
        }
    }

    fn access(&self, pod: usize) -> Access {
        let reach: BTreeSet<Arc<str>> = self.reach[pod].iter().map(|&name| name.into()).collect();
        Access {
            ask: reach.clone(),
            reach,
        }
    }

    fn desired(&self) -> Desired {
        let mut desired = Desired {
            metadata: Arc::new(self.metadata()),
            ..Desired::default()
        };
        for pod in 0..PODS - 1 {
            let key = PodKey {
                namespace: "ns".to_owned(),
                name: format!("pod{pod}"),
            };
            let located = Located {
                ifindex: ifindex(pod),
                interface: format!("veth{pod}"),
                hardware_address: None,
                addresses: Vec::new(),
            };
            let endpoint = Endpoint {
                uid: String::new(),
                located,
                addresses: Vec::new(),
                ingress: None,
                egress: None,
                metadata: Arc::new(self.access(pod)),
                encapsulates: false,
                cgroup: String::new(),
            };
            desired.endpoints.insert(key, endpoint);
        }
        desired
    }

    fn grants(&self) -> BTreeMap<u64, Arc<Access>> {
        BTreeMap::from([(CGROUP, Arc::new(self.access(PODS - 1)))])
    }

    /// True if the address is denied at this port, whoever asks.
    fn denies(&self, address: &str, port: Option<(Protocol, u16)>) -> bool {
        let metadata = self.metadata();
        let denied = metadata.addresses.get(&address.parse::<IpAddr>().unwrap());
        denied.is_some_and(|denied| denied.is_denied(port))
    }

    fn lets(&self, pod: usize, address: &str) -> bool {
        self.audited || self.grants_to(pod, address)
    }

    fn grants_to(&self, pod: usize, address: &str) -> bool {
        let named = self.denied.get(address);
        named.is_some_and(|(name, ..)| self.reach[pod].contains(name))
    }
}

const CGROUP: u64 = 77;

fn ifindex(pod: usize) -> u32 {
    u32::try_from(pod).unwrap() + 10
}

/// True if the programs let the pod reach it, as they would find out.
fn is_open(maps: &FakeMaps, pod: usize, address: &str, port: Option<(Protocol, u16)>) -> bool {
    let address = match address.parse().unwrap() {
        IpAddr::V4(address) => mapped(&address.octets()),
        IpAddr::V6(address) => address.octets(),
    };
    assert!(embedded(&address).is_none_or(|it| it == address));
    if !maps.may_be_metadata(&address) {
        return true;
    }
    let asked = match port {
        Some((protocol, port)) => Asked::new(protocol.number(), Some(port)),
        // ICMP has none, and is no fragment.
        None => Asked::new(1, Some(0)),
    };
    let (first, second) = halves(&address);
    let needed = endpoint_at(maps, first, second, asked);
    let grants = if pod == PODS - 1 {
        maps.catalogue.grants.get(&CGROUP).copied().unwrap_or(0)
    } else {
        let record = maps.record(maps.endpoint(ifindex(pod)).slot());
        record.map_or(0, |record: &EndpointRecord| record.grants)
    };
    let grants = Grants(grants);
    assert_eq!(grants.reach(), grants.ask());
    needed & !grants.reach() == 0 || maps.config().is_metadata_audited()
}

/// Every question: pod, address, port.
fn questions() -> impl Iterator<Item = (usize, &'static str, Option<(Protocol, u16)>)> {
    (0..PODS).flat_map(|pod| {
        ADDRESSES
            .into_iter()
            .flat_map(move |address| PORTS.map(|port| (pod, address, port)))
    })
}

fn holds(maps: &FakeMaps, before: &World, after: &World) -> Result<(), TestCaseError> {
    for (pod, address, port) in questions() {
        let denied = before.denies(address, port) && after.denies(address, port);
        let granted = before.lets(pod, address) || after.lets(pod, address);
        if denied && !granted {
            prop_assert!(
                !is_open(maps, pod, address, port),
                "pod {pod} {address} {port:?}"
            );
        }
    }
    Ok(())
}

fn is_there(maps: &FakeMaps, world: &World) -> Result<(), TestCaseError> {
    for (pod, address, port) in questions() {
        let expected = !world.denies(address, port) || world.lets(pod, address);
        prop_assert_eq!(
            is_open(maps, pod, address, port),
            expected,
            "pod {} {} {:?}",
            pod,
            address,
            port
        );
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 100 } else { 3000 }))]

    /// Through a random history, at every step of every plan, by a planner that goes on and by one that looks at everything.
    #[test]
    fn no_step_opens_what_is_denied(worlds in vec(world(), 2..6)) {
        let limits = Limits::default();
        let mut planner = Planner::default();
        let mut maps = FakeMaps::default();
        let mut before: Option<World> = None;
        for world in worlds {
            let (desired, grants) = (world.desired(), world.grants());
            let wanted = Wanted { desired: &desired, grants: &grants };
            let plan = planner.plan(wanted, &limits).unwrap();
            for op in &plan.ops {
                maps.execute(op);
                if let Some(before) = &before {
                    holds(&maps, before, &world)?;
                }
            }
            is_there(&maps, &world)?;
            prop_assert!(planner.installed() != &plan.after || plan.ops.is_empty());
            planner.done(plan);
            prop_assert_eq!(&maps.read(), planner.installed(), "what is read back is what was planned");
            prop_assert!(planner.holds_grants(&grants, &desired));
            let again = diff(planner.installed(), wanted, &limits).unwrap();
            prop_assert_eq!(again.ops, Vec::<Op>::new(), "a second time there is nothing to do");
            before = Some(world);
        }
    }

    /// A packet that read its grants before any step and asks for the address after it: what a grace period is for.
    #[test]
    fn no_packet_under_way_gets_through_either(old in world(), new in world()) {
        let limits = Limits::default();
        let mut maps = FakeMaps::default();
        let mut planner = Planner::default();
        let (desired, grants) = (old.desired(), old.grants());
        let plan = planner.plan(Wanted { desired: &desired, grants: &grants }, &limits).unwrap();
        plan.ops.iter().for_each(|op| maps.execute(op));
        planner.done(plan);
        let (desired, grants) = (new.desired(), new.grants());
        let plan = planner.plan(Wanted { desired: &desired, grants: &grants }, &limits).unwrap();
        let record = |maps: &FakeMaps, pod| {
            let record = maps.record(maps.endpoint(ifindex(pod)).slot());
            record.map_or(0, |record| record.grants)
        };
        let mut read: Vec<u64> = (0..PODS - 1).map(|pod| record(&maps, pod)).collect();
        for op in &plan.ops {
            maps.execute(op);
            if *op == Op::Grace {
                read = (0..PODS - 1).map(|pod| record(&maps, pod)).collect();
            }
            for (pod, address, port) in questions().filter(|(pod, ..)| *pod < PODS - 1) {
                let denied = old.denies(address, port) && new.denies(address, port);
                if !denied || old.lets(pod, address) || new.lets(pod, address) {
                    continue;
                }
                let key = match address.parse().unwrap() {
                    IpAddr::V4(address) => mapped(&address.octets()),
                    IpAddr::V6(address) => address.octets(),
                };
                let (first, second) = halves(&key);
                let asked = port.map_or(Asked::new(1, Some(0)), |(protocol, port)| Asked::new(protocol.number(), Some(port)));
                let needed = endpoint_at(&maps, first, second, asked);
                prop_assert!(needed & !Grants(read[pod]).reach() != 0, "pod {pod} {address} {port:?} after {op:?}");
            }
        }
    }

    /// Killed at any operation: the way on is as safe.
    #[test]
    fn a_crash_opens_nothing(old in world(), new in world(), at in any::<prop::sample::Index>()) {
        let limits = Limits::default();
        let mut maps = FakeMaps::default();
        let (desired, grants) = (old.desired(), old.grants());
        let plan = diff(&Installed::default(), Wanted { desired: &desired, grants: &grants }, &limits).unwrap();
        plan.ops.iter().for_each(|op| maps.execute(op));
        let (desired, grants) = (new.desired(), new.grants());
        let wanted = Wanted { desired: &desired, grants: &grants };
        let plan = diff(&maps.read(), wanted, &limits).unwrap();
        plan.ops[..at.index(plan.ops.len() + 1)].iter().for_each(|op| maps.execute(op));
        let plan = diff(&maps.read(), wanted, &limits).unwrap();
        for op in &plan.ops {
            maps.execute(op);
            holds(&maps, &old, &new)?;
        }
        is_there(&maps, &new)?;
        let again = diff(&maps.read(), wanted, &limits).unwrap();
        prop_assert_eq!(again.ops, Vec::<Op>::new());
    }
}

/// An audit that ends as grants are written, and one that begins as they go: nobody is denied on the way who may before and after.
#[test]
fn an_audit_ends_when_grants_are_in_force_and_begins_before_they_go() {
    let world = |audited, reach: &[&'static str]| World {
        audited,
        denied: BTreeMap::from([("169.254.169.254", ("a", 0, None))]),
        reach: vec![reach.iter().copied().collect(); PODS],
    };
    let limits = Limits::default();
    for (before, after) in [
        (world(true, &[]), world(false, &["a"])),
        (world(false, &["a"]), world(true, &[])),
    ] {
        let mut maps = FakeMaps::default();
        let mut planner = Planner::default();
        let mut ask = |world: &World, maps: &mut FakeMaps, first: bool| {
            let (desired, grants) = (world.desired(), world.grants());
            let wanted = Wanted {
                desired: &desired,
                grants: &grants,
            };
            let plan = planner.plan(wanted, &limits).unwrap();
            for op in &plan.ops {
                maps.execute(op);
                for pod in 0..PODS {
                    let open = is_open(maps, pod, "169.254.169.254", PORTS[1]);
                    assert!(first || open, "pod {pod} after {op:?}");
                }
            }
            assert_eq!(maps.config.is_metadata_audited(), world.audited);
            planner.done(plan);
        };
        ask(&before, &mut maps, true);
        ask(&after, &mut maps, false);
    }
}

#[test]
fn the_catalogue_is_denied_to_everybody_before_there_is_a_plan_and_what_is_there_stays() {
    let mut maps = FakeMaps::default();
    let built_in = Metadata::default();
    let ops = deny_missing(&Installed::default(), &built_in);
    ops.iter().for_each(|op| maps.execute(op));
    let installed = maps.read();
    assert_eq!(installed.metadata.len(), built_in.addresses.len());
    let nobodys = |word: &ringfence_common::metadata::MetadataWord| word.endpoint() == 1 << NOBODY;
    assert!(installed.metadata.values().all(nobodys));
    for (address, denied) in &built_in.addresses {
        for port in PORTS {
            let address = address.to_string();
            let open = is_open(&maps, 0, &address, port);
            assert_eq!(open, !denied.is_denied(port), "{address} {port:?}");
        }
    }
    // What an earlier agent has left is in force as it is.
    let world = World {
        audited: false,
        denied: BTreeMap::from([("10.0.0.9", ("a", 0, None))]),
        reach: vec![BTreeSet::from(["a"]); PODS],
    };
    let (desired, grants) = (world.desired(), world.grants());
    let wanted = Wanted {
        desired: &desired,
        grants: &grants,
    };
    let mut maps = FakeMaps::default();
    let plan = diff(&Installed::default(), wanted, &Limits::default()).unwrap();
    plan.ops.iter().for_each(|op| maps.execute(op));
    let ops = deny_missing(&maps.read(), &built_in);
    ops.iter().for_each(|op| maps.execute(op));
    assert!(is_open(&maps, 0, "10.0.0.9", PORTS[1]));
    assert!(!is_open(&maps, 0, "169.254.169.254", PORTS[1]));
}

#[test]
fn an_endpoint_keeps_its_bit_and_what_is_too_much_is_refused() {
    let metadata = Metadata::default();
    let bits = Bits::of(&Installed::default(), &metadata);
    let all = |names: &[&str]| {
        let names: BTreeSet<Arc<str>> = names.iter().map(|&name| name.into()).collect();
        Access {
            reach: BTreeSet::new(),
            ask: names,
        }
    };
    let imds = bits.grants(&all(&["imds"]));
    assert_eq!((imds.reach(), imds.ask().count_ones()), (0, 1));
    assert_eq!(bits.grants(&all(&["no-such"])), Grants::NONE);
    let mut desired = Desired::default();
    let grants = BTreeMap::new();
    let plan = |installed: &Installed, desired: &Desired| {
        let wanted = Wanted {
            desired,
            grants: &grants,
        };
        diff(installed, wanted, &Limits::default())
    };
    let installed = plan(&Installed::default(), &desired).unwrap().after;
    let mut more = Metadata::default();
    let denied = |name: &str| Denied {
        endpoint: name.into(),
        open: 0,
        ports: None,
    };
    let address = |last: u16| IpAddr::from([10, 0, last.to_be_bytes()[0], last.to_be_bytes()[1]]);
    more.endpoints.insert("aaa".into(), EndpointKind::Service);
    more.addresses.insert(address(1), denied("aaa"));
    assert_eq!(Bits::of(&installed, &more).grants(&all(&["imds"])), imds);
    for last in 0..1024 {
        more.addresses.insert(address(last), denied("aaa"));
    }
    desired.metadata = Arc::new(more);
    let full = plan(&installed, &desired).unwrap_err();
    assert_eq!((full.map, full.limit), ("METADATA", 1024));
}
