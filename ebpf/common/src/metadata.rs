//! The metadata firewall's set: which addresses are cloud metadata services.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{V6, bits, config::Nat64, protocol};

/// Which metadata endpoints somebody may reach, one bit for each endpoint in each half: value of `GRANTS` and
/// [`crate::endpoint::EndpointRecord::grants`].
///
/// Bits 0-31, *reach*: what may leave the node towards it, or end there. Bits 32-63, *ask*: what may be sent to it at all. Whoever
/// is granted a proxy (an iptables rule sends what was for the metadata service there) may ask for the service and reach
/// the proxy only.
///
/// **Invariant:** what may be reached may be asked for.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(transparent)]
pub struct Grants(pub u64);

impl Grants {
    /// None.
    pub const NONE: Self = Self(0);
    /// All endpoints.
    pub const ALL: Self = Self(u64::MAX);

    /// Grants to reach these endpoints, and to ask for these besides.
    #[must_use]
    pub const fn new(reach: u32, ask: u32) -> Self {
        Self(((reach | ask) as u64) << 32 | reach as u64)
    }

    /// Endpoints that may be reached.
    #[must_use]
    #[inline(always)]
    pub const fn reach(self) -> u32 {
        bits::u32_at(self.0, 0)
    }

    /// Endpoints that may be asked for.
    #[must_use]
    #[inline(always)]
    pub const fn ask(self) -> u32 {
        bits::u32_at(self.0, 32)
    }

    /// Both together.
    #[must_use]
    #[inline(always)]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Value of `METADATA`: bits 0-4 the endpoint's bit in [`Grants`], 8-15 what stays open ([`open`]), 16-31 the number of its list
/// of ports, 32-63 a check of the address. The key is an IPv6 address, an IPv4 one mapped (`::ffff:a.b.c.d`).
///
/// Without a list all ports and protocols of the address are the endpoint's, but for what stays open. With one, only those
/// are that `METADATA_PORTS` has for it.
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
    /// The word of an address; list 0 is none.
    #[must_use]
    pub fn new(address: &V6, bit: u8, open: u8, list: u16) -> Self {
        Self(
            u64::from(crate::identity::fold6(address)) << 32
                | u64::from(list) << 16
                | u64::from(open) << 8
                | u64::from(bit & 31),
        )
    }

    /// True if the word is this address's.
    #[must_use]
    #[inline(always)]
    pub fn is_of(self, address: &V6) -> bool {
        bits::u32_at(self.0, 32) == crate::identity::fold6(address)
    }

    /// The endpoint, as one bit of [`Grants::reach`] or [`Grants::ask`].
    #[must_use]
    #[inline(always)]
    pub const fn endpoint(self) -> u32 {
        1 << (bits::u32_at(self.0, 0) & 31)
    }

    /// Its list of ports; 0 for none.
    #[must_use]
    #[inline(always)]
    pub const fn list(self) -> u16 {
        bits::u16_at(self.0, 16)
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

/// Key of `METADATA_PORTS`: a port that belongs to the endpoints with this list. The value is 1.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
)]
#[repr(C)]
pub struct PortKey {
    /// [`MetadataWord::list`].
    pub list: u16,
    /// The port, in the machine's order; 0 for a protocol without ports.
    pub port: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// Zero.
    pub _pad: [u8; 3],
}

/// Bits of [`crate::config::Config::metadata_layers`]: where the firewall asks.
pub mod layers {
    /// TC ingress of pods' devices.
    pub const FROM_POD: u32 = 1;
    /// TC egress of devices that lead off the node, and what arrives at the node's sockets.
    pub const TO_HOST: u32 = 2;
    /// TC egress of the node's `lo`.
    pub const LO: u32 = 4;
    /// Packets of sockets below the pods' cgroups.
    pub const SOCKET_PACKETS: u32 = 8;
    /// `connect` and `sendmsg` below the pods' cgroups.
    pub const SOCKETS: u32 = 16;
    /// All of them.
    pub const ALL: u32 = 31;
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

/// An address as two numbers.
#[must_use]
#[inline(always)]
pub const fn halves(address: &V6) -> (u64, u64) {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = *address;
    (
        u64::from_be_bytes([a, b, c, d, e, f, g, h]),
        u64::from_be_bytes([i, j, k, l, m, n, o, p]),
    )
}

/// The address with these halves.
#[must_use]
#[inline(always)]
pub const fn whole(first: u64, second: u64) -> V6 {
    let [a, b, c, d, e, f, g, h] = first.to_be_bytes();
    let [i, j, k, l, m, n, o, p] = second.to_be_bytes();
    [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]
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

const _: () = assert!(size_of::<PortKey>() == 8);

/// The IPv4 address, as a number, that the IPv6 address with these halves embeds behind a prefix (RFC 6052, 2.2). What lies behind the
/// embedded address is no matter: translators pass over it.
#[must_use]
#[inline(always)]
pub const fn embedded_by(prefix: &Nat64, first: u64, second: u64) -> Option<u32> {
    match prefix.bytes {
        12 if first == prefix.first && bits::u32_at(second, 32) == prefix.second => {
            Some(bits::u32_at(second, 0))
        }
        // Byte 8 is none of the address's.
        bytes @ 4..=8 if first >> (64 - bytes * 8) == prefix.first >> (64 - bytes * 8) => {
            let split = (bytes - 4) * 8;
            let behind = bits::u32_at((second >> 24 & 0xffff_ffff) >> (32 - split), 0);
            Some(bits::u32_at(first << split, 0) | behind)
        }
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
    fn every_length_of_rfc_6052_has_its_place_for_the_address() {
        // The prefixes and addresses of its section 2.4.
        for (prefix, bytes, address) in [
            ("2001:db8::", 4, "2001:db8:c000:221::"),
            ("2001:db8:100::", 5, "2001:db8:1c0:2:21::"),
            ("2001:db8:122::", 6, "2001:db8:122:c000:2:2100::"),
            ("2001:db8:122:300::", 7, "2001:db8:122:3c0:0:221::"),
            ("2001:db8:122:344::", 8, "2001:db8:122:344:c0:2:2100::"),
            ("2001:db8:122:344::", 12, "2001:db8:122:344::192.0.2.33"),
        ] {
            let whole: Ipv6Addr = prefix.parse().unwrap();
            let address: Ipv6Addr = address.parse().unwrap();
            let prefix = Nat64 {
                prefix: whole.octets()[..12].try_into().unwrap(),
                bytes,
            };
            let inner = mapped(&[192, 0, 2, 33]);
            assert_eq!(
                embedded_by(&prefix, &address.octets()),
                Some(inner),
                "{address}"
            );
            let other: Ipv6Addr = "2001:db9::192.0.2.33".parse().unwrap();
            assert_eq!(
                embedded_by(&prefix, &other.octets()),
                None,
                "{whole}/{bytes}"
            );
        }
        let none = Nat64::default();
        assert_eq!(embedded_by(&none, &[0; 16]), None);
    }

    #[test]
    fn only_what_is_named_stays_open() {
        let word = MetadataWord::new(&mapped(&[169, 254, 169, 254]), 3, open::DNS, 0x1234);
        assert!(word.is_open(protocol::UDP, Some(53)));
        assert!(word.is_open(protocol::TCP, Some(53)));
        assert!(!word.is_open(protocol::UDP, Some(123)));
        assert!(!word.is_open(protocol::TCP, Some(80)));
        assert!(!word.is_open(protocol::UDP, None));
        assert_eq!((word.endpoint(), word.list()), (1 << 3, 0x1234));
        assert!(word.is_of(&mapped(&[169, 254, 169, 254])));
    }

    #[test]
    fn what_may_be_reached_may_be_asked_for() {
        let grants = Grants::new(0b01, 0b10);
        assert_eq!((grants.reach(), grants.ask()), (0b01, 0b11));
        let both = grants.with(Grants::new(1 << 31, 0));
        assert_eq!((both.reach(), both.ask()), (1 << 31 | 1, 1 << 31 | 0b11));
        assert_eq!(
            (Grants::ALL.reach(), Grants::ALL.ask()),
            (u32::MAX, u32::MAX)
        );
    }
}
