//! The metadata firewall's flags.

use ipnet::Ipv6Net;
use ringfence_common::{
    config::{MAX_NAT64, Nat64},
    metadata::layers,
};

use crate::{cli::failure::Failure, dataplane::Firewall, metadata::LAYERS};

/// The firewall's flags as a value.
///
/// # Errors
///
/// The flag, what is wrong with it, and what it allows.
pub(super) fn parse(
    asked: &[String],
    rate: u32,
    prefixes: &[Ipv6Net],
) -> Result<Firewall, Failure> {
    Ok(Firewall {
        layers: parse_layers(asked)?,
        packets_per_second: rate,
        nat64: parse_prefixes(prefixes)?,
    })
}

/// Without any, all layers stand.
fn parse_layers(asked: &[String]) -> Result<u32, Failure> {
    if asked.is_empty() {
        return Ok(layers::ALL);
    }
    let known = || LAYERS.map(|(name, _)| name).join(", ");
    asked.iter().try_fold(0, |bits, asked| {
        let layer = LAYERS.iter().find(|(name, _)| name == asked);
        let (_, bit) = layer.ok_or_else(|| {
            let what = if asked.is_empty() {
                "no layer is named".to_owned()
            } else {
                format!("there is no layer {asked:?}")
            };
            Failure::new(what)
                .at(format!("--metadata-layers {asked}"))
                .help(format!("name some of {}, with commas between", known()))
        })?;
        Ok(bits | bit)
    })
}

pub(super) fn parse_prefixes(prefixes: &[Ipv6Net]) -> Result<[Nat64; MAX_NAT64], Failure> {
    let mut nat64 = [Nat64::default(); MAX_NAT64];
    if prefixes.len() > MAX_NAT64 {
        return Err(
            Failure::new(format!("{} prefixes are too many", prefixes.len()))
                .at("--nat64-prefix")
                .help(format!(
                    "{MAX_NAT64} fit; the well-known one, 64:ff9b::/96, is known without a word"
                )),
        );
    }
    for (slot, prefix) in nat64.iter_mut().zip(prefixes) {
        let length = prefix.prefix_len();
        if !matches!(length, 32 | 40 | 48 | 56 | 64 | 96) {
            return Err(
                Failure::new("no IPv4 address is embedded behind a prefix of this length")
                    .at(format!("--nat64-prefix {prefix}"))
                    .help("RFC 6052 has prefixes of 32, 40, 48, 56, 64 and 96 bits"),
            );
        }
        *slot = Nat64::new(&prefix.network().octets(), u32::from(length / 8));
    }
    Ok(nat64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layers_of(text: &str) -> Result<u32, String> {
        let asked: Vec<String> = text.split(',').map(str::to_owned).collect();
        parse_layers(&asked).map_err(|failure| failure.to_string())
    }

    #[test]
    fn layers_are_named_one_by_one_and_nothing_else_is_taken() {
        assert_eq!(parse_layers(&[]).unwrap(), layers::ALL);
        assert_eq!(layers_of("lo,sockets"), Ok(layers::LO | layers::SOCKETS));
        let all = LAYERS.map(|(name, _)| name).join(",");
        assert_eq!(layers_of(&all), Ok(layers::ALL));
        for wrong in ["", "lo,", "uplink", "LO"] {
            let said = layers_of(wrong).unwrap_err();
            assert!(said.contains("layer"), "{said}");
        }
    }

    #[test]
    fn prefixes_have_the_lengths_of_rfc_6052() {
        let net = |text: &str| text.parse::<Ipv6Net>().unwrap();
        let parsed = parse_prefixes(&[net("64:ff9b:1::/48"), net("2001:db8::1/96")]).unwrap();
        assert_eq!(parsed.map(|prefix| prefix.bytes), [6, 12, 0, 0]);
        assert_eq!(parsed[0].first, 0x0064_ff9b_0001_0000);
        assert_eq!(parsed[1].first, 0x2001_0db8_0000_0000, "no host's bits");
        for length in [0, 31, 60, 128] {
            let wrong = Ipv6Net::new([0; 16].into(), length).unwrap();
            assert!(parse_prefixes(&[wrong]).is_err(), "{length}");
        }
        assert!(parse_prefixes(&[net("64:ff9b:1::/96"); 5]).is_err());
    }
}
