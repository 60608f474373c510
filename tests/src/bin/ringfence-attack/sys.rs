//! The few system calls that the standard library and `socket2` do not have.

use std::{
    ffi::CString,
    io,
    os::fd::{AsRawFd, RawFd},
};

use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, Socket, Type};

/// Sets any option of a socket.
pub fn set(socket: &impl AsRawFd, level: i32, name: i32, value: &[u8]) -> io::Result<()> {
    let length = libc::socklen_t::try_from(value.len()).map_err(io::Error::other)?;
    // SAFETY: the pointer and the length are of one slice that outlives the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            value.as_ptr().cast(),
            length,
        )
    };
    checked(result.into()).map(drop)
}

/// Sets an option that is a number.
pub fn set_number(socket: &impl AsRawFd, level: i32, name: i32, value: i32) -> io::Result<()> {
    set(socket, level, name, &value.to_ne_bytes())
}

/// The index of a device of this namespace.
pub fn device_index(name: &str) -> io::Result<u32> {
    let name = CString::new(name).map_err(io::Error::other)?;
    // SAFETY: a string with an end that outlives the call.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => Err(io::Error::last_os_error()),
        index => Ok(index),
    }
}

/// The hardware address of a device of this namespace.
pub fn hardware_address(name: &str) -> io::Result<[u8; 6]> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
    // SAFETY: plain numbers and a union of them, for which zero is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (slot, byte) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *slot = byte.cast_signed();
    }
    // SAFETY: the kernel writes no more than this structure, which lives through the call.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFHWADDR, &mut request) };
    checked(result.into())?;
    // SAFETY: this request fills in this variant.
    let data = unsafe { request.ifr_ifru.ifru_hwaddr }.sa_data;
    let mut address = [0; 6];
    for (slot, byte) in address.iter_mut().zip(data) {
        *slot = byte.cast_unsigned();
    }
    Ok(address)
}

/// A packet socket for whole frames at a device, and where to send them.
pub fn packet_socket(device: &str) -> io::Result<(Socket, SockAddr)> {
    let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(0)))?;
    let index = i32::try_from(device_index(device)?).map_err(io::Error::other)?;
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: the view is of a smaller structure of plain numbers in a zeroed storage.
    let view = unsafe { storage.view_as::<libc::sockaddr_ll>() };
    view.sll_family = u16::try_from(libc::AF_PACKET).map_err(io::Error::other)?;
    view.sll_ifindex = index;
    view.sll_halen = 6;
    let length =
        libc::socklen_t::try_from(size_of::<libc::sockaddr_ll>()).map_err(io::Error::other)?;
    // SAFETY: family and length are those of what was written.
    let address = unsafe { SockAddr::new(storage, length) };
    Ok((socket, address))
}

/// Waits until something can be read, for no longer than [`crate::attack::PATIENCE`].
pub fn readable(socket: &impl AsRawFd) -> io::Result<bool> {
    wait(socket.as_raw_fd(), libc::POLLIN)
}

/// The same for writing, as when a connection comes up.
pub fn writable(socket: &impl AsRawFd) -> io::Result<bool> {
    wait(socket.as_raw_fd(), libc::POLLOUT)
}

fn wait(fd: RawFd, events: libc::c_short) -> io::Result<bool> {
    let mut poll = libc::pollfd {
        fd,
        events,
        revents: 0,
    };
    let limit = i32::try_from(crate::attack::PATIENCE.as_millis()).map_err(io::Error::other)?;
    // SAFETY: one entry, which lives through the call.
    let ready = unsafe { libc::poll(&raw mut poll, 1, limit) };
    checked(ready.into()).map(|ready| ready > 0)
}

fn checked(result: i64) -> io::Result<i64> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}
