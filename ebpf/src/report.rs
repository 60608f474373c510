//! Events to user space: few, cheap, and counted when they are lost.

use aya_ebpf::{bindings::BPF_RB_NO_WAKEUP, helpers::generated::bpf_ktime_get_ns};
use ringfence_common::{
    Hook,
    config::Config,
    event::{Event, LOST_EVENTS, REASONS},
    judge::{Context, Outcome, Seen},
};

use crate::{maps, tables::add_one};

/// Takes one event from this CPU's allowance for the tick.
#[inline(always)]
pub fn may_send(config: &Config, now: u32) -> bool {
    let Some(rate) = maps::RATE.get_ptr_mut(0) else {
        return false;
    };
    // SAFETY: this CPU's own value; no other program run touches it while this one is on the CPU.
    let rate = unsafe { &mut *rate };
    if rate.tick != now {
        rate.tick = now;
        rate.sent = 0;
    }
    if rate.sent >= config.events_per_tick {
        add_one(LOST_EVENTS);
        return false;
    }
    rate.sent += 1;
    true
}

/// Counts the bytes of a packet that is dropped.
#[inline(always)]
pub fn denied(hook: Hook, outcome: &Outcome, length: u32) {
    let index = hook as u32 * REASONS as u32 + outcome.reason as u32;
    if let Some(bytes) = maps::DENIED_BYTES.get_ptr_mut(index) {
        // SAFETY: the pointer is to this CPU's own value, which no other program run touches while this one is on
        // the CPU (migration is off); user space only reads.
        unsafe { *bytes += u64::from(length) };
    }
}

/// Sends an event about a packet. It is put together outside the stack, which has no room for it.
#[inline(always)]
pub fn send(
    context: &Context,
    endpoint: u32,
    outcome: &Outcome,
    seen: &Seen,
    (length, cgroup): (u32, u64),
) {
    let Some(room) = maps::EVENT.get_ptr_mut(0) else {
        return;
    };
    // SAFETY: the pointer is to this CPU's own value: no two programs that use it run on a CPU at a time, but for one of a
    // socket's call that a packet interrupts, which at worst spoils the report about that call. Every field is written.
    unsafe {
        (*room).cell = outcome.cell.0;
        (*room).source = seen.source;
        (*room).destination = seen.destination;
        (*room).endpoint = endpoint;
        (*room).ifindex = context.ifindex;
        (*room).length = length;
        (*room).source_port = seen.source_port;
        (*room).destination_port = seen.destination_port;
        (*room).protocol = seen.protocol;
        (*room).hook = context.hook as u8;
        (*room).reason = outcome.reason as u8;
        (*room).verdict = outcome.verdict as u8;
        (*room)._pad = 0;
        (*room).cgroup = cgroup;
    }
    submit();
}

/// Writes an event to the ring, with the time, or counts it as lost. It is put together outside the stack, which has no
/// room for it.
#[inline(always)]
pub fn output(event: &Event) {
    if let Some(room) = maps::EVENT.get_ptr_mut(0) {
        // SAFETY: the pointer is to this CPU's own value: no two programs that use it run on a CPU at a time, but for one
        // of a socket's call that a packet interrupts, which at worst spoils the report about that call.
        unsafe { room.write(*event) };
        submit();
    }
}

/// The reader wakes by its own timer: waking it here costs more than the rest of the program.
#[inline(never)]
fn submit() {
    let Some(event) = maps::EVENT.get_ptr_mut(0) else {
        return;
    };
    // SAFETY: as in `output`; the helper takes no arguments and reads a clock.
    let event = unsafe {
        (*event).time = bpf_ktime_get_ns();
        &*event
    };
    if maps::EVENTS
        .output(event, u64::from(BPF_RB_NO_WAKEUP))
        .is_err()
    {
        add_one(LOST_EVENTS);
    }
}
