//! System calls that aya 0.14 keeps to itself. None needs more than what loading programs needs.

use aya::{
    Pod,
    maps::{IterableMap, MapData},
};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use std::{
    ffi::{CStr, CString},
    io,
    os::{
        fd::{AsFd, AsRawFd as _, FromRawFd as _, OwnedFd, RawFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

const MAP_GET_NEXT_KEY: libc::c_int = 4;
const OBJ_GET: libc::c_int = 7;
const OBJ_GET_INFO_BY_FD: libc::c_int = 15;
const MAP_LOOKUP_BATCH: libc::c_int = 24;
const MAP_UPDATE_BATCH: libc::c_int = 26;
const MAP_DELETE_BATCH: libc::c_int = 27;
const LINK_DETACH: libc::c_int = 34;

/// What a pinned link says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LinkState {
    /// The program that it runs.
    pub(super) program: u32,
    /// Index of the device (TCX) or number of the cgroup; 0 if it is attached nowhere any more.
    pub(super) target: u64,
}

/// Looks at a pinned link; `None` if nothing is pinned there.
pub(super) fn pinned_link(pin: &Path) -> io::Result<Option<LinkState>> {
    let fd = match open(pin) {
        Ok(fd) => fd,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    #[repr(C)]
    struct Attributes {
        fd: RawFd,
        length: u32,
        info: u64,
    }
    // `struct bpf_link_info`: type, id, program; at byte 16 what depends on the type. TCX and cgroup links begin there with
    // the device's index (and the side) and with the cgroup's number.
    let mut info = [0_u32; 64];
    let mut attributes = Attributes {
        fd: fd.as_raw_fd(),
        length: 256,
        info: info.as_mut_ptr() as u64,
    };
    // SAFETY: the kernel writes at most `length` bytes, which `info` has.
    unsafe { bpf(OBJ_GET_INFO_BY_FD, &mut attributes) }?;
    const CGROUP: u32 = 3;
    let target = match info[0] {
        CGROUP => u64::from(info[4]) | u64::from(info[5]) << 32,
        _ => u64::from(info[4]),
    };
    Ok(Some(LinkState {
        program: info[2],
        target,
    }))
}

/// Ends what a pinned link attaches at once; that the pin goes would end it only some time later (Linux frees what was pinned
/// after a grace period).
pub(super) fn detach_pinned(pin: &Path) -> io::Result<()> {
    #[repr(C)]
    struct Attributes {
        fd: RawFd,
    }
    let link = open(pin)?;
    let mut attributes = Attributes {
        fd: link.as_raw_fd(),
    };
    // SAFETY: the attributes are one descriptor, which is open until after the call.
    unsafe { bpf(LINK_DETACH, &mut attributes) }.map(|_| ())
}

fn open(pin: &Path) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct Attributes {
        path: u64,
        fd: u32,
        flags: u32,
    }
    let path = CString::new(pin.as_os_str().as_bytes())?;
    let mut attributes = Attributes {
        path: path.as_ptr() as u64,
        fd: 0,
        flags: 0,
    };
    // SAFETY: the kernel reads the path, which lives until after the call.
    let fd = unsafe { bpf(OBJ_GET, &mut attributes) }?;
    // SAFETY: the kernel has just given us this descriptor, and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The key of a map that follows this one, or the first; `None` after the last. A key that is gone meanwhile begins anew.
pub(super) fn next_key(
    map: impl AsFd,
    bytes: usize,
    after: Option<&[u8]>,
) -> io::Result<Option<Vec<u8>>> {
    #[repr(C)]
    struct Attributes {
        map: RawFd,
        _pad: u32,
        key: u64,
        next: u64,
    }
    if after.is_some_and(|key| key.len() != bytes) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut next = vec![0_u8; bytes];
    let mut attributes = Attributes {
        map: map.as_fd().as_raw_fd(),
        _pad: 0,
        key: after.map_or(0, |key| key.as_ptr() as u64),
        next: next.as_mut_ptr() as u64,
    };
    // SAFETY: the kernel reads and writes one key each; the caller says how long one is, and both are so long.
    match unsafe { bpf(MAP_GET_NEXT_KEY, &mut attributes) } {
        Ok(_) => Ok(Some(next)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Of many elements in one call (Linux 5.6): a table has tens of thousands.
#[repr(C)]
struct Batch {
    before: u64,
    last: u64,
    keys: u64,
    values: u64,
    count: u32,
    map: RawFd,
    element_flags: u64,
    flags: u64,
}

impl Batch {
    fn of<K>(map: &MapData, keys: &[K]) -> io::Result<Self> {
        Ok(Self {
            before: 0,
            last: 0,
            keys: keys.as_ptr() as u64,
            values: 0,
            count: u32::try_from(keys.len()).map_err(io::Error::other)?,
            map: map.fd().as_fd().as_raw_fd(),
            element_flags: 0,
            flags: 0,
        })
    }
}

/// Writes elements in their order. After an error the first of them may have been written.
pub(super) fn update_batch<K: Pod, V: Pod>(
    map: &impl IterableMap<K, V>,
    keys: &[K],
    values: &[V],
) -> io::Result<()> {
    if keys.len() != values.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    if keys.is_empty() {
        return Ok(());
    }
    let mut attributes = Batch {
        values: values.as_ptr() as u64,
        ..Batch::of(map.map(), keys)?
    };
    // SAFETY: the kernel reads `count` keys and values, which there are, each as long as the map's: aya has compared them
    // when it made the typed handle.
    unsafe { bpf(MAP_UPDATE_BATCH, &mut attributes) }.map(|_| ())
}

/// Removes elements in their order, as far as the first that is not there.
pub(super) fn delete_batch<K: Pod, V: Pod>(
    map: &impl IterableMap<K, V>,
    keys: &[K],
) -> io::Result<()> {
    if keys.is_empty() {
        return Ok(());
    }
    let mut attributes = Batch::of(map.map(), keys)?;
    // SAFETY: the kernel reads `count` keys, which there are, each as long as the map's: aya has compared them when it made
    // the typed handle.
    unsafe { bpf(MAP_DELETE_BATCH, &mut attributes) }.map(|_| ())
}

/// Reads elements of an array from this one on, one for each of `into`.
pub(super) fn read_array<V: Pod>(
    map: &impl IterableMap<u32, V>,
    first: u32,
    into: &mut [V],
) -> io::Result<()> {
    if into.is_empty() {
        return Ok(());
    }
    let mut keys = vec![0_u32; into.len()];
    let before = first.wrapping_sub(1);
    let mut last = 0_u32;
    let mut attributes = Batch {
        // The array's own order: from the one after `before`, from the first one without.
        before: if first == 0 {
            0
        } else {
            (&raw const before) as u64
        },
        last: (&raw mut last) as u64,
        keys: keys.as_mut_ptr() as u64,
        values: into.as_mut_ptr() as u64,
        ..Batch::of(map.map(), &keys)?
    };
    // SAFETY: the kernel writes at most `count` keys and values, for which there is room, each as long as the map's: aya has
    // compared them when it made the typed handle; `before` and `last` are one key each.
    unsafe { bpf(MAP_LOOKUP_BATCH, &mut attributes) }?;
    if attributes.count as usize == into.len() && keys[0] == first {
        Ok(())
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

/// The devices of a network namespace, for asking of hundreds of them with one socket: to open and close one costs more than
/// the question.
#[derive(Debug)]
pub(super) struct Devices(OwnedFd);

impl Devices {
    /// Those of the network namespace that this thread is in.
    pub(super) fn of_this_thread() -> io::Result<Self> {
        let socket = socket(
            AddressFamily::Unix,
            SockType::Datagram,
            SockFlag::SOCK_CLOEXEC,
            None,
        )?;
        Ok(Self(socket))
    }

    /// The name of a device; `None` if there is none of this index.
    pub(super) fn name(&self, ifindex: u32) -> Option<String> {
        // SAFETY: all zeros are a request, whatever member of its union is read.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        request.ifr_ifru.ifru_ifindex = ifindex.try_into().ok()?;
        // SAFETY: the kernel reads and writes one `ifreq`, which there is.
        let done = unsafe { libc::ioctl(self.0.as_raw_fd(), libc::SIOCGIFNAME, &raw mut request) };
        let name = request.ifr_name.map(|byte| byte.to_ne_bytes()[0]);
        let name = CStr::from_bytes_until_nul(&name).ok()?;
        (done == 0).then(|| name.to_str().ok().map(str::to_owned))?
    }
}

/// # Safety
///
/// The attributes must be those of the command, and what they point at must be as long as it says.
unsafe fn bpf<A>(command: libc::c_int, attributes: &mut A) -> io::Result<RawFd> {
    // SAFETY: the kernel touches as many bytes of the attributes as there are; the rest is the caller's promise.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_mut(attributes),
            size_of::<A>(),
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    RawFd::try_from(result).map_err(|error| io::Error::other(error.to_string()))
}
