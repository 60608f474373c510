//! Streams: numbered messages, each answered, so that a lost one is seen.

use std::{
    collections::BTreeMap,
    fs, io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    net::{
        UdpSocket,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::Notify,
    time::{self, MissedTickBehavior},
};

use crate::lab::wire::{Stream, StreamReport, Transport};

/// How long the last answers may take once a stream is stopped.
const LAST_ANSWERS: Duration = Duration::from_secs(1);
/// How many unanswered messages are remembered; older ones are lost for good.
const OUTSTANDING: usize = 65_536;

/// The streams of a process, by name.
#[derive(Default)]
pub(super) struct Streams(Mutex<BTreeMap<String, Arc<Running>>>);

impl Streams {
    /// Connects, and starts sending.
    pub(super) async fn start(&self, wanted: Stream) -> Result<()> {
        if lock(&self.0).contains_key(&wanted.id) {
            bail!("there is a stream {:?} already; stop it first", wanted.id);
        }
        let line = Line::open(&wanted).await.with_context(|| {
            format!(
                "cannot open a stream to {} port {}/{:?}",
                wanted.to, wanted.port, wanted.protocol
            )
        })?;
        let running = Arc::new(Running {
            counts: Mutex::new(Counts::new(retransmitted())),
            stopping: AtomicBool::new(false),
            stop: Notify::new(),
            ended: Notify::new(),
        });
        tokio::spawn(
            Arc::clone(&running).run(line, Duration::from_millis(wanted.interval_ms.max(1))),
        );
        lock(&self.0).insert(wanted.id, running);
        Ok(())
    }

    /// The figures so far.
    pub(super) fn report(&self, id: &str) -> Result<StreamReport> {
        let streams = lock(&self.0);
        let running = streams
            .get(id)
            .with_context(|| format!("no stream {id:?}"))?;
        let counts = lock(&running.counts);
        Ok(counts.report())
    }

    /// Ends it and gives its last figures.
    pub(super) async fn stop(&self, id: &str) -> Result<StreamReport> {
        let running = lock(&self.0)
            .remove(id)
            .with_context(|| format!("no stream {id:?}"))?;
        running.stopping.store(true, Ordering::Relaxed);
        running.stop.notify_one();
        running.ended.notified().await;
        let report = lock(&running.counts).report();
        Ok(report)
    }
}

struct Running {
    counts: Mutex<Counts>,
    stopping: AtomicBool,
    stop: Notify,
    ended: Notify,
}

impl Running {
    async fn run(self: Arc<Self>, mut line: Line, interval: Duration) {
        let mut ticks = time::interval(interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !self.stopping.load(Ordering::Relaxed) {
            tokio::select! {
                () = self.stop.notified() => {}
                _ = ticks.tick() => {
                    let number = lock(&self.counts).sending();
                    if let Err(error) = line.send(number).await
                        && self.failed(&line, &error) { break }
                }
                answer = line.receive() => match answer {
                    Ok(number) => lock(&self.counts).answered(number),
                    Err(error) => if self.failed(&line, &error) { break },
                },
            }
        }
        drop(time::timeout(LAST_ANSWERS, self.drain(&mut line)).await);
        self.ended.notify_one();
    }

    /// Takes the answers that are still on their way.
    async fn drain(&self, line: &mut Line) {
        while !lock(&self.counts).outstanding.is_empty() {
            match line.receive().await {
                Ok(number) => lock(&self.counts).answered(number),
                Err(error) => {
                    if self.failed(line, &error) {
                        return;
                    }
                }
            }
        }
    }

    /// Notes an error; true if it is the end of the stream.
    fn failed(&self, line: &Line, error: &io::Error) -> bool {
        lock(&self.counts).error = Some(error.to_string());
        matches!(line, Line::Tcp(..))
    }
}

enum Line {
    Tcp(Lines<BufReader<OwnedReadHalf>>, OwnedWriteHalf),
    Udp(UdpSocket),
}

impl Line {
    async fn open(wanted: &Stream) -> io::Result<Self> {
        let to = std::net::SocketAddr::new(wanted.to, wanted.port);
        match wanted.protocol {
            Transport::Tcp => {
                let stream = super::tcp_to(wanted.from, to).await?;
                stream.set_nodelay(true)?;
                let (read, write) = stream.into_split();
                Ok(Self::Tcp(BufReader::new(read).lines(), write))
            }
            Transport::Udp => Ok(Self::Udp(super::udp_to(wanted.from, to).await?)),
        }
    }

    async fn send(&mut self, number: u64) -> io::Result<()> {
        match self {
            Self::Tcp(_, write) => write.write_all(format!("{number}\n").as_bytes()).await,
            Self::Udp(socket) => socket.send(number.to_string().as_bytes()).await.map(drop),
        }
    }

    /// The number of the next answer. Nothing is lost if this is given up half-way.
    async fn receive(&mut self) -> io::Result<u64> {
        let answer = match self {
            Self::Tcp(lines, _) => lines
                .next_line()
                .await?
                .ok_or(io::ErrorKind::UnexpectedEof)?,
            Self::Udp(socket) => {
                let mut buffer = [0; 512];
                let length = socket.recv(&mut buffer).await?;
                String::from_utf8_lossy(buffer.get(..length).unwrap_or_default()).into_owned()
            }
        };
        let number = answer
            .rsplit(' ')
            .next()
            .and_then(|number| number.parse().ok());
        number.ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("no number in {answer:?}"),
            )
        })
    }
}

struct Counts {
    sent: u64,
    answered: u64,
    repeated: u64,
    outstanding: BTreeMap<u64, Instant>,
    last_answer: Option<Instant>,
    longest_gap: Duration,
    slowest: Duration,
    retransmitted_before: u64,
    error: Option<String>,
}

impl Counts {
    const fn new(retransmitted_before: u64) -> Self {
        Self {
            sent: 0,
            answered: 0,
            repeated: 0,
            outstanding: BTreeMap::new(),
            last_answer: None,
            longest_gap: Duration::ZERO,
            slowest: Duration::ZERO,
            retransmitted_before,
            error: None,
        }
    }

    fn sending(&mut self) -> u64 {
        let now = Instant::now();
        self.sent += 1;
        self.last_answer.get_or_insert(now);
        if self.outstanding.len() == OUTSTANDING {
            self.outstanding.pop_first();
        }
        self.outstanding.insert(self.sent, now);
        self.sent
    }

    fn answered(&mut self, number: u64) {
        let now = Instant::now();
        let Some(sent) = self.outstanding.remove(&number) else {
            self.repeated += 1;
            return;
        };
        self.answered += 1;
        self.slowest = self.slowest.max(now.duration_since(sent));
        self.longest_gap = self.longest_gap.max(self.gap(now));
        self.last_answer = Some(now);
    }

    fn gap(&self, now: Instant) -> Duration {
        self.last_answer
            .map_or(Duration::ZERO, |last| now.duration_since(last))
    }

    fn report(&self) -> StreamReport {
        let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        // With nothing on its way there is no gap that has not ended.
        let open_gap = if self.outstanding.is_empty() {
            Duration::ZERO
        } else {
            self.gap(Instant::now())
        };
        StreamReport {
            sent: self.sent,
            answered: self.answered,
            lost: self.sent - self.answered,
            repeated: self.repeated,
            longest_gap_ms: milliseconds(self.longest_gap.max(open_gap)),
            slowest_ms: milliseconds(self.slowest),
            retransmitted: retransmitted().saturating_sub(self.retransmitted_before),
            error: self.error.clone(),
        }
    }
}

/// TCP segments that the thread's network namespace sent again since it was made; 0 if that cannot be read.
fn retransmitted() -> u64 {
    let text = fs::read_to_string("/proc/thread-self/net/snmp").unwrap_or_default();
    let mut tcp = text.lines().filter_map(|line| line.strip_prefix("Tcp: "));
    let (Some(names), Some(values)) = (tcp.next(), tcp.next()) else {
        return 0;
    };
    names
        .split(' ')
        .zip(values.split(' '))
        .find(|(name, _)| *name == "RetransSegs")
        .and_then(|(_, value)| value.parse().ok())
        .unwrap_or(0)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
