//! The maps' content as plain values.

use std::{collections::BTreeMap, net::IpAddr};

use aya::maps::{MapData, MapError, PerCpuArray};
use ringfence_common::{
    Hook,
    cell::Verdict,
    connection::{Connection, ConnectionKey, NOBODY, state, verdict},
    endpoint::{NODE_IFINDEX, flags},
    event::{LOST_EVENTS, REASONS, Reason, UNTRACKED},
    metadata::Grants,
};

use super::{
    ConnectionView, Counters, Drift, EndpointView, KernelError, kernel::Names, maps::Maps,
};
use crate::diff::{Bits, Installed};

fn trouble(map: &str, error: &MapError) -> KernelError {
    KernelError::Other(format!("cannot read the map {map}: {error}"))
}

/// Endpoints, by interface index.
pub fn endpoints(installed: &Installed, names: &Names, bits: Option<&Bits>) -> Vec<EndpointView> {
    let view = |(&ifindex, state): (&u32, &crate::diff::EndpointState)| {
        let record = &state.record;
        let v4 = record
            .addresses4
            .iter()
            .filter(|address| **address != [0; 4]);
        let v6 = record
            .addresses6
            .iter()
            .filter(|address| **address != [0; 16]);
        let hardware = record.flags & flags::HARDWARE_ADDRESS != 0;
        EndpointView {
            id: record.endpoint,
            pod: names
                .endpoints
                .get(&record.endpoint)
                .cloned()
                .unwrap_or_default(),
            ifindex,
            addresses: v4
                .map(|&a| IpAddr::from(a))
                .chain(v6.map(|&a| IpAddr::from(a)))
                .collect(),
            hardware_address: hardware.then_some(record.hardware_address),
            generation: state.word.generation(),
            ingress_isolated: record.ingress.id != 0,
            egress_isolated: record.egress.id != 0,
            // Nothing of the node's own is asked for a grant here.
            metadata_granted: record.grants != 0 || ifindex == NODE_IFINDEX,
            metadata_endpoints: bits
                .map_or_else(Vec::new, |bits| bits.names(Grants(record.grants))),
        }
    };
    installed.endpoints.iter().map(view).collect()
}

/// Connections of both families; `jiffies` is the kernel's clock now.
///
/// # Errors
///
/// If the maps cannot be read.
pub fn connections(maps: &Maps, jiffies: u32) -> Result<Vec<ConnectionView>, KernelError> {
    let clock = Clock::new(maps, jiffies)?;
    let mut views = Vec::new();
    for item in maps.connections4.iter() {
        let (key, connection) = item.map_err(|error| trouble("CONNECTIONS4", &error))?;
        views.push(view(key, &connection, &clock));
    }
    for item in maps.connections6.iter() {
        let (key, connection) = item.map_err(|error| trouble("CONNECTIONS6", &error))?;
        views.push(view(key, &connection, &clock));
    }
    Ok(views)
}

/// Removes connections; how many these were.
///
/// # Errors
///
/// If the maps cannot be read or written.
pub fn flush(
    maps: &mut Maps,
    jiffies: u32,
    doomed: &dyn Fn(&ConnectionView) -> bool,
) -> Result<usize, KernelError> {
    let clock = Clock::new(maps, jiffies)?;
    let mut removed = 0;
    let found: Vec<_> = maps.connections4.iter().filter_map(Result::ok).collect();
    for (key, connection) in found {
        if doomed(&view(key, &connection, &clock)) {
            removed += usize::from(maps.connections4.remove(&key).is_ok());
        }
    }
    let found: Vec<_> = maps.connections6.iter().filter_map(Result::ok).collect();
    for (key, connection) in found {
        if doomed(&view(key, &connection, &clock)) {
            removed += usize::from(maps.connections6.remove(&key).is_ok());
        }
    }
    Ok(removed)
}

/// The programs' clock.
struct Clock {
    now: u32,
    shift: u32,
    ticks_per_64s: u32,
}

impl Clock {
    fn new(maps: &Maps, jiffies: u32) -> Result<Self, KernelError> {
        let config = maps
            .config
            .get(&0, 0)
            .map_err(|error| trouble("CONFIG", &error))?;
        let (shift, ticks_per_64s) = (config.tick_shift, config.ticks_per_64s.max(1));
        Ok(Self {
            now: jiffies >> shift,
            shift,
            ticks_per_64s,
        })
    }

    /// Seconds since a tick; only the low bits of the clock are known, which is enough for 16 million seconds.
    fn idle_seconds(&self, seen: u32) -> u64 {
        let mask = u32::MAX >> self.shift;
        u64::from(self.now.wrapping_sub(seen) & mask) * 64 / u64::from(self.ticks_per_64s)
    }
}

fn view<A: Into<IpAddr>>(
    key: ConnectionKey<A>,
    connection: &Connection,
    clock: &Clock,
) -> ConnectionView {
    let word = connection.word;
    let after_translation = key.endpoint == NOBODY;
    let receiver = (key.local.into(), key.local_port);
    let sender = (key.remote.into(), key.remote_port);
    // Kept from the receiver's side, told from the sender's, whose egress it is about.
    let (local, remote) = if after_translation {
        (sender, receiver)
    } else {
        (receiver, sender)
    };
    ConnectionView {
        local: local.0,
        local_port: local.1,
        remote: remote.0,
        remote_port: remote.1,
        protocol: key.protocol,
        direction: word.original(),
        verdict: if word.has(verdict::DENIED) {
            Verdict::Deny
        } else {
            Verdict::Allow
        },
        rule: connection.cell.rule(),
        own_node: word.has(verdict::OWN_NODE),
        adopted: word.has(verdict::ADOPTED),
        deferred: word.has(verdict::DEFERRED),
        after_translation,
        replied: connection.state & state::REPLIED != 0,
        idle_seconds: clock.idle_seconds(connection.seen),
    }
}

/// Counters, summed over CPUs.
///
/// # Errors
///
/// If the map cannot be read.
pub fn counters(maps: &Maps) -> Result<Counters, KernelError> {
    let sum_of = |map: &PerCpuArray<MapData, u64>, name: &str, at: usize| {
        let at = u32::try_from(at).unwrap_or(u32::MAX);
        let values = map.get(&at, 0).map_err(|error| trouble(name, &error))?;
        Ok::<u64, KernelError>(values.iter().sum())
    };
    let sum = |at: usize| sum_of(&maps.counters, "COUNTERS", at);
    let mut counters = Counters {
        packets: Vec::new(),
        denied_bytes: Vec::new(),
        lost_events: sum(LOST_EVENTS as usize)?,
        untracked: sum(UNTRACKED as usize)?,
        update_errors: BTreeMap::new(),
        vanished: 0,
        drift: Drift::default(),
        metadata_audited: false,
    };
    for hook in (0..=u8::MAX).map_while(Hook::from_u8) {
        for number in 0..u8::try_from(REASONS).unwrap_or(u8::MAX) {
            let Some(reason) = Reason::from_u8(number) else {
                continue;
            };
            let at = hook as usize * REASONS + usize::from(number);
            let bytes = sum_of(&maps.denied_bytes, "DENIED_BYTES", at)?;
            if bytes > 0 {
                counters.denied_bytes.push((hook, reason, bytes));
            }
            for verdict in [Verdict::Allow, Verdict::Deny] {
                let denied = usize::from(verdict == Verdict::Deny);
                let count = sum(at * 2 + denied)?;
                if count > 0 {
                    counters.packets.push((hook, reason, verdict, count));
                }
            }
        }
    }
    Ok(counters)
}
