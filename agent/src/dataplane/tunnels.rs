//! The UDP ports at which this node's tunnels listen.

use std::collections::BTreeSet;

use ringfence_common::{config::MAX_TUNNEL_PORTS, packet::TUNNEL_PORTS};

use super::KernelError;
use crate::model::HostDevice;

/// The unusual ports, as the programs want them, and whether they are all. Those that were known stay in their places: packets
/// are looked at meanwhile.
pub(super) fn ports(
    devices: &BTreeSet<HostDevice>,
    before: [u16; MAX_TUNNEL_PORTS],
) -> ([u16; MAX_TUNNEL_PORTS], Result<(), KernelError>) {
    let ports: BTreeSet<u16> = devices
        .iter()
        .filter_map(|device| device.listens)
        .filter(|port| !TUNNEL_PORTS.contains(port))
        .collect();
    let mut known = before.map(|port| if ports.contains(&port) { port } else { 0 });
    let mut new = ports.into_iter().filter(|port| !before.contains(port));
    for (room, port) in known.iter_mut().filter(|room| **room == 0).zip(&mut new) {
        *room = port;
    }
    let unknown: Vec<u16> = new.collect();
    if unknown.is_empty() {
        return (known, Ok(()));
    }
    let error = KernelError::Other(format!(
        "this node's tunnels listen on more than {MAX_TUNNEL_PORTS} UDP ports besides {TUNNEL_PORTS:?}, so pods can reach \
         those at {unknown:?}: let tunnels share ports"
    ));
    (known, Err(error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::HostKind;

    fn devices(ports: impl IntoIterator<Item = u16>) -> BTreeSet<HostDevice> {
        (1..)
            .zip(ports)
            .map(|(ifindex, port)| HostDevice {
                ifindex,
                kind: HostKind::Tunnel,
                ethernet: true,
                listens: Some(port),
            })
            .collect()
    }

    #[test]
    fn unusual_ports_are_known_and_what_is_too_much_is_said() {
        let (known, all) = ports(&devices([4789, 14_789, 6081]), [0; 8]);
        assert_eq!(known, [14_789, 0, 0, 0, 0, 0, 0, 0]);
        assert!(all.is_ok());
        let (known, all) = ports(&devices([14_789, 7]), [0, 14_789, 9, 0, 0, 0, 0, 0]);
        assert_eq!(known, [7, 14_789, 0, 0, 0, 0, 0, 0]);
        assert!(all.is_ok());
        let (known, all) = ports(&devices(1..=9), [0; 8]);
        assert_eq!(known, [1, 2, 3, 4, 5, 6, 7, 8]);
        assert!(all.unwrap_err().to_string().contains("[9]"));
    }
}
