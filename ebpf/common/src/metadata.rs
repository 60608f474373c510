//! The metadata firewall's set: which addresses are cloud metadata services.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{V6, bits, protocol};

/// Value of `METADATA`: bits 0-7 the endpoint's bit in a grant, 8-15 what stays open ([`open`]), 32-63 a
/// check of the address. The key is an IPv6 address, an IPv4 one mapped (`::ffff:a.b.c.d`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct MetadataWord(pub u64);

/// What an address answers besides metadata, and what therefore stays reachable.
pub mod open {
    /// DNS: UDP and TCP port 53.
    pub const DNS: u8 = 1;
    /// NTP: UDP port 123.
    pub const NTP: u8 = 2;
}

impl MetadataWord {
    /// The word of an address.
    #[must_use]
    pub fn new(address: &V6, bit: u8, open: u8) -> Self {
        Self(
            u64::from(crate::identity::fold6(address)) << 32
                | u64::from(open) << 8
                | u64::from(bit & 63),
        )
    }

    /// True if the word is this address's.
    #[must_use]
    #[inline(always)]
    pub fn is_of(self, address: &V6) -> bool {
        bits::u32_at(self.0, 32) == crate::identity::fold6(address)
    }

    /// The grant that it asks for: one bit.
    #[must_use]
    #[inline(always)]
    pub const fn grant(self) -> u64 {
        1 << (self.0 & 63)
    }

    /// True if these grants cover it.
    #[must_use]
    #[inline(always)]
    pub const fn granted(self, grants: u64) -> bool {
        grants >> (self.0 & 63) & 1 == 1
    }

    /// True if this protocol and port stay open to everybody. A later fragment has no port (`None`) and is not open.
    #[must_use]
    #[inline(always)]
    pub const fn is_open(self, protocol: u8, port: Option<u16>) -> bool {
        let open = bits::u8_at(self.0, 8);
        match (protocol, port) {
            (protocol::UDP | protocol::TCP, Some(53)) => open & open::DNS != 0,
            (protocol::UDP, Some(123)) => open & open::NTP != 0,
            _ => false,
        }
    }
}

/// Words of the one element of `METADATA_SIEVE`, a Bloom filter with one hash: a packet's destination whose
/// bit is clear is no metadata address, and the hash map is not asked.
pub const SIEVE_WORDS: usize = 64;

/// The bit of an address in the sieve.
#[must_use]
#[inline(always)]
pub fn sieve_bit(address: &V6) -> u32 {
    crate::identity::fold6(address) >> 20 & (bits::small(SIEVE_WORDS) * 64 - 1)
}

/// The IPv4-mapped form.
#[must_use]
#[inline(always)]
pub const fn mapped(address: &crate::V4) -> V6 {
    let [a, b, c, d] = *address;
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d]
}

/// The IPv4 address that an IPv6 one embeds, in mapped form: mapped and compatible (RFC 4291), the
/// well-known NAT64 prefix `64:ff9b::/96` (RFC 6052) and 6to4 `2002::/16` (RFC 3056).
#[must_use]
#[inline(always)]
pub const fn embedded(address: &V6) -> Option<V6> {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = *address;
    let zero_middle = e | f | g | h | i | j == 0;
    match [a, b, c, d] {
        [0x00, 0x64, 0xff, 0x9b] if zero_middle && k | l == 0 => Some(mapped(&[m, n, o, p])),
        [0, 0, 0, 0] if zero_middle && (k & l == 0xff || k | l == 0) => Some(mapped(&[m, n, o, p])),
        [0x20, 0x02, ..] => Some(mapped(&[c, d, e, f])),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv6Addr;

    #[test]
    fn embedded_forms_lead_to_the_mapped_one() {
        let imds = mapped(&[169, 254, 169, 254]);
        for form in [
            "::ffff:169.254.169.254",
            "::169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "2002:a9fe:a9fe::1",
        ] {
            let form: Ipv6Addr = form.parse().unwrap();
            assert_eq!(embedded(&form.octets()), Some(imds), "{form}");
        }
        for other in [
            "fd00:ec2::254",
            "64:ff9b:1::a9fe:a9fe",
            "2001:db8::a9fe:a9fe",
        ] {
            let other: Ipv6Addr = other.parse().unwrap();
            assert_eq!(embedded(&other.octets()), None, "{other}");
        }
    }

    #[test]
    fn only_what_is_named_stays_open() {
        let word = MetadataWord::new(&mapped(&[169, 254, 169, 254]), 3, open::DNS);
        assert!(word.is_open(protocol::UDP, Some(53)));
        assert!(word.is_open(protocol::TCP, Some(53)));
        assert!(!word.is_open(protocol::UDP, Some(123)));
        assert!(!word.is_open(protocol::TCP, Some(80)));
        assert!(!word.is_open(protocol::UDP, None));
        assert!(word.granted(1 << 3));
        assert!(!word.granted(!(1 << 3)));
    }
}
