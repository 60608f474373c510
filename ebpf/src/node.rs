//! The hooks of packets at sockets: in front of the node's own, and behind those of pods.

use aya_ebpf::{
    EbpfContext as _,
    bindings::__sk_buff,
    programs::{SkBuffContext, TcContext},
};
use ringfence_common::{
    Hook,
    cell::Verdict,
    judge::{self, Context, Tables as _},
};

use crate::{bytes::Linear, tables::Maps, tc::Passed};

const DROP: i32 = 0;
const PASS: i32 = 1;

/// Judges what a socket is about to receive. The packet begins with its IP header.
#[inline(always)]
pub fn receive(context: &SkBuffContext) -> i32 {
    let skb: *mut __sk_buff = context.as_ptr().cast();
    if firewall(skb, 0) == 0 {
        return DROP;
    }
    let passed = Passed(through(skb));
    let (length, _, at) = seen(skb);
    let Some(tables) = Maps::new(length) else {
        return DROP;
    };
    if passed == Passed::NOT || judge::node_is_judged(&tables) && own(skb) == 0 {
        return DROP;
    }
    let mark = tables.config().mark.stamped(at.mark, passed.stamp());
    if mark != at.mark {
        // SAFETY: the context is a valid `__sk_buff`, and this kind of program may write the mark.
        unsafe { (*skb).mark = mark };
    }
    PASS
}

/// Asks about what a socket below the pods' cgroups sends.
#[inline(always)]
pub fn send(context: &SkBuffContext) -> i32 {
    match firewall(context.as_ptr().cast(), SENT) {
        0 => DROP,
        _ => PASS,
    }
}

/// What [`firewall`] is told of a packet that a socket sends; without it, one that a socket is about to receive.
const SENT: u64 = 1;

/// The metadata firewall in front of sockets; 0 for what may not pass.
#[inline(never)]
extern "C" fn firewall(skb: *mut __sk_buff, way: u64) -> u64 {
    let (length, protocol, at) = seen(skb);
    let (hook, sender) = if way == SENT {
        (Hook::SocketPackets, skb)
    } else {
        // Its socket is the receiver's.
        (Hook::ToNode, core::ptr::null_mut())
    };
    let Some(tables) = Maps::sent(length, sender) else {
        return 0;
    };
    let bytes = Linear::of(&TcContext::new(skb));
    let outcome = judge::firewall(&tables, &bytes, &Context { hook, ..at }, Some(protocol));
    u64::from(!matches!(outcome.verdict, Verdict::Deny))
}

/// Judges who sends through the node. This and the next are functions of their own, with stacks of their own.
#[inline(never)]
extern "C" fn through(skb: *mut __sk_buff) -> u64 {
    let (length, protocol, at) = seen(skb);
    let Some(tables) = Maps::new(length) else {
        return Passed::NOT.0;
    };
    let bytes = Linear::of(&TcContext::new(skb));
    Passed::of(&judge::leaving(&tables, &bytes, &at, Some(protocol))).0
}

/// Judges what is for the node itself; 0 for what may not pass.
#[inline(never)]
extern "C" fn own(skb: *mut __sk_buff) -> u64 {
    let (length, protocol, at) = seen(skb);
    let Some(tables) = Maps::new(length) else {
        return 0;
    };
    let bytes = Linear::of(&TcContext::new(skb));
    let outcome = judge::of_node(&tables, &bytes, &at, Some(protocol));
    u64::from(!matches!(outcome.verdict, Verdict::Deny))
}

/// The packet's length, what it is, and where it is met.
#[inline(always)]
fn seen(skb: *mut __sk_buff) -> (u32, u16, Context) {
    // SAFETY: the context is a valid `__sk_buff` for the whole run of the program.
    unsafe {
        (
            (*skb).len,
            u16::from_be((*skb).protocol as u16),
            Context {
                hook: Hook::ToNode,
                ifindex: (*skb).ifindex,
                ingress: (*skb).ingress_ifindex,
                mark: (*skb).mark,
            },
        )
    }
}
