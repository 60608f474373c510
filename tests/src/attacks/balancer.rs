//! A socket load balancer, as some networks have: programs at a cgroup that give `connect` and `sendmsg` another address than the
//! process asked for. Written as instructions, so that nothing of the firewall's own tools is in it.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::{FromRawFd as _, OwnedFd},
    path::Path,
};

use anyhow::{Context as _, Result};

const PROG_LOAD: libc::c_int = 5;
const LINK_CREATE: libc::c_int = 28;
const SOCKET_ADDRESS: u32 = 18;

/// Hooks, and whether they see IPv4 addresses.
const HOOKS: [(u32, bool); 4] = [(10, true), (11, false), (14, true), (15, false)];

/// Where the addresses lie in what the programs are given.
const ADDRESS4: i16 = 4;
const ADDRESS6: i16 = 8;

/// The kernel's `union bpf_attr`, as far as it is used here.
type Attributes = [u64; 16];

/// Attached programs; they go when it is dropped.
pub struct Balancer {
    _links: Vec<OwnedFd>,
}

impl Balancer {
    /// Makes what goes to `from` go to `to`, for processes in a cgroup and below it.
    pub fn attach(cgroup: &Path, from: [IpAddr; 2], to: [IpAddr; 2]) -> Result<Self> {
        let directory = std::fs::File::open(cgroup)
            .with_context(|| format!("cannot open {}", cgroup.display()))?;
        let ([IpAddr::V4(from4), IpAddr::V6(from6)], [IpAddr::V4(to4), IpAddr::V6(to6)]) =
            (from, to)
        else {
            anyhow::bail!("a pair of addresses is IPv4, then IPv6");
        };
        let links = HOOKS.map(|(hook, v4)| {
            let program = if v4 {
                rewrite4(from4, to4)
            } else {
                rewrite6(from6, to6)
            };
            let program = load(&program, hook)?;
            let mut attributes = Attributes::default();
            attributes[0] = pair(number(&program), number(&directory));
            attributes[1] = pair(hook, 0);
            descriptor(LINK_CREATE, &mut attributes)
        });
        let links: io::Result<Vec<OwnedFd>> = links.into_iter().collect();
        Ok(Self {
            _links: links.with_context(|| {
                format!("cannot attach a load balancer at {}", cgroup.display())
            })?,
        })
    }
}

fn rewrite4(from: Ipv4Addr, to: Ipv4Addr) -> Vec<u64> {
    rewrite(
        ADDRESS4,
        &[u32::from_ne_bytes(from.octets())],
        &[u32::from_ne_bytes(to.octets())],
    )
}

fn rewrite6(from: Ipv6Addr, to: Ipv6Addr) -> Vec<u64> {
    rewrite(ADDRESS6, &words(from), &words(to))
}

fn words(address: Ipv6Addr) -> Vec<u32> {
    address
        .octets()
        .chunks_exact(4)
        .filter_map(|word| Some(u32::from_ne_bytes(word.try_into().ok()?)))
        .collect()
}

/// Compares words at an offset and writes others there if all are equal; allows either way.
fn rewrite(offset: i16, from: &[u32], to: &[u32]) -> Vec<u64> {
    let mut program = Vec::new();
    let places = || (offset..).step_by(4);
    let count = i16::try_from(from.len()).unwrap_or(0);
    for ((place, word), index) in places().zip(from).zip(0..) {
        program.push(op(0x61, 2, 1, place, 0));
        // To the end, past the comparisons and stores that follow; two instructions each.
        let rest = 2 * (count - index - 1) + 2 * count;
        program.push(op(0x56, 2, 0, rest, word.cast_signed()));
    }
    for (place, word) in places().zip(to) {
        program.push(op(0xb4, 2, 0, 0, word.cast_signed()));
        program.push(op(0x63, 1, 2, place, 0));
    }
    program.extend([op(0xb7, 0, 0, 0, 1), op(0x95, 0, 0, 0, 0)]);
    program
}

/// One instruction: operation, destination, source, offset, immediate.
const fn op(code: u8, dst: u8, src: u8, offset: i16, immediate: i32) -> u64 {
    code as u64
        | (dst as u64) << 8
        | (src as u64) << 12
        | (offset.cast_unsigned() as u64) << 16
        | (immediate.cast_unsigned() as u64) << 32
}

fn load(instructions: &[u64], hook: u32) -> io::Result<OwnedFd> {
    let license = c"GPL";
    let mut attributes = Attributes::default();
    let length = u32::try_from(instructions.len()).map_err(io::Error::other)?;
    attributes[0] = pair(SOCKET_ADDRESS, length);
    attributes[1] = instructions.as_ptr() as u64;
    attributes[2] = license.as_ptr() as u64;
    // Behind the log, the kernel's version, flags, name and device: what it will be attached to.
    attributes[8] = pair(0, hook);
    descriptor(PROG_LOAD, &mut attributes)
}

fn descriptor(command: libc::c_int, attributes: &mut Attributes) -> io::Result<OwnedFd> {
    // SAFETY: the attributes are larger than any that the kernel reads for these commands, all zero where it is not
    // told otherwise, and what they point to lives in the callers through the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            attributes.as_mut_ptr(),
            size_of::<Attributes>(),
        )
    };
    let fd = i32::try_from(result)
        .ok()
        .filter(|fd| *fd >= 0)
        .ok_or_else(io::Error::last_os_error)?;
    // SAFETY: the kernel has just made it for this process, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

const fn pair(low: u32, high: u32) -> u64 {
    low as u64 | (high as u64) << 32
}

fn number(fd: &impl std::os::fd::AsRawFd) -> u32 {
    fd.as_raw_fd().cast_unsigned()
}
