//! A packet whose headers are not in the linear part: a packet socket's transmit ring hands over pages, and the kernel
//! copies only the link-layer header out of them (`PACKET_TX_RING`, packet(7)).

use std::{
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    ptr,
};

/// Bytes of the ring: one frame.
const FRAME: usize = 4096;
/// `TPACKET_HDRLEN - sizeof(struct sockaddr_ll)`: where a frame's data begins (version 1 of the header).
const DATA: usize = 32;

/// Sends a frame through the device of this index in the thread's network namespace.
///
/// # Errors
///
/// What the kernel refused.
///
/// # Panics
///
/// If the frame is longer than a page.
pub fn send(ifindex: u32, frame: &[u8]) -> io::Result<()> {
    assert!(frame.len() <= FRAME - DATA, "one page");
    let check = |result: libc::c_int| {
        if result < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(result)
        }
    };
    let protocol = u16::to_be(0x0800);
    // SAFETY: plain system call; the descriptor it returns is nobody else's.
    let socket = unsafe {
        let fd = check(libc::socket(
            libc::AF_PACKET,
            libc::SOCK_RAW,
            i32::from(protocol),
        ))?;
        OwnedFd::from_raw_fd(fd)
    };
    let fd = socket.as_raw_fd();
    let size = u32::try_from(FRAME).expect("a page");
    let request = libc::tpacket_req {
        tp_block_size: size,
        tp_block_nr: 1,
        tp_frame_size: size,
        tp_frame_nr: 1,
    };
    // SAFETY: the option takes a `tpacket_req`, which lives through the call.
    check(unsafe {
        libc::setsockopt(
            fd,
            libc::SOL_PACKET,
            libc::PACKET_TX_RING,
            (&raw const request).cast(),
            length::<libc::tpacket_req>(),
        )
    })?;
    // SAFETY: all zero is a valid `sockaddr_ll`.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = u16::try_from(libc::AF_PACKET).expect("small");
    address.sll_protocol = protocol;
    address.sll_ifindex = i32::try_from(ifindex).expect("an index");
    // SAFETY: the address lives through the call and has the length that is said.
    check(unsafe {
        libc::bind(
            fd,
            (&raw const address).cast(),
            length::<libc::sockaddr_ll>(),
        )
    })?;
    // SAFETY: maps the ring that was just made; nothing else is at the address that the kernel chooses.
    let ring = unsafe {
        libc::mmap(
            ptr::null_mut(),
            FRAME,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED,
            fd,
            0,
        )
    };
    if ring == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    let status: libc::c_ulong = libc::TP_STATUS_SEND_REQUEST.into();
    let frame_length = u32::try_from(frame.len()).expect("a page");
    // SAFETY: the ring is one page that only this thread writes until it is handed over by `send`; header and data
    // lie within it, as asserted.
    let sent = unsafe {
        let ring = ring.cast::<u8>();
        ptr::copy_nonoverlapping(frame.as_ptr(), ring.add(DATA), frame.len());
        ring.add(8).cast::<u32>().write(frame_length);
        ring.add(12).cast::<u32>().write(frame_length);
        ring.cast::<libc::c_ulong>().write_volatile(status);
        libc::send(fd, ptr::null(), 0, 0)
    };
    // SAFETY: unmaps what was mapped above.
    unsafe { libc::munmap(ring, FRAME) };
    if sent < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

fn length<T>() -> libc::socklen_t {
    libc::socklen_t::try_from(size_of::<T>()).expect("small")
}
