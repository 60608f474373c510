//! Reads the ring buffer.

use std::time::{Duration, SystemTime};

use aya::maps::{MapData, RingBuf};
use nix::time::{ClockId, clock_gettime};
use ringfence_common::{
    Hook,
    cell::{Cell, Verdict},
    event::{Event, Reason},
};
use zerocopy::FromBytes as _;

use super::{EventView, kernel::Names, maps::unmapped};

/// Takes what the kernel has sent since the last call.
pub fn drain(ring: &mut RingBuf<MapData>, names: &Names) -> Vec<EventView> {
    let boot = boot_time();
    let mut views = Vec::new();
    while let Some(item) = ring.next() {
        // A longer record of a newer object is still readable.
        if let Ok((event, _rest)) = Event::read_from_prefix(&item) {
            views.extend(decode(&event, names, boot));
        }
    }
    views
}

/// When the monotonic clock was zero, on the system's clock.
fn boot_time() -> SystemTime {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC)
        .map(Duration::from)
        .unwrap_or_default();
    SystemTime::now()
        .checked_sub(now)
        .unwrap_or(SystemTime::UNIX_EPOCH)
}

fn decode(event: &Event, names: &Names, boot: SystemTime) -> Option<EventView> {
    let cell = Cell(event.cell);
    let verdict = if event.verdict == Verdict::Allow as u8 {
        Verdict::Allow
    } else {
        Verdict::Deny
    };
    let endpoint = names.endpoints.get(&event.endpoint).or_else(|| {
        names
            .cgroups
            .get(&event.cgroup)
            .filter(|_| event.cgroup != 0)
    });
    Some(EventView {
        time: boot + Duration::from_nanos(event.time),
        hook: Hook::from_u8(event.hook)?,
        verdict,
        // Without a cell nothing was staged: what was denied stays denied.
        staged: cell.staged().unwrap_or(verdict),
        reason: Reason::from_u8(event.reason)?,
        tier: cell.live().and_then(|_| cell.tier()),
        rule: names.rules.get(&cell.rule()).cloned(),
        endpoint: endpoint.cloned(),
        ifindex: event.ifindex,
        source: unmapped(event.source),
        destination: unmapped(event.destination),
        source_port: event.source_port,
        destination_port: event.destination_port,
        protocol: event.protocol,
        length: event.length,
    })
}
