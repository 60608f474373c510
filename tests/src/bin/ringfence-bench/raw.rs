//! Three programs of a dozen instructions, and the system calls that load and run them: the floor, one table look-up,
//! and one that changes the packet's source port before it hands over to the program under test, so that every
//! repetition is the first packet of another flow.

use std::{
    io,
    os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
    time::Duration,
};

const MAP_CREATE: libc::c_int = 0;
const MAP_UPDATE: libc::c_int = 2;
const PROG_LOAD: libc::c_int = 5;
const PROG_RUN: libc::c_int = 10;
const PROG_ARRAY: u32 = 3;
const LRU_HASH: u32 = 9;
const CLASSIFIER: u32 = 3;

/// The kernel's `union bpf_attr`, as far as it is used here: plain 64-bit words.
type Attributes = [u64; 16];

fn bpf(command: libc::c_int, attributes: &mut Attributes) -> io::Result<i32> {
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
    i32::try_from(result)
        .ok()
        .filter(|result| *result >= 0)
        .ok_or_else(io::Error::last_os_error)
}

fn descriptor(command: libc::c_int, attributes: &mut Attributes) -> io::Result<OwnedFd> {
    let fd = bpf(command, attributes)?;
    // SAFETY: the kernel has just made it for this process, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

const fn pair(low: u32, high: u32) -> u64 {
    low as u64 | (high as u64) << 32
}

fn number(fd: &impl std::os::fd::AsRawFd) -> u32 {
    u32::try_from(fd.as_raw_fd()).expect("a descriptor")
}

fn map(kind: u32, key: u32, value: u32, entries: u32) -> io::Result<OwnedFd> {
    let mut attributes = Attributes::default();
    attributes[0] = pair(kind, key);
    attributes[1] = pair(value, entries);
    descriptor(MAP_CREATE, &mut attributes)
}

fn put(map: &OwnedFd, key: &[u8], value: &[u8]) -> io::Result<()> {
    let mut attributes = Attributes::default();
    attributes[0] = number(map).into();
    attributes[1] = key.as_ptr() as u64;
    attributes[2] = value.as_ptr() as u64;
    bpf(MAP_UPDATE, &mut attributes).map(|_| ())
}

fn load(instructions: &[u64]) -> io::Result<OwnedFd> {
    let license = c"GPL";
    let mut attributes = Attributes::default();
    attributes[0] = pair(CLASSIFIER, u32::try_from(instructions.len()).expect("few"));
    attributes[1] = instructions.as_ptr() as u64;
    attributes[2] = license.as_ptr() as u64;
    descriptor(PROG_LOAD, &mut attributes)
}

/// One instruction: operation, destination, source, offset, immediate.
const fn op(code: u8, dst: u8, src: u8, offset: i16, immediate: i32) -> u64 {
    code as u64
        | (dst as u64) << 8
        | (src as u64) << 12
        | (offset as u16 as u64) << 16
        | (immediate as u32 as u64) << 32
}

const EXIT: u64 = op(0x95, 0, 0, 0, 0);

/// Loads the address of a map into a register: two instructions.
fn map_address(register: u8, map: &OwnedFd) -> [u64; 2] {
    [op(0x18, register, 1, 0, map.as_raw_fd()), 0]
}

/// A program that does nothing.
pub fn empty() -> io::Result<OwnedFd> {
    load(&[op(0xb7, 0, 0, 0, -1), EXIT])
}

/// A program that finds the one entry of an LRU hash with a key of 16 bytes.
pub fn lookup() -> io::Result<(OwnedFd, OwnedFd)> {
    let table = map(LRU_HASH, 16, 8, 1024)?;
    put(&table, &[0; 16], &[0; 8])?;
    let [first, second] = map_address(1, &table);
    let program = load(&[
        op(0x7a, 10, 0, -8, 0),
        op(0x7a, 10, 0, -16, 0),
        op(0xbf, 2, 10, 0, 0),
        op(0x07, 2, 0, 0, -16),
        first,
        second,
        op(0x85, 0, 0, 0, 1),
        op(0xb7, 0, 0, 0, -1),
        EXIT,
    ])?;
    Ok((program, table))
}

/// A program that adds one to the source port (its low byte in memory, so it steps by 256 and wraps after 65,536) of the
/// UDP or TCP packet whose IP header has `header` bytes, and goes on to `next`.
pub fn renumber(next: BorrowedFd<'_>, header: i16) -> io::Result<(OwnedFd, OwnedFd)> {
    let programs = map(PROG_ARRAY, 4, 4, 1)?;
    put(
        &programs,
        &0_u32.to_ne_bytes(),
        &number(&next).to_ne_bytes(),
    )?;
    let [first, second] = map_address(2, &programs);
    let port = 14 + header;
    let program = load(&[
        op(0xbf, 6, 1, 0, 0),
        op(0x61, 2, 6, 76, 0),
        op(0x61, 3, 6, 80, 0),
        op(0xbf, 4, 2, 0, 0),
        op(0x07, 4, 0, 0, i32::from(port) + 2),
        op(0x2d, 4, 3, 8, 0),
        op(0x69, 5, 2, port, 0),
        op(0x07, 5, 0, 0, 1),
        op(0x6b, 2, 5, port, 0),
        op(0xbf, 1, 6, 0, 0),
        first,
        second,
        op(0xb7, 3, 0, 0, 0),
        op(0x85, 0, 0, 0, 12),
        op(0xb7, 0, 0, 0, 2),
        EXIT,
    ])?;
    Ok((program, programs))
}

/// Runs a program on a frame again and again; the mean duration of one run, and its last answer.
pub fn run(program: BorrowedFd<'_>, frame: &[u8], repeat: u32) -> io::Result<(Duration, u32)> {
    run_from(program, frame, 7, repeat)
}

/// The same for a packet that came in by this device; 0: this machine's own.
pub fn run_from(
    program: BorrowedFd<'_>,
    frame: &[u8],
    ingress: u32,
    repeat: u32,
) -> io::Result<(Duration, u32)> {
    let mut skb = [0_u8; 192];
    skb[36..40].copy_from_slice(&ingress.to_ne_bytes());
    let mut attributes = Attributes::default();
    attributes[0] = number(&program).into();
    attributes[1] = pair(u32::try_from(frame.len()).expect("short"), 0);
    attributes[2] = frame.as_ptr() as u64;
    attributes[4] = pair(repeat, 0);
    attributes[5] = pair(192, 0);
    attributes[6] = skb.as_ptr() as u64;
    bpf(PROG_RUN, &mut attributes)?;
    // The answer stands behind the descriptor, the duration behind the repetitions.
    let high = |word: u64| u32::try_from(word >> 32).expect("half a word");
    Ok((
        Duration::from_nanos(high(attributes[4]).into()),
        high(attributes[0]),
    ))
}
