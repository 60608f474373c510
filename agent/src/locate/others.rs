//! Who else may write to the packet mark on this node, known by the devices that they make.

use super::Devices;
use crate::model::Diagnostic;

/// What a CNI's devices are called, who it is, the bits of the mark that it uses by default, and where that is set.
const CNIS: [(&str, &str, u32, &str); 2] = [
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
];

/// What is wrong with these bits of the mark on a node with these devices: a CNI that is there uses some of them by
/// default. Whether it was told not to cannot be seen from here.
#[must_use]
pub fn mark_conflicts(devices: &Devices, mask: u32) -> Vec<Diagnostic> {
    let there = |prefix: &str| {
        let mut devices = devices.by_index.values();
        devices.find(|device| device.name.starts_with(prefix))
    };
    CNIS.iter()
        .filter(|(_, _, bits, _)| mask & bits != 0)
        .filter_map(|(prefix, whose, bits, setting)| {
            let device = there(prefix)?;
            Some(Diagnostic {
                object: "mark".to_owned(),
                field: "--mark-source-mask".to_owned(),
                message: format!(
                    "{} is a device of {whose}, which by default writes to the bits {:#x} of the packet mark that are ours: what pods \
                     with isolated egress send is dropped where it does; choose other bits, or keep it off them ({setting})",
                    device.name,
                    mask & bits,
                ),
                ..Diagnostic::default()
            })
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
        };
        for (name, mask, expect) in [
            ("cali12345", 0x3fff_0000, true),
            ("cali12345", 0x0000_3f00, false),
            ("veth12345", 0x3fff_0000, false),
            ("eni12345", 0x3fff_0000, false),
            ("eni12345", 0x0000_0ff0, true),
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
