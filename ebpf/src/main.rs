//! Ringfence's kernel half: entry points only. What they do is in `ringfence-common`, where the host tests it.
#![no_std]
#![no_main]
#![expect(
    clippy::cast_possible_truncation,
    reason = "indices, ports and clocks are cut on purpose"
)]
#![expect(
    missing_docs,
    reason = "the program macros emit a public function without the documentation above it"
)]

mod bytes;
mod cgroup;
mod family;
mod maps;
mod node;
mod report;
mod socket;
mod tables;
mod tc;

use aya_ebpf::{
    macros::{cgroup_skb, cgroup_sock_addr, classifier},
    programs::{SkBuffContext, SockAddrContext, TcContext},
};
use ringfence_common::Hook;

/// TC ingress of a pod's host-side device: what the pod sends.
#[classifier]
#[inline(always)]
pub fn from_pod(context: TcContext) -> i32 {
    tc::pod(&context, Hook::FromPod)
}

/// TC egress of a pod's host-side device: what the pod receives.
#[classifier]
#[inline(always)]
pub fn to_pod(context: TcContext) -> i32 {
    tc::pod(&context, Hook::ToPod)
}

/// TC egress of a device that leads off the node.
#[classifier]
#[inline(always)]
pub fn to_host(context: TcContext) -> i32 {
    tc::to_host(&context)
}

/// TC ingress of a device that leads off the node.
#[classifier]
#[inline(always)]
pub fn from_host(context: TcContext) -> i32 {
    tc::from_host(&context)
}

/// The same as `to_host` for devices without Ethernet.
#[classifier]
#[inline(always)]
pub fn to_host_l3(context: TcContext) -> i32 {
    tc::to_host_l3(&context)
}

/// The same as `from_host` for devices without Ethernet.
#[classifier]
#[inline(always)]
pub fn from_host_l3(context: TcContext) -> i32 {
    tc::from_host_l3(&context)
}

/// TC ingress of a tunnel: what it has opened.
#[classifier]
#[inline(always)]
pub fn from_tunnel(context: TcContext) -> i32 {
    tc::from_tunnel(&context)
}

/// The same as `from_tunnel` for devices without Ethernet.
#[classifier]
#[inline(always)]
pub fn from_tunnel_l3(context: TcContext) -> i32 {
    tc::from_tunnel_l3(&context)
}

/// TC egress of `lo`.
#[classifier]
#[inline(always)]
pub fn to_lo(context: TcContext) -> i32 {
    tc::to_lo(&context)
}

/// TC egress of the node's inner devices: ends of pairs of which it has both, ports of bonds.
#[classifier]
#[inline(always)]
pub fn to_inner(context: TcContext) -> i32 {
    tc::to_inner(&context)
}

/// What a socket below the pods' cgroups sends.
#[cgroup_skb(egress)]
#[inline(always)]
pub fn from_socket(context: SkBuffContext) -> i32 {
    node::send(&context)
}

/// What a socket below the root of all cgroups is about to receive.
#[cgroup_skb(ingress)]
#[inline(always)]
pub fn to_node(context: SkBuffContext) -> i32 {
    node::receive(&context)
}

/// Answers with the kernel's clock; run by the agent to measure a jiffy, never attached.
#[classifier]
#[inline(always)]
pub fn clock(_context: TcContext) -> i32 {
    tc::jiffies()
}

/// Before a socket is connected to an IPv4 address.
#[cgroup_sock_addr(connect4)]
#[inline(always)]
pub fn connect4(context: SockAddrContext) -> i32 {
    socket::v4(&context)
}

/// Before a socket is connected to an IPv6 address.
#[cgroup_sock_addr(connect6)]
#[inline(always)]
pub fn connect6(context: SockAddrContext) -> i32 {
    socket::v6(&context)
}

/// Before an unconnected socket sends to an IPv4 address.
#[cgroup_sock_addr(sendmsg4)]
#[inline(always)]
pub fn sendmsg4(context: SockAddrContext) -> i32 {
    socket::v4(&context)
}

/// Before an unconnected socket sends to an IPv6 address.
#[cgroup_sock_addr(sendmsg6)]
#[inline(always)]
pub fn sendmsg6(context: SockAddrContext) -> i32 {
    socket::v6(&context)
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
