//! The hook in front of the node's own sockets.

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

use crate::{bytes::Linear, tables::Maps};

const DROP: i32 = 0;
const PASS: i32 = 1;

/// Judges what a socket is about to receive. The packet begins with its IP header.
#[inline(always)]
pub fn receive(context: &SkBuffContext) -> i32 {
    let skb: *mut __sk_buff = context.as_ptr().cast();
    // SAFETY: the context is a valid `__sk_buff` for the whole run of the program.
    let (length, protocol, at) = unsafe {
        (
            (*skb).len,
            (*skb).protocol,
            Context {
                hook: Hook::ToNode,
                ifindex: (*skb).ifindex,
                ingress: (*skb).ingress_ifindex,
                mark: (*skb).mark,
            },
        )
    };
    let Some(tables) = Maps::new(length) else {
        return DROP;
    };
    let bytes = Linear::of(&TcContext::new(skb));
    let ethertype = u16::from_be(protocol as u16);
    let outcome = judge::leaving(&tables, &bytes, &at, Some(ethertype));
    if matches!(outcome.verdict, Verdict::Deny) {
        return DROP;
    }
    let mark = tables.config().mark.stamped(at.mark, outcome.stamp);
    if mark != at.mark {
        // SAFETY: as above; this kind of program may write the mark.
        unsafe { (*skb).mark = mark };
    }
    PASS
}
