//! Event by event: the compiler with a memory says what a fresh one says, and the plans that go on from what is in force
//! lead there without a mixture.

use std::{collections::BTreeMap, net::IpAddr};

use proptest::prelude::*;
use ringfence_agent::{
    compile::{Compiler, Desired, Endpoint, Options, compile},
    dataplane::fake::FakeMaps,
    diff::{Limits, Planner, Wanted},
    model::{PodKey, Protocol, Snapshot},
};
use ringfence_common::{
    Direction,
    cell::{Tier, Verdict},
    judge::{Tables as _, decide},
};

use super::{DIRECTIONS, history, worlds};

type Port = Option<(Protocol, u16)>;

/// What is said of one flow: both verdicts, the tier, the rule by name.
type Said = Option<(Verdict, Verdict, Tier, Option<String>)>;

fn said(desired: &Desired, flow: &Flow) -> Said {
    let cell = desired.cell(&flow.pod, flow.direction, flow.peer, flow.port)?;
    let rule = cell.rule.map(|rule| desired.rules[&rule].clone());
    Some((cell.live, cell.staged, cell.tier, rule))
}

#[derive(Clone, Debug)]
struct Flow {
    pod: PodKey,
    direction: Direction,
    peer: IpAddr,
    port: Port,
}

/// Flows of all endpoints; each `sparse`-th address and port only.
fn flows(snapshot: &Snapshot, desired: &Desired, sparse: usize) -> Vec<Flow> {
    let mut flows = Vec::new();
    for pod in desired.endpoints.keys() {
        for direction in DIRECTIONS {
            for peer in worlds::addresses(snapshot).into_iter().step_by(sparse) {
                for port in worlds::ports().into_iter().step_by(5 * sparse) {
                    flows.push(Flow {
                        pod: pod.clone(),
                        direction,
                        peer,
                        port,
                    });
                }
            }
        }
    }
    flows
}

/// What the maps say: allowed or not; `None` if they do not know the endpoint.
fn judged(maps: &FakeMaps, ifindex: u32, flow: &Flow) -> Option<bool> {
    let word = maps.endpoint(ifindex);
    let record = maps.record(word.slot())?;
    let table = match flow.direction {
        Direction::Ingress => &record.ingress,
        Direction::Egress => &record.egress,
    };
    let (protocol, port) = flow
        .port
        .map_or((1, 0), |(protocol, port)| (protocol.number(), port));
    let cell = match flow.peer.to_canonical() {
        IpAddr::V4(peer) => decide(maps, table, &peer.octets(), protocol, port),
        IpAddr::V6(peer) => decide(maps, table, &peer.octets(), protocol, port),
    };
    Some(cell.expect("every cell is written").live() == Some(Verdict::Allow))
}

fn allows(desired: &Desired, flow: &Flow) -> bool {
    said(desired, flow).is_none_or(|it| it.0 == Verdict::Allow)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(debug_assertions) { 24 } else { 256 }, ..ProptestConfig::default() })]

    #[test]
    fn after_any_events_the_result_is_that_of_a_fresh_compiler(history in history::history()) {
        let mut compiler = Compiler::new(Options::default());
        for snapshot in &history {
            let (desired, diagnostics) = compiler.update(snapshot);
            let (fresh, expected) = compile(snapshot, &Options::default());
            prop_assert_eq!(diagnostics, expected);
            prop_assert!(desired.endpoints.keys().eq(fresh.endpoints.keys()));
            prop_assert!(desired.addresses.keys().eq(fresh.addresses.keys()));
            for (net, signature) in &desired.addresses {
                prop_assert_eq!(&desired.signatures[signature], &fresh.signatures[&fresh.addresses[net]], "{}", net);
            }
            prop_assert_eq!(desired.signatures.len(), fresh.signatures.len());
            prop_assert!(desired.rules.len() >= fresh.rules.len());
            prop_assert_eq!(&desired.node_addresses, &fresh.node_addresses);
            for (key, endpoint) in &desired.endpoints {
                // Numbers of tables are others; what they say is asked below.
                let expected = Endpoint {
                    ingress: endpoint.ingress,
                    egress: endpoint.egress,
                    ..fresh.endpoints[key].clone()
                };
                prop_assert_eq!(endpoint, &expected);
            }
            for flow in flows(snapshot, &fresh, 2) {
                prop_assert_eq!(said(&desired, &flow), said(&fresh, &flow), "{:?}", flow);
            }
        }
        // Without anybody there is nothing left.
        let (nothing, _) = compiler.update(&Snapshot::default());
        prop_assert_eq!(nothing.rules.len() + nothing.tables.len() + nothing.addresses.len(), 0);
        prop_assert_eq!(nothing.signatures.len(), 1, "the empty one");
    }

    #[test]
    fn plans_lead_from_event_to_event_without_a_mixture(history in history::history()) {
        let limits = Limits::default();
        let grants = BTreeMap::new();
        let mut compiler = Compiler::new(Options::default());
        let mut planner = Planner::default();
        let mut maps = FakeMaps::default();
        let mut before = Desired::default();
        for snapshot in &history {
            let (desired, _) = compiler.update(snapshot);
            let wanted = Wanted { desired: &desired, grants: &grants };
            let plan = planner.plan(wanted, &limits).unwrap();
            let flows = flows(snapshot, &desired, 3);
            for op in &plan.ops {
                maps.execute(op);
                for flow in &flows {
                    let ifindex = desired.endpoints[&flow.pod].located.ifindex;
                    let Some(got) = judged(&maps, ifindex, flow) else { continue };
                    let legal = [allows(&before, flow), allows(&desired, flow)];
                    prop_assert!(legal.contains(&got), "{:?}: {:?} {}", op, flow, got);
                }
            }
            for flow in &flows {
                let ifindex = desired.endpoints[&flow.pod].located.ifindex;
                prop_assert_eq!(judged(&maps, ifindex, flow), Some(allows(&desired, flow)), "{:?}", flow);
            }
            planner.done(plan);
            prop_assert_eq!(&maps.read(), planner.installed(), "what is read back is what was planned");
            let again = planner.plan(wanted, &limits).unwrap();
            prop_assert_eq!(again.ops, vec![], "a second time there is nothing to do");
            // The plan that looks at everything finds nothing to do either.
            let adopted = Planner::new(maps.read()).plan(wanted, &limits).unwrap();
            prop_assert_eq!(adopted.ops, vec![], "nor for an agent that adopts it");
            before = desired;
        }
    }
}
