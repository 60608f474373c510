//! Who else may write to the packet mark on this node, known by the devices that they make.

use super::Devices;
use crate::model::Diagnostic;

/// What its devices are called, who it is, the bits of the mark that it uses by default, and where that is set.
const SOFTWARE: [(&str, &str, u32, &str); 5] = [
    (
        "cali",
        "Calico",
        0xffff_0000,
        "FelixConfiguration iptablesMarkMask",
    ),
    (
        "eni",
        "the AWS VPC CNI",
        0x80,
        "AWS_VPC_K8S_CNI_CONNMARK of aws-node",
    ),
    (
        "cilium_host",
        "Cilium",
        0xffff_0f00,
        "its marks cannot be moved",
    ),
    (
        "kube-bridge",
        "kube-router",
        0x0003_0000,
        "--run-firewall=false of kube-router",
    ),
    (
        "tailscale",
        "Tailscale",
        0x00ff_0000,
        "--netfilter-mode=off of tailscale",
    ),
];

/// Who uses some of these bits of the mark by default on a node with devices of these names, and what to do about it.
/// Whether it was told not to cannot be seen from here.
#[must_use]
pub fn mark_users<'a>(devices: impl Iterator<Item = &'a str> + Clone, mask: u32) -> Vec<String> {
    SOFTWARE
        .iter()
        .filter(|(_, _, bits, _)| mask & bits != 0)
        .filter_map(|(prefix, whose, bits, setting)| {
            let device = devices.clone().find(|name| name.starts_with(prefix))?;
            Some(format!(
                "{device} is a device of {whose}, which by default writes to the bits {:#x} of the packet mark that are ours: what pods \
                 send may be dropped where it does, or taken for what it is not; choose other bits, or keep it off them ({setting})",
                mask & bits,
            ))
        })
        .collect()
}

/// What is wrong with these bits of the mark on a node with these devices.
#[must_use]
pub fn mark_conflicts(devices: &Devices, mask: u32) -> Vec<Diagnostic> {
    let names = devices.by_index.values().map(|device| device.name.as_str());
    mark_users(names, mask)
        .into_iter()
        .map(|message| Diagnostic {
            object: "mark".to_owned(),
            field: "--mark-source-mask".to_owned(),
            message,
            ..Diagnostic::default()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::locate::{Device, Role};

    #[test]
    fn a_cni_on_our_bits_is_named_and_one_beside_them_is_not() {
        let device = |name: &str| Device {
            index: 7,
            name: name.to_owned(),
            role: Role::Pod,
            ethernet: true,
            listens: None,
        };
        for (name, mask, expect) in [
            ("cali12345", 0x3fff_0000, true),
            ("cali12345", 0x0000_3f00, false),
            ("veth12345", 0x3fff_0000, false),
            ("eni12345", 0x3fff_0000, false),
            ("eni12345", 0x0000_0ff0, true),
            ("tailscale0", 0x3fff_0000, true),
            ("tailscale0", 0x3f00_0000, false),
        ] {
            let devices = Devices {
                by_index: [(7, device(name))].into(),
            };
            let found = mark_conflicts(&devices, mask);
            assert_eq!(found.len(), usize::from(expect), "{name} {mask:#x}");
            assert!(found.iter().all(|it| it.message.contains(name)));
        }
    }
}
