//! The TC hooks.

use aya_ebpf::{
    EbpfContext as _,
    bindings::{TC_ACT_SHOT, TC_ACT_UNSPEC},
    helpers::generated::bpf_jiffies64,
    programs::TcContext,
};
use ringfence_common::{
    Hook,
    cell::Verdict,
    judge::{self, Context, Outcome, Tables as _},
    packet::{Bytes as _, MAX_HEADERS},
    protocol,
};

use crate::{bytes::Linear, tables::Maps};

/// Bytes that are pulled in when the headers are not in the linear part: as far as the parser looks.
const PULL: u32 = MAX_HEADERS as u32;

/// Judges a packet at a pod's hook.
///
/// Allowed packets go on to the CNI's own programs: `TC_ACT_UNSPEC` is `TCX_NEXT`, while `TC_ACT_OK` and
/// `TC_ACT_PIPE` would skip them.
#[inline(always)]
pub fn pod(context: &TcContext, hook: Hook) -> i32 {
    gather(context);
    let bytes = Linear::of(context);
    let Some(tables) = Maps::new(context.len()) else {
        return TC_ACT_SHOT;
    };
    let at = at(context, hook);
    let outcome = judge::judge(&tables, &bytes, &at);
    action(context, &tables, &at, &outcome)
}

/// What a device that leads off the node is.
#[derive(Clone, Copy)]
pub struct Device {
    /// Its packets have an Ethernet header.
    pub frame: bool,
    /// It opens what comes in.
    pub tunnel: bool,
}

/// Judges a packet at a device that leads off the node.
#[inline(always)]
pub fn host(context: &TcContext, hook: Hook, device: Device) -> i32 {
    gather(context);
    let bytes = Linear::of(context);
    let Some(tables) = Maps::new(context.len()) else {
        return TC_ACT_SHOT;
    };
    let at = at(context, hook);
    let layer3 = (!device.frame).then(|| protocol_of(context));
    let outcome = match hook {
        Hook::FromHost => judge::entering(&tables, &bytes, &at, layer3, device.tunnel),
        _ => judge::leaving(&tables, &bytes, &at, layer3),
    };
    action(context, &tables, &at, &outcome)
}

/// The packet's `EtherType`, as the kernel has it.
#[inline(always)]
fn protocol_of(context: &TcContext) -> u16 {
    let skb = context.as_ptr().cast::<aya_ebpf::bindings::__sk_buff>();
    // SAFETY: the context is a valid `__sk_buff` for the whole run of the program.
    u16::from_be(unsafe { (*skb).protocol } as u16)
}

/// The kernel's clock in jiffies, its low 32 bits.
#[inline(always)]
pub fn jiffies() -> i32 {
    // SAFETY: the helper takes no arguments and reads the kernel's jiffies.
    (unsafe { bpf_jiffies64() }) as i32
}

/// Says in the mark of what passes who sent it, as far as that is still of interest.
#[inline(always)]
fn action(context: &TcContext, tables: &Maps<'_>, at: &Context, outcome: &Outcome) -> i32 {
    if matches!(outcome.verdict, Verdict::Deny) {
        return TC_ACT_SHOT;
    }
    let mark = tables.config().mark.stamped(at.mark, outcome.stamp);
    if mark != at.mark {
        let skb = context.as_ptr().cast::<aya_ebpf::bindings::__sk_buff>();
        // SAFETY: the context is a valid `__sk_buff` for the whole run of the program, and its mark may be written.
        unsafe { (*skb).mark = mark };
    }
    TC_ACT_UNSPEC
}

/// Makes sure that the headers are in the linear part.
///
/// Pulling costs a copy, and the stack's own TCP segments have their data in pages and just their headers linear, so
/// these are left alone. A packet from a packet socket or a tunnel may have nothing there at all.
#[inline(always)]
fn gather(context: &TcContext) {
    let linear = Linear::of(context);
    if !linear.is_partial() || has_headers(&linear) {
        return;
    }
    let wanted = if context.len() < PULL {
        context.len()
    } else {
        PULL
    };
    // If it fails, the parser finds the packet truncated and it is dropped.
    let _: Result<(), _> = context.pull_data(wanted);
}

/// True if Ethernet, IP and TCP headers without options and extensions are linear.
#[inline(always)]
fn has_headers(linear: &Linear) -> bool {
    if let Some(head) = linear.window::<54>(0)
        && [head[12], head[13], head[14]] == [0x08, 0x00, 0x45]
    {
        return head[23] == protocol::TCP;
    }
    match linear.window::<74>(0) {
        Some(head) => [head[12], head[13]] == [0x86, 0xdd] && head[20] == protocol::TCP,
        None => false,
    }
}

#[inline(always)]
fn at(context: &TcContext, hook: Hook) -> Context {
    let skb = context.as_ptr().cast::<aya_ebpf::bindings::__sk_buff>();
    // SAFETY: the context is a valid `__sk_buff` for the whole run of the program.
    let (ifindex, ingress, mark) = unsafe { ((*skb).ifindex, (*skb).ingress_ifindex, (*skb).mark) };
    Context {
        hook,
        ifindex,
        ingress,
        mark,
    }
}
