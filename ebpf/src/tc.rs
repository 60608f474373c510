//! The TC hooks.

use aya_ebpf::{
    EbpfContext as _,
    bindings::{__sk_buff, TC_ACT_SHOT, TC_ACT_UNSPEC},
    helpers::generated::bpf_jiffies64,
    programs::TcContext,
};
use ringfence_common::{
    Hook,
    cell::Verdict,
    event::Reason,
    judge::{self, Context, Outcome, Tables as _},
    mark::Stamp,
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
    if matches!(outcome.verdict, Verdict::Deny) {
        return TC_ACT_SHOT;
    }
    let answer = stamp(context, &tables, outcome.stamp);
    if matches!(hook, Hook::FromPod) && outcome.is_audited() {
        let skb = context.as_ptr().cast::<__sk_buff>();
        // SAFETY: the context is a valid `__sk_buff` for the whole run of the program, and its mark may be written.
        unsafe { (*skb).mark = tables.config().mark.told((*skb).mark) };
    }
    answer
}

/// A hook at a device that leads off the node: `frame` says that its packets have an Ethernet header, `tunnel` that it opens
/// what comes in.
///
/// Who sends through the node and what the node does itself are judged one after the other, each in a function with a stack
/// of its own; and for each kind of device by itself, for what is not known where it is compiled costs more of the stack than
/// there is.
macro_rules! device {
    ($name:ident, $through:ident, $own:ident, $hook:ident, frame: $frame:literal, tunnel: $tunnel:literal) => {
        #[inline(always)]
        pub fn $name(context: &TcContext) -> i32 {
            gather(context);
            let skb = context.as_ptr().cast();
            if matches!(Hook::$hook, Hook::ToHost) && is_refused(skb, u64::from($frame) * FRAMED) {
                return TC_ACT_SHOT;
            }
            let passed = Passed($through(skb));
            let Some(tables) = Maps::new(context.len()) else {
                return TC_ACT_SHOT;
            };
            if passed == Passed::NOT || judge::node_is_judged(&tables) && $own(skb) == 0 {
                return TC_ACT_SHOT;
            }
            stamp(context, &tables, passed.stamp())
        }

        #[inline(never)]
        extern "C" fn $through(skb: *mut __sk_buff) -> u64 {
            let context = TcContext::new(skb);
            let bytes = Linear::of(&context);
            let Some(tables) = Maps::new(context.len()) else {
                return Passed::NOT.0;
            };
            let at = at(&context, Hook::$hook);
            let layer3 = (!$frame).then(|| protocol_of(&context));
            let outcome = match Hook::$hook {
                Hook::FromHost => judge::entering(&tables, &bytes, &at, layer3, $tunnel),
                _ => judge::leaving(&tables, &bytes, &at, layer3),
            };
            Passed::of(&outcome).0
        }

        #[inline(never)]
        extern "C" fn $own(skb: *mut __sk_buff) -> u64 {
            let context = TcContext::new(skb);
            let bytes = Linear::of(&context);
            let Some(tables) = Maps::new(context.len()) else {
                return 0;
            };
            let at = at(&context, Hook::$hook);
            let layer3 = (!$frame).then(|| protocol_of(&context));
            let outcome = judge::of_node(&tables, &bytes, &at, layer3);
            u64::from(!matches!(outcome.verdict, Verdict::Deny))
        }
    };
}

device!(to_host, to_host_through, to_host_own, ToHost, frame: true, tunnel: false);
device!(from_host, from_host_through, from_host_own, FromHost, frame: true, tunnel: false);
device!(to_host_l3, to_host_l3_through, to_host_l3_own, ToHost, frame: false, tunnel: false);
device!(from_host_l3, from_host_l3_through, from_host_l3_own, FromHost, frame: false, tunnel: false);
device!(from_tunnel, from_tunnel_through, from_tunnel_own, FromHost, frame: true, tunnel: true);
device!(from_tunnel_l3, from_tunnel_l3_through, from_tunnel_l3_own, FromHost, frame: false, tunnel: true);

/// What the metadata firewall is told besides: whether the packet has an Ethernet header.
const FRAMED: u64 = 1;
/// And that it is about to go over `lo`.
const OF_LO: u64 = 2;

/// The metadata firewall at devices of the node.
#[inline(always)]
fn is_refused(skb: *mut __sk_buff, place: u64) -> bool {
    let said = Said(firewall(skb, place));
    if said != Said::NOTHING {
        tell(skb, place, said.0);
    }
    said.refuses()
}

/// What the firewall says, as a function of its own, with a stack of its own, that the verifier checks once for all devices.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn firewall(skb: *mut __sk_buff, place: u64) -> u64 {
    let context = TcContext::new(skb);
    let bytes = Linear::of(&context);
    let Some(tables) = Maps::sent(context.len(), skb) else {
        return Said::of(&Outcome::deny(Reason::BadCell)).0;
    };
    let (at, layer3) = placed(&context, place);
    Said::of(&judge::firewall(&tables, &bytes, &at, layer3)).0
}

/// Tells of what it said; likewise.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn tell(skb: *mut __sk_buff, place: u64, said: u64) -> u64 {
    let context = TcContext::new(skb);
    let bytes = Linear::of(&context);
    if let Some(tables) = Maps::sent(context.len(), skb) {
        let (at, layer3) = placed(&context, place);
        let outcome = Said(said).outcome();
        judge::tell_firewall(&tables, &bytes, &at, layer3, &outcome);
    }
    0
}

#[inline(always)]
fn placed(context: &TcContext, place: u64) -> (Context, Option<u16>) {
    let hook = if place & OF_LO == 0 {
        Hook::ToHost
    } else {
        Hook::Lo
    };
    let layer3 = (place & FRAMED == 0).then(|| protocol_of(context));
    (at(context, hook), layer3)
}

/// What the metadata firewall has to say of a packet, as one word that a function can answer: 0 for nothing, else the reason in bits
/// 0-7, bit 8 if it passes all the same (in audit), and in bits 32-63 the number of the endpoint that it is about.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Said(pub u64);

impl Said {
    /// Nothing: it passes, and nobody needs to hear of it.
    pub const NOTHING: Self = Self(0);

    const PASSES: u64 = 1 << 8;

    /// The word of this outcome.
    #[inline(always)]
    pub fn of(outcome: &Outcome) -> Self {
        if !outcome.is_event() {
            return Self::NOTHING;
        }
        let passes = match outcome.verdict {
            Verdict::Allow => Self::PASSES,
            Verdict::Deny => 0,
        };
        Self(u64::from(outcome.about) << 32 | passes | outcome.reason as u64)
    }

    /// True if the packet may not pass.
    #[inline(always)]
    pub fn refuses(self) -> bool {
        self != Self::NOTHING && self.0 & Self::PASSES == 0
    }

    /// The outcome of this word.
    #[inline(always)]
    pub fn outcome(self) -> Outcome {
        let outcome = if self.refuses() {
            Outcome::deny(Reason::from_u8(self.0 as u8).unwrap_or(Reason::Metadata))
        } else {
            Outcome::audited(true)
        };
        Outcome {
            about: (self.0 >> 32) as u32,
            ..outcome
        }
    }
}

/// What goes over `lo` loses our bits of the mark: nobody but a pod's own hook writes them for good.
#[inline(always)]
pub fn to_lo(context: &TcContext) -> i32 {
    gather(context);
    let Some(tables) = Maps::new(context.len()) else {
        return TC_ACT_SHOT;
    };
    if is_refused(context.as_ptr().cast(), FRAMED | OF_LO) {
        return TC_ACT_SHOT;
    }
    stamp(context, &tables, Stamp::NONE)
}

/// What the node itself puts on one of its inner devices is asked as over `lo`: it comes in again, or leaves by no other hook. What
/// it forwards there has been judged where it came from, and its mark is the proof of it.
#[inline(always)]
pub fn to_inner(context: &TcContext) -> i32 {
    if at(context, Hook::Lo).generated_here() {
        to_lo(context)
    } else {
        TC_ACT_UNSPEC
    }
}

/// What became of a packet, as one word that a function can answer: 0 if it may not pass, else 1 with its stamp in bits
/// 16-31.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Passed(pub u64);

impl Passed {
    /// It may not.
    pub const NOT: Self = Self(0);

    /// The word of this outcome.
    #[inline(always)]
    pub fn of(outcome: &Outcome) -> Self {
        match outcome.verdict {
            Verdict::Allow => Self(1 | u64::from(outcome.stamp.0) << 16),
            Verdict::Deny => Self::NOT,
        }
    }

    /// What its mark is to say.
    #[inline(always)]
    pub const fn stamp(self) -> Stamp {
        Stamp((self.0 >> 16) as u16)
    }
}

/// The packet's `EtherType`, as the kernel has it.
#[inline(always)]
fn protocol_of(context: &TcContext) -> u16 {
    let skb = context.as_ptr().cast::<__sk_buff>();
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
fn stamp(context: &TcContext, tables: &Maps<'_>, stamp: Stamp) -> i32 {
    let skb = context.as_ptr().cast::<__sk_buff>();
    // SAFETY: the context is a valid `__sk_buff` for the whole run of the program, and its mark may be written.
    unsafe {
        let mark = tables.config().mark.stamped((*skb).mark, stamp);
        if mark != (*skb).mark {
            (*skb).mark = mark;
        }
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
    let skb = context.as_ptr().cast::<__sk_buff>();
    // SAFETY: the context is a valid `__sk_buff` for the whole run of the program.
    let (ifindex, ingress, mark) = unsafe { ((*skb).ifindex, (*skb).ingress_ifindex, (*skb).mark) };
    Context {
        hook,
        ifindex,
        ingress,
        mark,
    }
}
