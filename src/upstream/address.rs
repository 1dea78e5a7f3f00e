//! Where an IP address lies, and which addresses an upstream may lead to.
//!
//! An upstream chooses its token realm and its redirects, so it must never choose a host on
//! this machine or in this network unless it stands there itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where an address lies; later variants are closer to this machine. A thing at one place may
/// lead to that place and to every one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// The Internet.
    Public,
    /// A private network: RFC 1918, carrier NAT (RFC 6598), unique local (RFC 4193), and ranges
    /// that are never routed globally, such as those for documentation.
    Private,
    /// The local link (RFC 3927, RFC 4291), where cloud metadata servers answer.
    LinkLocal,
    /// This machine, also by its unspecified address.
    Loopback,
    /// No host: multicast, broadcast and reserved ranges.
    Nowhere,
}

impl Place {
    /// Returns where `address` lies. Addresses that carry an IPv4 address (mapped, compatible,
    /// 6to4, NAT64) lie where that one does.
    pub(super) fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::of_v4(address),
            IpAddr::V6(address) => Self::of_v6(address),
        }
    }

    /// Returns whether something at this place may lead to an address at `target`.
    pub(super) fn may_lead_to(self, target: Self) -> bool {
        // Link-local is the cloud's metadata service: only an upstream that is there itself leads there.
        let reserved = target == Self::LinkLocal && self != Self::LinkLocal;
        target != Self::Nowhere && target <= self && !reserved
    }

    /// IANA's IPv4 special-purpose registry.
    fn of_v4(address: Ipv4Addr) -> Self {
        let [a, b, c, _] = address.octets();
        match (a, b, c) {
            (0 | 127, _, _) => Self::Loopback,
            (169, 254, _) => Self::LinkLocal,
            (10, _, _) | (172, 16..=31, _) | (192, 168, _) | (100, 64..=127, _) => Self::Private,
            (192, 0, 0 | 2) | (192, 88, 99) | (198, 18..=19, _) => Self::Private,
            (198, 51, 100) | (203, 0, 113) => Self::Private,
            (224..=255, _, _) => Self::Nowhere,
            _ => Self::Public,
        }
    }

    /// IANA's IPv6 special-purpose registry.
    fn of_v6(address: Ipv6Addr) -> Self {
        if address.is_unspecified() || address.is_loopback() {
            return Self::Loopback;
        }
        let s = address.segments();
        match s {
            // ::/96 compatible, ::ffff:0:0/96 mapped, ::ffff:0:0:0/96 translated, 64:ff9b::/96 NAT64
            [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
            | [0, 0, 0, 0, 0xffff, 0, high, low]
            | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Self::of_v4(embedded(high, low)),
            // 64:ff9b:1::/48, NAT64 of the local network with prefixes of its own choice.
            [0x64, 0xff9b, 1, _, _, _, high, low] => {
                Self::Private.max(Self::of_v4(embedded(high, low)))
            }
            // 2002::/16, 6to4
            [0x2002, high, low, ..] => Self::of_v4(embedded(high, low)),
            // 2001::/23 holds Teredo and other protocols, 2001:db8::/32 and 3fff::/20 documentation.
            [0x2001, 0..=0x1ff | 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Self::Private,
            // fe80::/10 link local, fec0::/10 site local, fc00::/7 unique local, ff00::/8 multicast
            [0xfe80..=0xfebf, ..] => Self::LinkLocal,
            [0xfec0..=0xfeff, ..] | [0xfc00..=0xfdff, ..] => Self::Private,
            [0xff00..=0xffff, ..] => Self::Nowhere,
            // Only 2000::/3 is given out as global unicast.
            [0x2000..=0x3fff, ..] => Self::Public,
            _ => Self::Nowhere,
        }
    }
}

fn embedded(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low))
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::Place;

    fn place(text: &str) -> Place {
        let address: IpAddr = text.parse().expect("an address because the test says so");
        Place::of(address)
    }

    #[test]
    fn v4_addresses_lie_where_iana_says() {
        for text in ["127.0.0.1", "127.255.0.9", "0.0.0.0", "0.1.2.3"] {
            assert_eq!(place(text), Place::Loopback, "{text}");
        }
        for text in ["169.254.169.254", "169.254.0.1"] {
            assert_eq!(place(text), Place::LinkLocal, "{text}");
        }
        for text in [
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "100.64.0.1",
            "100.127.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "198.18.0.1",
            "203.0.113.5",
        ] {
            assert_eq!(place(text), Place::Private, "{text}");
        }
        for text in ["224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255"] {
            assert_eq!(place(text), Place::Nowhere, "{text}");
        }
        for text in [
            "1.1.1.1",
            "172.15.0.1",
            "172.32.0.1",
            "100.63.0.1",
            "100.128.0.1",
            "223.255.255.1",
        ] {
            assert_eq!(place(text), Place::Public, "{text}");
        }
    }

    #[test]
    fn v6_addresses_lie_where_iana_says() {
        for text in ["::1", "::"] {
            assert_eq!(place(text), Place::Loopback, "{text}");
        }
        assert_eq!(place("fe80::1"), Place::LinkLocal);
        for text in [
            "fc00::1",
            "fd00:ec2::254",
            "fec0::1",
            "2001:db8::1",
            "2001::1",
        ] {
            assert_eq!(place(text), Place::Private, "{text}");
        }
        for text in ["ff02::1", "100::1", "4000::1"] {
            assert_eq!(place(text), Place::Nowhere, "{text}");
        }
        for text in ["2606:4700::1111", "2a00:1450::1"] {
            assert_eq!(place(text), Place::Public, "{text}");
        }
    }

    #[test]
    fn a_carried_v4_address_decides() {
        for text in [
            "::ffff:127.0.0.1",
            "::127.0.0.1",
            "::ffff:0:127.0.0.1",
            "64:ff9b::127.0.0.1",
            "2002:7f00:1::",
            "64:ff9b:1::127.0.0.1",
        ] {
            assert_eq!(place(text), Place::Loopback, "{text}");
        }
        for text in [
            "::ffff:10.0.0.1",
            "64:ff9b::10.0.0.1",
            "2002:0a00:1::",
            "64:ff9b:1::1.1.1.1",
        ] {
            assert_eq!(place(text), Place::Private, "{text}");
        }
        assert_eq!(place("::ffff:169.254.169.254"), Place::LinkLocal);
        assert_eq!(place("64:ff9b::1.1.1.1"), Place::Public);
    }

    #[test]
    fn an_upstream_leads_no_closer_than_it_stands() {
        let places = [
            Place::Public,
            Place::Private,
            Place::LinkLocal,
            Place::Loopback,
        ];
        for (index, from) in places.into_iter().enumerate() {
            for (other, to) in places.into_iter().enumerate() {
                let metadata_service = to == Place::LinkLocal && from != Place::LinkLocal;
                let allowed = other <= index && !metadata_service;
                assert_eq!(from.may_lead_to(to), allowed, "{from:?} to {to:?}");
            }
            assert!(!from.may_lead_to(Place::Nowhere));
        }
    }
}
