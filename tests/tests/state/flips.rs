//! Policies and labels flip under load: the running agent, real sockets, and every verdict one of the two legal states'.
//!
//! Each peer of a pod keeps sending numbered datagrams on one flow, and one more from a new port each time. A state is
//! *settled* from when the agent says that it is in force until the test begins to change it; what was sent meanwhile
//! must have had that state's verdict, what was sent in between either one. Nothing depends on how long anything takes:
//! a change begins only after later datagrams than those that count have made their way.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr, UdpSocket},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use ringfence_agent::lab::{Lab, inside_netns, names, wire::Transport};
use ringfence_tests::{
    agent::Agent,
    lab::{addresses, eventually, small},
};

use super::field::{NAMESPACE, labelled, lets_in, manifest, stream, world};

/// How often the states take turns.
const FLIPS: usize = 16;
/// Datagrams that must have made their way before what was sent earlier counts.
const SETTLED: u64 = 20;
/// Flows of one datagram that a sender still listens to.
const OPEN: usize = 128;

/// A peer that sends.
struct Sender {
    sent: AtomicU64,
    answered: Mutex<BTreeSet<u64>>,
}

impl Sender {
    const fn new() -> Self {
        Self {
            sent: AtomicU64::new(0),
            answered: Mutex::new(BTreeSet::new()),
        }
    }

    /// Takes the answers that have come.
    fn take(&self, socket: &UdpSocket) {
        let mut buffer = [0; 128];
        while let Ok(length) = socket.recv(&mut buffer) {
            let answer = String::from_utf8_lossy(&buffer[..length]).into_owned();
            let number = answer.rsplit(' ').next().and_then(|word| word.parse().ok());
            let number = number.expect("the lab answers with the question");
            self.answered
                .lock()
                .expect("no sender panics")
                .insert(number);
        }
    }

    /// Sends until it is over. Even numbers go over one flow, odd ones each over a new one.
    fn run(&self, to: SocketAddr, over: &AtomicBool) -> anyhow::Result<()> {
        let socket = || {
            let socket = UdpSocket::bind(if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
            socket.connect(to)?;
            socket.set_nonblocking(true)?;
            anyhow::Ok(socket)
        };
        let one = socket()?;
        // New ones stay open for as long as their answers may take.
        let mut others = std::collections::VecDeque::new();
        while !over.load(Ordering::Relaxed) {
            for socket in std::iter::once(&one).chain(&others) {
                self.take(socket);
            }
            let number = self.sent.fetch_add(1, Ordering::SeqCst);
            let text = number.to_string();
            if number.is_multiple_of(2) {
                one.send(text.as_bytes())?;
            } else {
                let new = socket()?;
                new.send(text.as_bytes())?;
                others.push_back(new);
                if others.len() > OPEN {
                    others.pop_front();
                }
            }
            // A full queue would look like a verdict: who gets no answers sends slowly.
            let answered = self
                .answered
                .lock()
                .expect("no sender panics")
                .last()
                .copied();
            let waiting = number - answered.unwrap_or(0) > 32;
            thread::sleep(Duration::from_millis(if waiting { 5 } else { 1 }));
        }
        for socket in std::iter::once(&one).chain(&others) {
            self.take(socket);
        }
        Ok(())
    }

    fn next(&self) -> u64 {
        self.sent.load(Ordering::SeqCst)
    }

    fn answers_from(&self, first: u64) -> u64 {
        let answered = self.answered.lock().expect("no sender panics");
        answered.range(first..).fold(0, |count, _| count + 1)
    }
}

/// What a sender may do while a state is settled.
struct Window {
    sender: usize,
    numbers: std::ops::Range<u64>,
    allowed: bool,
}

/// Flips between two files' texts while peers 1 to N send to pod `b`; `allowed[state][peer]`.
fn flip(
    lab: &Lab,
    agent: &Agent,
    peers: &[&str],
    states: &[String; 2],
    allowed: [&[bool]; 2],
    to: IpAddr,
) {
    let senders: Vec<Sender> = peers.iter().map(|_| Sender::new()).collect();
    let over = AtomicBool::new(false);
    let mut windows = Vec::new();
    thread::scope(|scope| {
        for (sender, peer) in senders.iter().zip(peers) {
            let netns = names::netns_prefix(lab.name()) + peer;
            let over = &over;
            scope.spawn(move || {
                inside_netns(&netns, || sender.run(SocketAddr::new(to, 80), over))
                    .expect("the sockets work");
            });
        }
        for state in (0..FLIPS).map(|flip| flip % 2) {
            let before = agent.revision();
            agent.edit("state.yaml", &states[state]);
            agent.wait_beyond(before);
            // Settled. Who is allowed shows how far the datagrams are.
            let first: Vec<u64> = senders.iter().map(Sender::next).collect();
            let through = |first: &[u64]| {
                eventually("datagrams make their way", || {
                    let mut each = senders.iter().zip(first).zip(allowed[state]);
                    each.all(|((sender, &first), &allowed)| {
                        let made = if allowed {
                            sender.answers_from(first)
                        } else {
                            sender.next() - first
                        };
                        made >= SETTLED
                    })
                    .then_some(())
                });
            };
            through(&first);
            let last: Vec<u64> = senders.iter().map(Sender::next).collect();
            // As many again after those that count.
            through(&last);
            for sender in 0..senders.len() {
                windows.push(Window {
                    sender,
                    numbers: first[sender]..last[sender],
                    allowed: allowed[state][sender],
                });
            }
        }
        over.store(true, Ordering::Relaxed);
    });
    // Who has one verdict in both states has it in between as well.
    for sender in (0..senders.len()).filter(|&sender| allowed[0][sender] == allowed[1][sender]) {
        let of = |window: &&Window| window.sender == sender;
        let first = windows
            .iter()
            .find(of)
            .expect("there are flips")
            .numbers
            .start;
        let last = windows
            .iter()
            .rfind(of)
            .expect("there are flips")
            .numbers
            .end;
        windows.push(Window {
            sender,
            numbers: first..last,
            allowed: allowed[0][sender],
        });
    }
    let mut counted = [0_usize; 2];
    for window in &windows {
        let answered = senders[window.sender]
            .answered
            .lock()
            .expect("no sender panics");
        for number in window.numbers.clone() {
            let was = answered.contains(&number);
            assert_eq!(
                was, window.allowed,
                "{}: datagram {number} of {:?}",
                peers[window.sender], window.numbers
            );
            counted[usize::from(was)] += 1;
        }
    }
    println!("{} denied, {} allowed", counted[0], counted[1]);
    assert!(counted.iter().all(|&count| count > 100), "{counted:?}");
}

#[test]
fn a_policy_that_flips_is_followed_by_new_and_old_flows() {
    let lab = Lab::up(&small("flip", &["a", "b", "c", "d", "e"], &[80])).unwrap();
    let states = [["a", "d"], ["c", "d"]].map(|peers| lets_in("b", &labelled(&peers), 80, true));
    let agent = Agent::start(&lab, &world(&["a", "b", "c", "d", "e"]), &[]);
    let connection = stream(&lab, "d", addresses(2)[0], 80, Transport::Tcp);
    let allowed: [&[bool]; 2] = [&[true, false, true, false], &[false, true, true, false]];
    flip(
        &lab,
        &agent,
        &["a", "c", "d", "e"],
        &states,
        allowed,
        addresses(2)[0],
    );
    connection.goes_on(&lab);
    connection.has_lost_nothing(&lab);
    drop(agent);
    lab.down().unwrap();
}

#[test]
fn labels_that_flip_with_their_policy_are_never_judged_by_a_mixture() {
    let lab = Lab::up(&small("mixture", &["a", "b", "c", "d", "e"], &[80])).unwrap();
    // The policy names red, then blue. The pod d is always of the colour that it names, e never; a is always red.
    let state = |named: &str, other: &str| {
        manifest("a", "red", 1)
            + &manifest("c", "blue", 3)
            + &manifest("d", named, 4)
            + &manifest("e", other, 5)
            + &lets_in("b", &labelled(&[named]), 80, true)
    };
    let states = [state("red", "blue"), state("blue", "red")];
    let agent = Agent::start(&lab, &(NAMESPACE.to_owned() + &manifest("b", "b", 2)), &[]);
    let allowed: [&[bool]; 2] = [&[true, false, true, false], &[false, true, true, false]];
    flip(
        &lab,
        &agent,
        &["a", "c", "d", "e"],
        &states,
        allowed,
        addresses(2)[1],
    );
    drop(agent);
    lab.down().unwrap();
}

#[test]
fn labels_of_the_namespace_count_like_those_of_the_pod() {
    let lab = Lab::up(&small("spaces", &["a", "b", "c"], &[80])).unwrap();
    let from =
        |team: &str| format!("{{ namespaceSelector: {{ matchLabels: {{ team: {team} }} }} }}");
    let elsewhere = manifest("c", "c", 3).replace("namespace: t", "namespace: u");
    let fixed = manifest("a", "a", 1)
        + &manifest("b", "b", 2)
        + &elsewhere
        + &lets_in("b", &from("in"), 80, true);
    let state = |t: &str, u: &str| {
        let namespace = |name: &str, team: &str| {
            format!(
                "---\napiVersion: v1\nkind: Namespace\nmetadata: {{ name: {name}, labels: {{ team: {team} }} }}\n"
            )
        };
        namespace("t", t) + &namespace("u", u)
    };
    let states = [state("in", "out"), state("out", "in")];
    let agent = Agent::prepare(&lab, &fixed, &[]);
    agent.edit("state.yaml", &states[1]);
    let mut agent = agent;
    agent.spawn();
    agent.wait_until_ready();
    flip(
        &lab,
        &agent,
        &["a", "c"],
        &states,
        [&[true, false], &[false, true]],
        addresses(2)[0],
    );
    drop(agent);
    lab.down().unwrap();
}
