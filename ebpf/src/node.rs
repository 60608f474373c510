//! The hooks of packets at sockets: in front of the node's own, and behind those of pods.

use aya_ebpf::{
    EbpfContext as _,
    bindings::__sk_buff,
    programs::{SkBuffContext, TcContext},
};
use ringfence_common::{
    Hook,
    cell::Verdict,
    event::Reason,
    judge::{self, Context, Outcome, Tables as _},
};

use crate::{
    bytes::Linear,
    tables::Maps,
    tc::{Passed, Said},
};

const DROP: i32 = 0;
const PASS: i32 = 1;

/// Judges what a socket is about to receive. The packet begins with its IP header.
#[inline(always)]
pub fn receive(context: &SkBuffContext) -> i32 {
    let skb: *mut __sk_buff = context.as_ptr().cast();
    if asked_about(skb, 0).refuses() {
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
    write_mark(skb, tables.config().mark.stamped(at.mark, passed.stamp()))
}

/// Asks about what a socket below the pods' cgroups sends. What is told of here is not told of again where it leaves the node.
#[inline(always)]
pub fn send(context: &SkBuffContext) -> i32 {
    let skb: *mut __sk_buff = context.as_ptr().cast();
    let said = asked_about(skb, SENT);
    if said.refuses() {
        return DROP;
    }
    if said == Said::NOTHING {
        return PASS;
    }
    let (length, _, at) = seen(skb);
    let Some(tables) = Maps::new(length) else {
        return DROP;
    };
    write_mark(skb, tables.config().mark.told(at.mark))
}

/// Lets a packet pass with this mark.
#[inline(always)]
fn write_mark(skb: *mut __sk_buff, mark: u32) -> i32 {
    // SAFETY: the context is a valid `__sk_buff` for the whole run of the program, and this kind of program may write the mark.
    unsafe {
        if mark != (*skb).mark {
            (*skb).mark = mark;
        }
    }
    PASS
}

/// What the metadata firewall is told of a packet that a socket sends; without it, it is one that a socket is about to receive.
const SENT: u64 = 1;

/// The metadata firewall at sockets.
#[inline(always)]
fn asked_about(skb: *mut __sk_buff, way: u64) -> Said {
    let said = Said(firewall(skb, way));
    if said != Said::NOTHING {
        tell(skb, way, said.0);
    }
    said
}

/// What the firewall says. This and the next are functions with stacks of their own.
#[inline(never)]
extern "C" fn firewall(skb: *mut __sk_buff, way: u64) -> u64 {
    let (tables, protocol, at) = asked(skb, way);
    let Some(tables) = tables else {
        return Said::of(&Outcome::deny(Reason::BadCell)).0;
    };
    let bytes = Linear::of(&TcContext::new(skb));
    Said::of(&judge::firewall(&tables, &bytes, &at, Some(protocol))).0
}

/// Tells of what it said.
#[inline(never)]
extern "C" fn tell(skb: *mut __sk_buff, way: u64, said: u64) -> u64 {
    if let (Some(tables), protocol, at) = asked(skb, way) {
        let bytes = Linear::of(&TcContext::new(skb));
        let outcome = Said(said).outcome();
        judge::tell_firewall(&tables, &bytes, &at, Some(protocol), &outcome);
    }
    0
}

#[inline(always)]
fn asked<'a>(skb: *mut __sk_buff, way: u64) -> (Option<Maps<'a>>, u16, Context) {
    let (length, protocol, at) = seen(skb);
    let (hook, sender) = if way == SENT {
        (Hook::SocketPackets, skb)
    } else {
        // Its socket is the receiver's.
        (Hook::ToNode, core::ptr::null_mut())
    };
    (Maps::sent(length, sender), protocol, Context { hook, ..at })
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
