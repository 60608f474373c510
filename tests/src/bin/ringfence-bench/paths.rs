//! What connections notice, in a lab of two pods: without anything, with Ringfence, with an nftables set and connection
//! tracking. The configurations take turns, and every figure is a ratio to "nothing" of the same round.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, TcpListener, TcpStream, UdpSocket},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use ringfence_agent::lab::{Lab, inside_netns, names};
use ringfence_tests::{
    agent::Agent,
    lab::{addresses, small},
};

use crate::table::{Figure, Table};

const PORT: u16 = 5201;
const CLOSED: u16 = 5202;
const SPAN: Duration = Duration::from_millis(400);
const CONFIGURATIONS: [&str; 3] = ["nothing", "ringfence", "nft set + conntrack"];
const METRICS: [&str; 6] = [
    "TCP round trip, p50",
    "UDP round trip, p50",
    "connect-request-close, p50",
    "connections per second",
    "UDP 64-byte packets per second",
    "TCP throughput",
];

/// Measures.
pub fn run(rounds: usize) -> Result<Vec<Table>> {
    let lab = Lab::up(&small("bench", &["a", "b"], &[80]))?;
    let netns = |pod: &str| format!("{}{pod}", names::netns_prefix(lab.name()));
    serve(&netns("b"))?;
    let to = addresses(2)[0];
    let mut samples = vec![vec![Vec::new(); METRICS.len()]; CONFIGURATIONS.len()];
    for round in 0..rounds {
        let mut of_round = vec![vec![f64::NAN; METRICS.len()]; CONFIGURATIONS.len()];
        for turn in 0..CONFIGURATIONS.len() {
            let which = (turn + round) % CONFIGURATIONS.len();
            of_round[which] = with(&lab, which, || {
                inside_netns(&netns("a"), || measure(to, which > 0))
            })?;
        }
        for which in 1..CONFIGURATIONS.len() {
            for metric in 0..METRICS.len() {
                samples[which][metric].push(of_round[which][metric] / of_round[0][metric]);
            }
        }
    }
    lab.down()?;
    let middle = |samples: &[f64]| {
        let mut samples = samples.to_vec();
        samples.sort_by(f64::total_cmp);
        (
            samples[0],
            samples[samples.len() / 2],
            samples[samples.len() - 1],
        )
    };
    let tables = CONFIGURATIONS.iter().zip(&samples).skip(1).map(|(name, samples)| Table {
        title: format!("{name}: ratio to nothing, {rounds} rounds (aims for Ringfence: round trip 1.02, connect 1.035, rate 0.96, packets 0.97)"),
        figures: METRICS.iter().zip(samples).map(|(metric, samples)| {
            let (least, median, most) = middle(samples);
            Figure { name: (*metric).to_owned(), values: vec![("least", least), ("median", median), ("most", most)] }
        }).collect(),
    });
    Ok(tables.collect())
}

/// Does something under a configuration.
fn with<T>(lab: &Lab, which: usize, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let node = names::node_netns(lab.name());
    let nft = |text: &str| -> Result<()> {
        let mut child = Command::new("ip")
            .args(["netns", "exec", &node, "nft", "-f", "-"])
            .stdin(Stdio::piped())
            .spawn()
            .context("nft")?;
        child
            .stdin
            .take()
            .context("a pipe")?
            .write_all(text.as_bytes())?;
        ensure!(child.wait()?.success(), "nft refused {text}");
        Ok(())
    };
    match which {
        1 => {
            let mut agent = Agent::start(lab, &manifests(), &[]);
            let result = work();
            agent.stop();
            ensure!(agent.detach().status.success(), "detach");
            result
        }
        2 => {
            let [from, _] = addresses(1);
            let [to, _] = addresses(2);
            nft(&format!(
                "table ip bench {{\n set allowed {{\n type ipv4_addr . ipv4_addr . inet_proto . inet_service\n \
                 elements = {{ {from} . {to} . tcp . {PORT}, {from} . {to} . udp . {PORT} }}\n }}\n \
                 chain forward {{ type filter hook forward priority 0; policy drop;\n \
                 ct state established,related accept\n \
                 ip saddr . ip daddr . meta l4proto . th dport @allowed accept\n }}\n}}\n"
            ))?;
            let result = work();
            nft("delete table ip bench\n")?;
            result
        }
        _ => work(),
    }
}

fn manifests() -> String {
    let pod = |name: &str, number: u8| {
        let [v4, v6] = addresses(number);
        format!(
            "---\napiVersion: v1\nkind: Pod\nmetadata: {{ name: {name}, namespace: t, labels: {{ app: {name} }}, annotations: {{ ringfence.dev/netns: {name} }} }}\n\
             status: {{ phase: Running, podIPs: [ {{ ip: {v4} }}, {{ ip: \"{v6}\" }} ] }}\n"
        )
    };
    format!(
        "{}{}---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{ name: b, namespace: t }}\nspec:\n  podSelector: {{ matchLabels: {{ app: b }} }}\n  \
         ingress: [ {{ from: [ {{ podSelector: {{ matchLabels: {{ app: a }} }} }} ], ports: [ {{ port: {PORT} }}, {{ port: {PORT}, protocol: UDP }} ] }} ]\n",
        pod("a", 1),
        pod("b", 2)
    )
}

/// Every thread that sends or answers shares one CPU, so that nothing is hidden by a second one.
fn pin() -> Result<()> {
    let mut cpus = nix::sched::CpuSet::new();
    cpus.set(0)?;
    nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(0), &cpus).context("pin")
}

/// Starts what answers. The threads end with the process.
fn serve(netns: &str) -> Result<()> {
    let (tcp, closed, udp) = inside_netns(netns, || {
        let any = std::net::Ipv4Addr::UNSPECIFIED;
        Ok((
            TcpListener::bind((any, PORT)).context("bind")?,
            TcpListener::bind((any, CLOSED)).context("bind")?,
            UdpSocket::bind((any, PORT)).context("bind")?,
        ))
    })?;
    for listener in [tcp, closed] {
        thread::spawn(move || {
            pin().expect("CPU 0");
            for stream in listener.incoming().flatten() {
                thread::spawn(move || answer(stream));
            }
        });
    }
    thread::spawn(move || {
        pin().expect("CPU 0");
        let mut buffer = [0; 2048];
        let mut counted = 0_u64;
        while let Ok((length, from)) = udp.recv_from(&mut buffer) {
            // A packet of 64 bytes is counted, one of 8 asks for the count, one of 1 is answered.
            let _sent = match length {
                64 => {
                    counted += 1;
                    Ok(0)
                }
                8 => udp.send_to(&std::mem::take(&mut counted).to_le_bytes(), from),
                _ => udp.send_to(&buffer[..length], from),
            };
        }
    });
    Ok(())
}

/// One byte is answered by one byte; longer reads are swallowed.
fn answer(mut stream: TcpStream) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        if length == 1 && stream.write_all(&buffer[..1]).is_err() {
            return;
        }
    }
}

fn measure(to: IpAddr, guarded: bool) -> Result<Vec<f64>> {
    pin()?;
    let open = |port| TcpStream::connect_timeout(&(to, port).into(), Duration::from_millis(300));
    open(PORT).context("the open port is open")?;
    // The kernel lets go of detached programs a moment later.
    let deadline = Instant::now() + Duration::from_secs(5);
    while open(CLOSED).is_ok() == guarded {
        ensure!(
            Instant::now() < deadline,
            "the closed port is closed if anything guards it"
        );
    }
    let mut stream = open(PORT)?;
    stream.set_nodelay(true)?;
    let mut byte = [0];
    let tcp = median(|| {
        stream.write_all(&[1])?;
        Ok(stream.read_exact(&mut byte)?)
    })?;
    let socket = UdpSocket::bind((std::net::Ipv4Addr::UNSPECIFIED, 0))?;
    socket.connect((to, PORT))?;
    socket.set_read_timeout(Some(Duration::from_secs(2)))?;
    let udp = median(|| {
        socket.send(&[1])?;
        Ok(socket.recv(&mut byte).map(|_| ())?)
    })?;
    let started = Instant::now();
    let mut connections = 0.0;
    let connect = median(|| {
        let mut stream = TcpStream::connect((to, PORT))?;
        stream.write_all(&[1])?;
        stream.read_exact(&mut byte)?;
        connections += 1.0;
        Ok(())
    })?;
    let rate = connections / started.elapsed().as_secs_f64();
    let started = Instant::now();
    while started.elapsed() < SPAN {
        socket.send(&[0; 64])?;
    }
    let elapsed = started.elapsed();
    // The question may find the receiver's buffer still full.
    socket.set_read_timeout(Some(Duration::from_millis(100)))?;
    let mut count = [0; 8];
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        socket.send(&[0; 8])?;
        if socket.recv(&mut count).is_ok() {
            break;
        }
        ensure!(Instant::now() < deadline, "the receiver does not answer");
    }
    #[expect(clippy::cast_precision_loss, reason = "a count of packets")]
    let packets = u64::from_le_bytes(count) as f64 / elapsed.as_secs_f64();
    let mut bulk = open(PORT)?;
    let block = vec![0; 1 << 16];
    let started = Instant::now();
    let mut blocks = 0.0;
    while started.elapsed() < SPAN {
        bulk.write_all(&block)?;
        blocks += 1.0;
    }
    let throughput = blocks / started.elapsed().as_secs_f64();
    Ok(vec![tcp, udp, connect, rate, packets, throughput])
}

/// Does something for a while; the median of its durations, in nanoseconds.
fn median(mut work: impl FnMut() -> Result<()>) -> Result<f64> {
    let started = Instant::now();
    let mut durations = Vec::new();
    while started.elapsed() < SPAN {
        let begun = Instant::now();
        work()?;
        durations.push(begun.elapsed().as_secs_f64() * 1e9);
    }
    durations.sort_by(f64::total_cmp);
    Ok(durations[durations.len() / 2])
}
