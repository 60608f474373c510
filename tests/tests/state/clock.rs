//! How long a connection is remembered: the judge on the host, whose clock the test turns.

use ringfence_agent::dataplane::fake::FakeMaps;
use ringfence_common::{
    Hook,
    cell::{Cell, Tier, Verdict},
    config::Config,
    endpoint::{EndpointRecord, EndpointWord, Generation},
    judge::{Context, judge},
    mark::MarkLayout,
    table::{NO_PAGES, TableRef},
};
use ringfence_tests::packet::{
    Way,
    tcp::{ACK, FIN, RST, SYN},
};

use super::{FRIEND, POD, STRANGER, ping, tcp, udp};

const IFINDEX: u32 = 5;
const OUT: Hook = Hook::FromPod;
const IN: Hook = Hook::ToPod;
const MINUTE: u32 = 60;
const DAY: u32 = 24 * 3600;

/// A pod, policies that are one cell for each direction, and a clock that counts seconds.
struct Clock {
    maps: FakeMaps,
    generation: Generation,
}

impl Clock {
    fn new(ingress: Verdict, egress: Verdict) -> Self {
        let maps = FakeMaps {
            config: Config::for_hz(1, MarkLayout::DEFAULT, 500),
            now: u32::MAX - 30,
            ..FakeMaps::default()
        };
        let mut clock = Self {
            maps,
            generation: 0,
        };
        clock.set(ingress, egress);
        clock
    }

    /// Puts other policies in force.
    fn set(&mut self, ingress: Verdict, egress: Verdict) {
        self.generation += 1;
        let table = |cells| TableRef {
            id: cells,
            cells,
            pages: NO_PAGES,
            columns: 1,
            flags: 0,
        };
        let record = EndpointRecord {
            born: 1,
            addresses4: [[10, 0, 0, 10], [0; 4]],
            ingress: table(1),
            egress: table(2),
            ..EndpointRecord::default()
        };
        self.maps.records.insert(1, record);
        for (at, verdict) in [(1, ingress), (2, egress)] {
            self.maps
                .cells
                .insert(at, Cell::new(verdict, verdict, Tier::NetworkPolicy, 1));
        }
        self.maps
            .endpoints
            .insert(IFINDEX, EndpointWord::new(1, self.generation));
    }

    fn later(&mut self, seconds: u32) -> &mut Self {
        self.maps.now = self.maps.now.wrapping_add(seconds);
        self
    }

    fn passes(&self, hook: Hook, frame: &[u8]) -> bool {
        let context = Context {
            hook,
            ifindex: IFINDEX,
            ingress: 7,
            mark: 0,
        };
        judge(&self.maps, frame, &context).verdict == Verdict::Allow
    }
}

/// One packet: by the hook, which way it goes.
type Step = (Hook, Vec<u8>);

fn out(flags: u8) -> Step {
    (
        OUT,
        tcp(Way::Out, (POD[0], 40_000), (FRIEND[0], 443), flags),
    )
}

fn back(flags: u8) -> Step {
    (IN, tcp(Way::In, (POD[0], 40_000), (FRIEND[0], 443), flags))
}

/// True if `last` still passes this long after `steps`, at a pod that nobody may open a connection to.
fn lives(steps: &[Step], last: &Step, seconds: u32) -> bool {
    let mut clock = Clock::new(Verdict::Deny, Verdict::Allow);
    for (hook, frame) in steps {
        assert!(clock.passes(*hook, frame));
    }
    clock.later(seconds).passes(last.0, &last.1)
}

/// Asserts that a connection after `steps` is known for so long, and not longer.
fn lasts(what: &str, steps: &[Step], last: &Step, seconds: u32) {
    assert!(lives(steps, last, seconds), "{what}: {seconds} s");
    // The clock ticks in whole seconds, rounded up.
    assert!(
        !lives(steps, last, seconds + 1),
        "{what}: more than {seconds} s"
    );
}

#[test]
fn tcp_is_known_for_as_long_as_its_state_deserves() {
    // What only a known connection lets in: ACK alone would be taken for one older than the agent.
    let answer = back(SYN | ACK);
    let open = [out(SYN), back(SYN | ACK), out(ACK)];
    let after = |more: &[Step]| [&open[..], more].concat();
    lasts("SYN sent", &[out(SYN)], &answer, 2 * MINUTE);
    lasts("SYN sent again", &[out(SYN), out(SYN)], &answer, 2 * MINUTE);
    lasts("answered", &[out(SYN), back(SYN | ACK)], &answer, MINUTE);
    lasts(
        "answered out of turn",
        &[out(SYN), back(ACK)],
        &answer,
        MINUTE,
    );
    lasts(
        "both opened at once",
        &[out(SYN), back(SYN)],
        &answer,
        MINUTE,
    );
    lasts(
        "data without an answer",
        &[out(SYN), out(ACK)],
        &answer,
        2 * MINUTE,
    );
    lasts("established", &open, &answer, 5 * DAY);
    lasts(
        "half closed",
        &after(&[out(FIN | ACK)]),
        &answer,
        10 * MINUTE,
    );
    lasts(
        "half closed by the peer",
        &after(&[back(FIN | ACK)]),
        &answer,
        10 * MINUTE,
    );
    lasts(
        "closed",
        &after(&[out(FIN | ACK), back(FIN | ACK)]),
        &answer,
        2 * MINUTE,
    );
    lasts("reset", &after(&[back(RST | ACK)]), &answer, 10);
    lasts("reset by the pod", &after(&[out(RST)]), &answer, 10);
    lasts("refused", &[out(SYN), back(RST | ACK)], &answer, 10);
    lasts(
        "opened again",
        &after(&[back(RST | ACK), out(SYN)]),
        &answer,
        2 * MINUTE,
    );
    lasts("adopted", &[out(ACK)], &answer, 5 * DAY);
}

#[test]
fn datagrams_and_pings_are_known_for_a_while() {
    let datagram = |hook, way| (hook, udp(way, (POD[0], 5000), (FRIEND[0], 53)));
    let (question, answer) = (datagram(OUT, Way::Out), datagram(IN, Way::In));
    lasts(
        "a question",
        std::slice::from_ref(&question),
        &answer,
        MINUTE,
    );
    lasts(
        "a conversation",
        &[question, answer.clone()],
        &answer,
        3 * MINUTE,
    );
    let ping = |hook, way, kind| (hook, ping(way, POD[0], FRIEND[0], kind, 7));
    let (question, answer) = (ping(OUT, Way::Out, 8), ping(IN, Way::In, 0));
    lasts("a ping", std::slice::from_ref(&question), &answer, 30);
    lasts("pings", &[question, answer.clone()], &answer, 30);
}

#[test]
fn what_passes_keeps_a_connection_known() {
    let mut clock = Clock::new(Verdict::Deny, Verdict::Allow);
    let (question, answer) = (
        udp(Way::Out, (POD[0], 5000), (FRIEND[0], 53)),
        udp(Way::In, (POD[0], 5000), (FRIEND[0], 53)),
    );
    assert!(clock.passes(OUT, &question));
    for _ in 0..10 {
        assert!(clock.later(50).passes(IN, &answer));
    }
    let stranger = udp(Way::In, (POD[0], 5000), (STRANGER[0], 53));
    assert!(!clock.passes(IN, &stranger));
}

#[test]
fn a_revoked_flow_of_datagrams_gives_the_other_direction_free_though_it_does_not_fall_silent() {
    let mut clock = Clock::new(Verdict::Allow, Verdict::Allow);
    let (question, answer) = (
        udp(Way::In, (POD[0], 53), (FRIEND[0], 5000)),
        udp(Way::Out, (POD[0], 53), (FRIEND[0], 5000)),
    );
    assert!(clock.passes(IN, &question) && clock.passes(OUT, &answer));
    clock.set(Verdict::Deny, Verdict::Allow);
    for _ in 0..18 {
        // Whoever was let in goes on asking, and the pod answering.
        assert!(!clock.passes(IN, &question) && !clock.passes(OUT, &answer));
        clock.later(10);
    }
    assert!(
        !clock.later(1).passes(IN, &question),
        "not allowed is not allowed"
    );
    assert!(clock.passes(OUT, &answer), "the pod may send to that port");
    clock.set(Verdict::Deny, Verdict::Deny);
    assert!(!clock.passes(OUT, &answer) && !clock.passes(IN, &question));
}

#[test]
fn a_revoked_connection_is_known_for_as_long_as_anybody_tries() {
    let mut clock = Clock::new(Verdict::Allow, Verdict::Allow);
    let (ask, answer) = (
        |flags| tcp(Way::In, (POD[0], 80), (FRIEND[0], 4000), flags),
        |flags| tcp(Way::Out, (POD[0], 80), (FRIEND[0], 4000), flags),
    );
    assert!(
        clock.passes(IN, &ask(SYN))
            && clock.passes(OUT, &answer(SYN | ACK))
            && clock.passes(IN, &ask(ACK))
    );
    clock.set(Verdict::Deny, Verdict::Allow);
    for _ in 0..20 {
        assert!(!clock.later(DAY).passes(IN, &ask(ACK)));
        assert!(!clock.later(DAY).passes(OUT, &answer(ACK)));
    }
    // It is forgotten in the end, but not how it ended.
    assert!(!clock.later(6 * DAY).passes(IN, &ask(ACK)));
    assert!(!clock.passes(OUT, &answer(ACK)));
    assert!(!clock.passes(IN, &ask(SYN)));
    assert!(
        clock.passes(OUT, &answer(SYN)),
        "the pod may open one of its own"
    );
    assert!(clock.passes(IN, &ask(SYN | ACK)));
}
