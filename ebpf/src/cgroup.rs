//! Whose a packet or a call is, by the cgroup of the socket or process.

use aya_ebpf::{
    bindings::__sk_buff,
    helpers::generated::{
        bpf_get_current_ancestor_cgroup_id, bpf_get_current_cgroup_id, bpf_skb_ancestor_cgroup_id,
        bpf_skb_cgroup_id,
    },
};
use ringfence_common::judge::Socket;

use crate::maps;

/// Levels of the cgroup hierarchy that are searched: a pod's cgroup lies a few levels below the root, its containers' below
/// that.
const LEVELS: i32 = 12;

/// Who sends a packet: [`Socket`]. The cgroup is the one that the socket was made in.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn sender(skb: *mut __sk_buff) -> u64 {
    // SAFETY: the verifier lets only the context in; the helper answers 0 where there is no socket.
    let own = unsafe { bpf_skb_cgroup_id(skb) };
    let Some(config) = maps::CONFIG.get(0) else {
        return Socket::NOBODY.0;
    };
    if own == 0 {
        // Where pods' cgroups are not known nobody is told apart.
        return if config.pods_cgroup == 0 {
            Socket::NODE.0
        } else {
            Socket::NOBODY.0
        };
    }
    let mut below = false;
    for level in 0..LEVELS {
        // SAFETY: as above; 0 where there is no such ancestor.
        let id = unsafe { bpf_skb_ancestor_cgroup_id(skb, level) };
        if id == 0 {
            break;
        }
        if id == config.pods_cgroup {
            below = true;
        }
        // SAFETY: nothing of the value is read.
        if below && unsafe { maps::GRANTS.get(id) }.is_some() {
            return id;
        }
    }
    if below { own } else { Socket::NODE.0 }
}

/// The cgroup of the process that calls: its pod's if that is known, else its own.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn caller() -> u64 {
    for level in 0..LEVELS {
        // SAFETY: the helper takes a level and answers 0 where there is no such ancestor.
        let id = unsafe { bpf_get_current_ancestor_cgroup_id(level) };
        if id == 0 {
            break;
        }
        // SAFETY: nothing of the value is read.
        if unsafe { maps::GRANTS.get(id) }.is_some() {
            return id;
        }
    }
    // SAFETY: the helper takes no arguments.
    unsafe { bpf_get_current_cgroup_id() }
}
