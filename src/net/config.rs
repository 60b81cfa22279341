//! Addresses of one sandbox and what bounds its network.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use super::frame::Ends;
use crate::limits::Limits;

/// Prefix length of the guest's IPv6 link: what a guest needs that makes its address itself; RFC 4291 §2.5.1.
pub(crate) const PREFIX_V6: u8 = 64;

/// The usual IP MTU of an Ethernet link, octets; RFC 894, RFC 2464 §2.
pub(super) const MTU: u16 = 1_500;

/// How one sandbox's network is laid out.
#[derive(Clone, Debug)]
pub struct Config {
    /// The guest's MAC address; frames from any other are dropped.
    pub guest_mac: [u8; 6],
    /// The gateway's MAC address, which answers for every off-link address.
    pub gateway_mac: [u8; 6],
    /// The guest's IPv4 address.
    pub guest_v4: Ipv4Addr,
    /// The gateway's IPv4 address.
    pub gateway_v4: Ipv4Addr,
    /// Prefix length of the guest's IPv4 link.
    pub v4_prefix: u8,
    /// The guest's IPv6 address where it is set by hand. All of its /64 but the gateway's is the guest's.
    pub guest_v6: Ipv6Addr,
    /// The gateway's IPv6 address.
    pub gateway_v6: Ipv6Addr,
    /// The IP MTU the guest's interface is to have, octets; the link is made with it.
    pub mtu: u16,
    /// The bounds of the sandbox.
    pub limits: Arc<Limits>,
    /// What initial sequence numbers are drawn from.
    pub seed: u64,
}

impl Config {
    /// The network of a slot of the default pools, as [`Addressing`](super::Addressing) makes it: a /30 of 172.16.0.0/12 and a /64 of a ULA /48, the gateway first and the
    /// guest second in each, and locally administered MAC addresses that carry the slot.
    #[must_use]
    pub fn for_slot(slot: u16) -> Self {
        /// 172.16.0.0.
        const POOL_V4: u32 = 0xac10_0000;
        const ULA: [u16; 3] = [0xfd70, 0x6f72, 0x7463];
        let [high, low] = slot.to_be_bytes();
        let base = POOL_V4 + u32::from(slot) * 4;
        let [a, b, c] = ULA;
        Self {
            guest_mac: [0x02, 0x70, 0x63, high, low, 0x02],
            gateway_mac: [0x02, 0x70, 0x63, high, low, 0x01],
            guest_v4: Ipv4Addr::from(base + 2),
            gateway_v4: Ipv4Addr::from(base + 1),
            v4_prefix: 30,
            guest_v6: Ipv6Addr::new(a, b, c, slot, 0, 0, 0, 2),
            gateway_v6: Ipv6Addr::new(a, b, c, slot, 0, 0, 0, 1),
            mtu: MTU,
            limits: Arc::new(Limits::default()),
            // Keyed by the operating system; nothing is hashed.
            seed: RandomState::new().build_hasher().finish(),
        }
    }

    pub(super) fn ends(&self) -> Ends {
        Ends {
            guest_mac: self.guest_mac,
            gateway_mac: self.gateway_mac,
            guest_v4: self.guest_v4,
            guest_v6: self.guest_v6,
            gateway_v6: self.gateway_v6,
        }
    }

    /// The guest's own address in the family of `other`, as it is set by hand.
    #[cfg(test)]
    pub(super) fn guest(&self, other: IpAddr) -> IpAddr {
        match other {
            IpAddr::V4(_) => IpAddr::V4(self.guest_v4),
            IpAddr::V6(_) => IpAddr::V6(self.guest_v6),
        }
    }

    /// Whether an address is on the guest's own link.
    pub(super) fn is_on_link(&self, addr: IpAddr) -> bool {
        match addr {
            IpAddr::V4(addr) => addr & self.mask_v4() == self.gateway_v4 & self.mask_v4(),
            IpAddr::V6(addr) => network_v6(addr) == self.network_v6(),
        }
    }

    /// Whether an address may be one host's, and another's than the guest.
    pub(super) fn is_host(&self, addr: IpAddr) -> bool {
        let other = match addr {
            IpAddr::V4(addr) => {
                addr.is_multicast()
                    || addr.is_broadcast()
                    || addr == self.gateway_v4 | !self.mask_v4()
                    || addr == self.guest_v4
            }
            IpAddr::V6(v6) => v6.is_multicast() || (self.is_on_link(addr) && v6 != self.gateway_v6),
        };
        !other && !addr.is_unspecified()
    }

    /// The guest's /64.
    pub(super) fn network_v6(&self) -> Ipv6Addr {
        network_v6(self.gateway_v6)
    }

    pub(super) fn mask_v4(&self) -> Ipv4Addr {
        let host = 32_u32.saturating_sub(self.v4_prefix.into());
        Ipv4Addr::from(u32::MAX.checked_shl(host).unwrap_or(0))
    }

    /// The gateway's link-local address, made from its MAC address; RFC 4291 appendix A.
    pub(super) fn gateway_link_local(&self) -> Ipv6Addr {
        let [a, b, c, d, e, f] = self.gateway_mac;
        Ipv6Addr::from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f])
    }
}

/// The /64 an address is in.
pub(super) fn network_v6(addr: Ipv6Addr) -> Ipv6Addr {
    Ipv6Addr::from_bits(addr.to_bits() >> PREFIX_V6 << PREFIX_V6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_have_addresses_of_their_own() {
        let (first, last) = (Config::for_slot(0), Config::for_slot(u16::MAX));
        assert_eq!(first.gateway_v4, Ipv4Addr::new(172, 16, 0, 1));
        assert_eq!(first.guest_v4, Ipv4Addr::new(172, 16, 0, 2));
        assert_eq!(last.guest_v4, Ipv4Addr::new(172, 19, 255, 254));
        assert_eq!(last.guest_mac, [0x02, 0x70, 0x63, 0xff, 0xff, 0x02]);
        assert_eq!(last.guest_v6, "fd70:6f72:7463:ffff::2".parse::<Ipv6Addr>().unwrap());
        assert_ne!(first.seed, last.seed);
    }

    #[test]
    fn link_and_host_addresses_are_told_apart() {
        let config = Config::for_slot(1);
        let on_link = |addr: &str| config.is_on_link(addr.parse().unwrap());
        let host = |addr: &str| config.is_host(addr.parse().unwrap());
        assert!(on_link("172.16.0.5") && !on_link("172.16.0.9") && !on_link("1.1.1.1"));
        assert!(on_link("fd70:6f72:7463:1::77") && !on_link("fd70:6f72:7463:2::77"));
        assert!(host("1.1.1.1") && host("172.16.0.5") && host("2001:db8::1"));
        assert!(host("fd70:6f72:7463:1::1") && host("fd70:6f72:7463:2::2"));
        for none in [
            "172.16.0.6",
            "172.16.0.7",
            "255.255.255.255",
            "224.0.0.1",
            "0.0.0.0",
            "ff02::1",
            "::",
            "fd70:6f72:7463:1::2",
            "fd70:6f72:7463:1::77",
        ] {
            assert!(!host(none), "{none}");
        }
    }

    #[test]
    fn gateway_link_local_is_eui_64() {
        let config = Config::for_slot(0x0102);
        assert_eq!(config.gateway_link_local(), "fe80::70:63ff:fe01:201".parse::<Ipv6Addr>().unwrap());
    }
}
