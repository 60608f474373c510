//! The socket hooks: a process that may not reach a metadata endpoint learns it at once (EPERM).

use aya_ebpf::programs::SockAddrContext;
use ringfence_common::{
    Hook, V6,
    cell::Verdict,
    event::{Event, Reason},
    judge::{Asked, Outcome, Tables as _},
    metadata::{embedded, halves, layers, mapped},
};

use crate::{
    cgroup, report,
    tables::{Maps, count},
};

const REFUSE: i32 = 0;
const PASS: i32 = 1;

/// `connect4` and `sendmsg4`.
#[inline(always)]
pub fn v4(context: &SockAddrContext) -> i32 {
    // SAFETY: the context is valid for the whole run of the program.
    let (address, port, protocol) = unsafe {
        let raw = &*context.sock_addr;
        (raw.user_ip4, raw.user_port, raw.protocol)
    };
    judge(&mapped(&address.to_ne_bytes()), port, protocol, false)
}

/// `connect6` and `sendmsg6`.
#[inline(always)]
pub fn v6(context: &SockAddrContext) -> i32 {
    // SAFETY: the context is valid for the whole run of the program.
    let ([a, b, c, d], port, protocol) = unsafe {
        let raw = &*context.sock_addr;
        let words = [
            raw.user_ip6[0],
            raw.user_ip6[1],
            raw.user_ip6[2],
            raw.user_ip6[3],
        ];
        (words.map(u32::to_ne_bytes), raw.user_port, raw.protocol)
    };
    let address = [
        a[0], a[1], a[2], a[3], b[0], b[1], b[2], b[3], c[0], c[1], c[2], c[3], d[0], d[1], d[2],
        d[3],
    ];
    let verdict = judge(&address, port, protocol, true);
    match embedded(&address) {
        Some(inner) if verdict == PASS => judge(&inner, port, protocol, false),
        _ => verdict,
    }
}

/// `translated`: it may be an IPv4 address behind a prefix that the agent was told of.
#[inline(always)]
fn judge(address: &V6, port: u32, protocol: u32, translated: bool) -> i32 {
    let Some(tables) = Maps::new(0) else {
        return REFUSE;
    };
    let translated = translated && tables.config().nat64[0].bytes != 0;
    if !tables.may_be_metadata(address) && !translated {
        return PASS;
    }
    let port = u16::from_be(port as u16);
    let (first, second) = halves(address);
    let asked = Asked::new(protocol as u8, Some(port));
    let mut needed = tables.endpoint_at(first, second, asked);
    if translated {
        needed |= tables.endpoint_behind(first, second, asked);
    }
    if needed == 0 || !tables.config().has_layer(layers::SOCKETS) {
        return PASS;
    }
    let cgroup = cgroup::caller();
    let granted = needed & !tables.grants_of(cgroup).ask() == 0;
    let outcome = if granted {
        Outcome::allow(Reason::Granted)
    } else if tables.config().is_metadata_audited() {
        // What a call that passes leads to is packets, and these are told of, where anything sees them.
        Outcome::audited(!tables.config().has_layer(layers::SOCKET_PACKETS))
    } else {
        Outcome::deny(Reason::Metadata)
    };
    count(Hook::Socket, &outcome);
    let answer = match outcome.verdict {
        Verdict::Allow => PASS,
        Verdict::Deny => REFUSE,
    };
    if !outcome.is_event() {
        return answer;
    }
    if report::may_send(tables.config(), tables.now()) {
        report::output(&Event {
            time: 0,
            cell: outcome.cell.0,
            source: [0; 16],
            destination: *address,
            endpoint: 0,
            ifindex: 0,
            length: 0,
            source_port: 0,
            destination_port: port,
            protocol: protocol as u8,
            hook: Hook::Socket as u8,
            reason: outcome.reason as u8,
            verdict: outcome.verdict as u8,
            _pad: 0,
            cgroup,
        });
    }
    answer
}
