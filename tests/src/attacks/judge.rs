//! The judge: everything that comes to the metadata service, seen where the service is. What an attacker thinks of its own
//! success does not count, and an answer need not come: a packet that arrives has reached the service.
//!
//! **Invariant.** Every packet to one of the service's addresses is somebody's: of the attempt whose token or source port it
//! has, else of the attempt that is under way. Nothing that arrives is passed over as nobody's.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, UdpSocket},
    os::fd::AsRawFd as _,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU16, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use ringfence_agent::lab::inside_netns;
use socket2::{Domain, Protocol, Socket, Type};

use super::place::{AZURE, FENCE, GOOGLE, SERVICE, is_service};

/// Source port of attempt 0; each has one of its own.
const FIRST_PORT: u16 = 20_000;
/// What every token begins with; a number of six digits follows, so that it fits into the smallest fragment.
const TOKEN: &[u8] = b"rf";
/// How often the judge looks whether its work is over.
const TURN: Duration = Duration::from_millis(100);
/// How long a fence may take to arrive.
const FENCE_LIMIT: Duration = Duration::from_secs(20);

/// One attempt to reach the service, as the judge knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Attempt(u16);

impl Attempt {
    /// The source port by which it is known.
    #[must_use]
    pub const fn port(self) -> u16 {
        FIRST_PORT + self.0
    }

    /// The payload by which it is known.
    #[must_use]
    pub fn token(self) -> String {
        format!("{}{:06}", String::from_utf8_lossy(TOKEN), self.0)
    }
}

/// A packet that reached the service.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Arrival {
    /// Who it says that it is from.
    pub source: IpAddr,
    /// Which of the service's addresses it came to.
    pub destination: IpAddr,
    /// Its transport protocol.
    pub protocol: u8,
    /// Source and destination port, where it has any.
    pub ports: Option<(u16, u16)>,
    /// The token in it.
    pub token: Option<String>,
}

#[derive(Default)]
struct Seen {
    current: Option<Attempt>,
    arrivals: BTreeMap<Attempt, Vec<Arrival>>,
    fences: u16,
    /// How many attempts there are.
    known: u16,
}

/// A judge at work.
pub struct Judge {
    seen: Arc<Mutex<Seen>>,
    next: AtomicU16,
    fence: AtomicU16,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Judge {
    /// Begins to listen in a namespace to all its devices.
    pub fn new(netns: &str, granted: Vec<IpAddr>) -> Result<Self> {
        let socket = inside_netns(netns, || {
            let all = u16::try_from(libc::ETH_P_ALL).unwrap_or(0).to_be();
            let socket = Socket::new(
                Domain::PACKET,
                Type::RAW,
                Some(Protocol::from(i32::from(all))),
            )
            .context("cannot listen to a namespace's devices")?;
            socket.set_read_timeout(Some(TURN))?;
            socket.set_recv_buffer_size(8 << 20)?;
            Ok(socket)
        })?;
        let seen = Arc::new(Mutex::new(Seen::default()));
        let over = Arc::new(AtomicBool::new(false));
        let thread = {
            let (seen, over) = (Arc::clone(&seen), Arc::clone(&over));
            thread::spawn(move || listen(&socket, &seen, &over, &granted))
        };
        Ok(Self {
            seen,
            next: AtomicU16::new(1),
            fence: AtomicU16::new(1),
            over,
            thread: Some(thread),
        })
    }

    /// Begins an attempt: what arrives from here on and says nothing else is its.
    pub fn begin(&self) -> Attempt {
        let attempt = self.prepare();
        self.resume(attempt);
        attempt
    }

    /// An attempt that begins later.
    pub fn prepare(&self) -> Attempt {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        lock(&self.seen).known = number;
        Attempt(number)
    }

    /// Makes an attempt the one that is under way.
    pub fn resume(&self, attempt: Attempt) {
        lock(&self.seen).current = Some(attempt);
    }

    /// What has arrived of an attempt so far.
    #[must_use]
    pub fn arrivals(&self, attempt: Attempt) -> Vec<Arrival> {
        let seen = lock(&self.seen);
        seen.arrivals.get(&attempt).cloned().unwrap_or_default()
    }

    /// Sends a packet from a namespace to a place beside the service and waits until it is there: what was sent before has
    /// arrived too, or never will.
    pub fn fence(&self, from: &str) -> Result<()> {
        let number = self.fence.fetch_add(1, Ordering::Relaxed);
        let deadline = Instant::now() + FENCE_LIMIT;
        let text = format!("fence{number:06}");
        while lock(&self.seen).fences < number {
            inside_netns(from, || {
                let socket = UdpSocket::bind("0.0.0.0:0")?;
                socket.send_to(text.as_bytes(), (FENCE, 9))?;
                Ok(())
            })?;
            let turn = Instant::now() + Duration::from_millis(200);
            while lock(&self.seen).fences < number && Instant::now() < turn {
                thread::sleep(Duration::from_millis(1));
            }
            if Instant::now() > deadline {
                bail!("a packet from {from} to {FENCE} did not arrive within {FENCE_LIMIT:?}");
            }
        }
        Ok(())
    }
}

impl Drop for Judge {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic there has been told already.
            drop(thread.join());
        }
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

fn listen(socket: &Socket, seen: &Mutex<Seen>, over: &AtomicBool, granted: &[IpAddr]) {
    let mut buffer = vec![0; 65_536];
    while !over.load(Ordering::Relaxed) {
        let Ok((length, outgoing)) = receive(socket, &mut buffer) else {
            continue;
        };
        let frame = buffer.get(..length).unwrap_or_default();
        if outgoing {
            continue;
        }
        if let Some(number) = number_behind(frame, b"fence") {
            let mut seen = lock(seen);
            seen.fences = seen.fences.max(number);
            continue;
        }
        let Some(arrival) = arrival(frame) else {
            continue;
        };
        let mut seen = lock(seen);
        let own = arrival
            .token
            .as_deref()
            .and_then(|token| token.get(2..)?.parse().ok())
            .or_else(|| arrival.ports?.0.checked_sub(FIRST_PORT))
            .filter(|number| (1..=seen.known).contains(number))
            .map(Attempt);
        // An answer of a granted pod to what it did not ask for is its own affair.
        let other = seen.current.filter(|_| !granted.contains(&arrival.source));
        if let Some(attempt) = own.or(other) {
            seen.arrivals.entry(attempt).or_default().push(arrival);
        }
    }
}

/// Length of the next frame, and whether it is the namespace's own.
fn receive(socket: &Socket, buffer: &mut [u8]) -> io::Result<(usize, bool)> {
    // SAFETY: plain numbers, for which zero is a value.
    let mut from: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    let mut length = libc::socklen_t::try_from(size_of::<libc::sockaddr_ll>()).unwrap_or(0);
    // SAFETY: both buffers are as long as is said, and live through the call.
    let received = unsafe {
        libc::recvfrom(
            socket.as_raw_fd(),
            buffer.as_mut_ptr().cast(),
            buffer.len(),
            0,
            (&raw mut from).cast(),
            &raw mut length,
        )
    };
    let Ok(received) = usize::try_from(received) else {
        return Err(io::Error::last_os_error());
    };
    Ok((received, from.sll_pkttype == libc::PACKET_OUTGOING))
}

/// The number of six digits behind a word.
fn number_behind(bytes: &[u8], word: &[u8]) -> Option<u16> {
    let at = bytes.windows(word.len()).position(|part| part == word)?;
    let digits = bytes.get(at + word.len()..at + word.len() + 6)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// What a frame is, if it is for the service.
fn arrival(frame: &[u8]) -> Option<Arrival> {
    let packet = frame.get(14..)?;
    let (source, destination, protocol, at): (IpAddr, IpAddr, u8, usize) =
        match (frame.get(12..14)?, packet.first()? >> 4) {
            ([0x08, 0x00], 4) => (
                <[u8; 4]>::try_from(packet.get(12..16)?).ok()?.into(),
                <[u8; 4]>::try_from(packet.get(16..20)?).ok()?.into(),
                *packet.get(9)?,
                usize::from(packet.first()? & 15) * 4,
            ),
            ([0x86, 0xdd], 6) => (
                <[u8; 16]>::try_from(packet.get(8..24)?).ok()?.into(),
                <[u8; 16]>::try_from(packet.get(24..40)?).ok()?.into(),
                *packet.get(6)?,
                40,
            ),
            _ => return None,
        };
    if !is_service(destination) {
        return None;
    }
    // Only the first part of a packet has ports.
    let later = destination.is_ipv4() && (packet.get(6)? & 0x1f != 0 || *packet.get(7)? != 0);
    let transport = packet.get(at..).filter(|_| !later).unwrap_or_default();
    let ports = match (protocol, transport) {
        (6 | 17 | 136, [a, b, c, d, ..]) => {
            Some((u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d])))
        }
        // Echo requests are known by their identification.
        (1, [8, _, _, _, a, b, ..]) | (58, [128, _, _, _, a, b, ..]) => {
            Some((u16::from_be_bytes([*a, *b]), 0))
        }
        // Neighbours ask each other, whoever they are.
        (58, [133..=137, ..]) => return None,
        _ => None,
    };
    // Resolvers and time servers on shared addresses are everybody's.
    let shared = match (protocol, ports) {
        (6 | 17, Some((_, 53))) => [SERVICE[0], AZURE, GOOGLE].contains(&destination),
        (17, Some((_, 123))) => [SERVICE[0], GOOGLE].contains(&destination),
        _ => false,
    };
    if shared {
        return None;
    }
    let token = number_behind(packet, TOKEN).map(|number| Attempt(number).token());
    Some(Arrival {
        source,
        destination,
        protocol,
        ports,
        token,
    })
}
