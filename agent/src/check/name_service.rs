//! NodeLocal DNS: a name service in one of the node's own sockets, which pods reach by two addresses.

use super::{Facts, Finding};

const NAME: &str = "dns";

/// The device that it makes.
const DEVICE: &str = "nodelocaldns";

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let devices = match &facts.devices {
        Ok(devices) => devices,
        Err(reason) => {
            return vec![Finding::warning(
                NAME,
                format!("devices cannot be seen, and so neither can NodeLocal DNS: {reason}"),
                "see whether there is a device nodelocaldns: ip address show nodelocaldns",
            )];
        }
    };
    let Some(device) = devices.iter().find(|device| device.name == DEVICE) else {
        return vec![Finding::fine(NAME, "no NodeLocal DNS")];
    };
    let addresses: Vec<String> = device
        .addresses
        .iter()
        .filter(
            |address| !matches!(address, std::net::IpAddr::V6(v6) if v6.is_unicast_link_local()),
        )
        .map(ToString::to_string)
        .collect();
    vec![Finding::warning(
        NAME,
        format!(
            "NodeLocal DNS answers at {}: pods' queries end in a socket of the node, in no pod that a selector could name",
            addresses.join(", ")
        ),
        "let policies that allow DNS also allow an ipBlock of these addresses",
    )]
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Device, Level, worst},
        *,
    };

    #[test]
    fn it_is_known_by_its_device() {
        let found = check(&Facts {
            devices: Ok(vec![Device {
                name: DEVICE.to_owned(),
                kind: Some("dummy".to_owned()),
                addresses: vec![
                    "169.254.20.10".parse().unwrap(),
                    "10.96.0.10".parse().unwrap(),
                    "fe80::1".parse().unwrap(),
                ],
            }]),
            ..Facts::good()
        });
        assert_eq!(worst(&found), Level::Warning);
        assert!(
            found[0].message.contains("at 169.254.20.10, 10.96.0.10:"),
            "{found:?}"
        );
        assert_eq!(worst(&check(&Facts::good())), Level::Fine);
    }
}
