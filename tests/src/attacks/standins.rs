//! Stand-ins for devices that not every kernel has: a TUN device of the node, and a thread that opens what comes to it, as
//! the kernel's Geneve, GRE, IP-in-IP and SIT devices do, or translates, as a NAT64 does.
//!
//! **Invariant.** What they write to their device takes the same way through the node as what the kernel's own device would
//! receive: in by a device, through routing, out by the uplink.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, UdpSocket},
    os::fd::AsRawFd as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context as _, Result};
use ringfence_agent::lab::inside_netns;
use socket2::{Domain, Protocol, Socket, Type};

use super::place::{NAT64, parameter, run};

/// Geneve's port.
pub const GENEVE: u16 = 6081;
/// Protocols that are opened: IP in IP, IPv6 in IPv4, GRE.
const PROTOCOLS: [i32; 3] = [4, 41, 47];
/// How often a thread looks whether its work is over.
const TURN: Duration = Duration::from_millis(100);
/// What the translator gives as IPv4 source.
const TRANSLATED: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 64);
/// The translator's device.
const TRANSLATOR: &str = "nat64";

/// Threads at work; they end when it is dropped.
pub struct StandIns {
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl StandIns {
    /// Starts all of them on the node.
    pub fn start(node: &str) -> Result<Self> {
        let mut all = Self {
            over: Arc::new(AtomicBool::new(false)),
            threads: Vec::new(),
        };
        let geneve = device(node, "geneve0")?;
        let socket = inside_netns(node, || {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, GENEVE))?;
            socket.set_read_timeout(Some(TURN))?;
            Ok(socket)
        })?;
        all.spawn(geneve, move |buffer| {
            let length = socket.recv(buffer)?;
            let options = usize::from(buffer.first().copied().unwrap_or(0) & 0x3f) * 4;
            Ok((8 + options + 14, length))
        });
        for (domain, name) in [(Domain::IPV4, "tunnel"), (Domain::IPV6, "tunnelv6x")] {
            for number in PROTOCOLS {
                let tunnel = device(node, &format!("{name}{number}"))?;
                let mut socket = inside_netns(node, || {
                    let protocol = Some(Protocol::from(number));
                    let socket = Socket::new(domain, Type::RAW, protocol)?;
                    socket.set_read_timeout(Some(TURN))?;
                    Ok(socket)
                })?;
                let behind = if number == 47 { 4 } else { 0 };
                all.spawn(tunnel, move |buffer| {
                    let length = socket.read(buffer)?;
                    // Only raw sockets of IPv4 show the outer header.
                    let words = buffer.first().copied().unwrap_or(0) & 15;
                    let header = usize::from(words) * 4 * usize::from(domain == Domain::IPV4);
                    Ok((header + behind, length))
                });
            }
        }
        all.translator(node)?;
        Ok(all)
    }

    /// Has a thread write to a device what the reader finds, from an offset to an end.
    fn spawn(
        &mut self,
        mut device: File,
        mut read: impl FnMut(&mut [u8]) -> io::Result<(usize, usize)> + Send + 'static,
    ) {
        let over = Arc::clone(&self.over);
        self.threads.push(thread::spawn(move || {
            let mut buffer = vec![0; 65_536];
            while !over.load(Ordering::Relaxed) {
                if let Ok((from, to)) = read(&mut buffer)
                    && let Some(packet) = buffer.get(from..to)
                {
                    // What is no packet is refused; so would the kernel's device.
                    drop(device.write(packet));
                }
            }
        }));
    }

    fn translator(&mut self, node: &str) -> Result<()> {
        let device = device(node, TRANSLATOR)?;
        let mut reader = device.try_clone().context("cannot share a device")?;
        nonblocking(&reader)?;
        self.spawn(device, move |buffer| {
            let length = match reader.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    thread::sleep(Duration::from_millis(5));
                    return Err(error);
                }
                other => other?,
            };
            let packet = translated(buffer.get(..length).unwrap_or_default())
                .ok_or(io::ErrorKind::InvalidData)?;
            let end = packet.len();
            buffer
                .get_mut(..end)
                .ok_or(io::ErrorKind::InvalidData)?
                .copy_from_slice(&packet);
            Ok((0, end))
        });
        Ok(())
    }
}

impl Drop for StandIns {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A panic there has been told already.
            drop(thread.join());
        }
    }
}

/// Leads NAT64's prefix to the translator of the node, or away from it.
pub fn translate_here(node: &str, on: bool) -> Result<()> {
    let device = if on { TRANSLATOR } else { "uplink0" };
    run(
        node,
        &format!("ip -6 route replace {NAT64}/128 dev {device}"),
    )
    .map(drop)
}

/// A TUN device of the node that is up.
fn device(node: &str, name: &str) -> Result<File> {
    let file = inside_netns(node, || {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/net/tun")
            .context("the kernel has no TUN device (/dev/net/tun)")?;
        // SAFETY: plain numbers and a union of them, for which zero is a value.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        for (slot, byte) in request.ifr_name.iter_mut().zip(name.bytes()) {
            *slot = byte.cast_signed();
        }
        request.ifr_ifru.ifru_flags = i16::try_from(libc::IFF_TUN | libc::IFF_NO_PI).unwrap_or(0);
        // SAFETY: the kernel reads and writes no more than this structure, which lives through the call.
        let result = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request) };
        if result < 0 {
            return Err(io::Error::last_os_error()).with_context(|| format!("cannot make {name}"));
        }
        Ok(file)
    })?;
    parameter(node, &format!("net/ipv4/conf/{name}/rp_filter"), "0")?;
    run(node, &format!("ip link set {name} up"))?;
    Ok(file)
}

fn nonblocking(file: &File) -> Result<()> {
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    fcntl(file, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))
        .context("cannot change a descriptor")
        .map(drop)
}

/// The IPv4 packet that an IPv6 packet to an embedded address becomes: TCP and UDP only.
fn translated(packet: &[u8]) -> Option<Vec<u8>> {
    let protocol = *packet.get(6)?;
    let to: [u8; 4] = packet.get(36..40)?.try_into().ok()?;
    let mut payload = packet.get(40..)?.to_vec();
    let sum_at = match protocol {
        6 => 16,
        17 => 6,
        _ => return None,
    };
    payload.get_mut(sum_at..sum_at + 2)?.fill(0);
    let length = u16::try_from(payload.len()).ok()?;
    let mut pseudo = [TRANSLATED.octets(), to].concat();
    pseudo.extend([0, protocol]);
    pseudo.extend(length.to_be_bytes());
    pseudo.extend(&payload);
    payload.splice(sum_at..sum_at + 2, checksum(&pseudo).to_be_bytes());
    let mut header = vec![0x45, 0];
    header.extend((length + 20).to_be_bytes());
    header.extend([0, 0, 0x40, 0, 63, protocol, 0, 0]);
    header.extend(TRANSLATED.octets());
    header.extend(to);
    let sum = checksum(&header).to_be_bytes();
    header.splice(10..12, sum);
    header.extend(payload);
    Some(header)
}

fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = bytes
        .chunks(2)
        .map(|pair| {
            let low = pair.get(1).copied().unwrap_or(0);
            u32::from(u16::from_be_bytes([pair[0], low]))
        })
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(0)
}
