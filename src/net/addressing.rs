//! Which addresses a sandbox's link has: those of a slot in two pools, or set by hand.
//!
//! It asks no one which addresses are in use elsewhere: the guest's link is its own. Invariant: a [`Config`] made
//! here holds together; what does not is an [`AddressingError`] that says what to change.

mod error;
mod text;

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use super::config::{Config, MTU, PREFIX_V6, network_v6};
use crate::limits::Limits;

pub use error::AddressingError;
pub use text::{Cidr, CidrError, Mac, MacError};

/// Where slots have their IPv4 addresses by default.
const POOL: Cidr<Ipv4Addr> = Cidr { address: Ipv4Addr::new(172, 16, 0, 0), prefix: 12 };
/// Where slots have their IPv6 addresses by default: unique local, RFC 4193.
const PREFIX: Cidr<Ipv6Addr> =
    Cidr { address: Ipv6Addr::new(0xfd70, 0x6f72, 0x7463, 0, 0, 0, 0, 0), prefix: PREFIX_LEN };
/// The length of an IPv6 prefix that holds a /64 for each of 65,536 slots.
const PREFIX_LEN: u8 = 48;
/// The length of the IPv4 prefix of a slot: two hosts, and the first and the last address, which are none.
const SLOT_LEN: u8 = 30;
/// The shortest IPv4 prefix of a link: none of the Internet but one block is given up for it.
const SHORTEST: u8 = 8;
/// Where names that are denied have their addresses.
const MAPPED: Cidr<Ipv4Addr> = Cidr { address: Ipv4Addr::new(198, 18, 0, 0), prefix: 15 };
/// The least MTU of IPv6, RFC 8200 §5, and the most that an Ethernet device of Linux takes with room to align.
const MTUS: std::ops::RangeInclusive<u16> = 1_280..=65_520;

/// How the addresses of a sandbox are chosen; [`Addressing::default`] is slot 0 of the usual pools.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Addressing {
    /// Which of the networks in `pool` and `prefix`; also part of the MAC addresses.
    pub slot: u16,
    /// IPv4 addresses to take a /30 from for each slot.
    pub pool: Cidr<Ipv4Addr>,
    /// IPv6 addresses to take a /64 from for each slot; a /48.
    pub prefix: Cidr<Ipv6Addr>,
    /// The guest's IPv4 address and the prefix length of its link, in place of the slot's.
    pub guest: Option<Cidr<Ipv4Addr>>,
    /// The gateway's IPv4 address; by default the first of the link.
    pub gateway: Option<Ipv4Addr>,
    /// The guest's IPv6 address, in place of the slot's; its link is the /64 around it.
    pub guest6: Option<Ipv6Addr>,
    /// The gateway's IPv6 address; by default `::1` of the link.
    pub gateway6: Option<Ipv6Addr>,
    /// The guest's MAC address.
    pub mac: Option<[u8; 6]>,
    /// The gateway's MAC address.
    pub gateway_mac: Option<[u8; 6]>,
    /// The IP MTU of the guest's interface, octets.
    pub mtu: u16,
}

impl Default for Addressing {
    fn default() -> Self {
        Self {
            slot: 0,
            pool: POOL,
            prefix: PREFIX,
            guest: None,
            gateway: None,
            guest6: None,
            gateway6: None,
            mac: None,
            gateway_mac: None,
            mtu: MTU,
        }
    }
}

impl Addressing {
    /// The network it comes to.
    ///
    /// # Errors
    /// Its parts do not hold together.
    pub fn config(&self, limits: Arc<Limits>) -> Result<Config, AddressingError> {
        let slot = Config::for_slot(self.slot);
        let (guest, gateway_v4) = self.v4()?;
        let (guest_v6, gateway_v6) = self.v6()?;
        let guest_mac = station(self.mac.unwrap_or(slot.guest_mac))?;
        let gateway_mac = station(self.gateway_mac.unwrap_or(slot.gateway_mac))?;
        if guest_mac == gateway_mac {
            return Err(AddressingError::MacTwice(Mac(guest_mac)));
        }
        if !MTUS.contains(&self.mtu) {
            return Err(AddressingError::Mtu(self.mtu));
        }
        Ok(Config {
            guest_mac,
            gateway_mac,
            guest_v4: guest.address,
            gateway_v4,
            v4_prefix: guest.prefix,
            guest_v6,
            gateway_v6,
            mtu: self.mtu,
            limits,
            ..slot
        })
    }

    /// The guest's address with its link, and the gateway's.
    fn v4(&self) -> Result<(Cidr<Ipv4Addr>, Ipv4Addr), AddressingError> {
        let guest = match self.guest {
            Some(guest) => guest,
            None => self.guest_of_slot()?,
        };
        if !(SHORTEST..=SLOT_LEN).contains(&guest.prefix) {
            return Err(AddressingError::PrefixLength(guest));
        }
        let network = guest.network();
        let first = Ipv4Addr::from_bits(network.address.to_bits() + 1);
        let gateway = self.gateway.unwrap_or(first);
        let link = Cidr { address: network.address.into(), prefix: network.prefix };
        for address in [guest.address, gateway] {
            if !is_host_v4(address) {
                return Err(AddressingError::NotAHost(address.into()));
            }
        }
        if !network.contains(gateway) {
            return Err(AddressingError::NotOnLink { gateway: gateway.into(), link });
        }
        if let Some(address) = [guest.address, gateway].into_iter().find(|own| network.is_edge(*own)) {
            return Err(AddressingError::Edge { address: address.into(), link });
        }
        if guest.address == gateway {
            return Err(AddressingError::GatewayIsGuest(gateway.into()));
        }
        if network.overlaps(MAPPED) {
            return Err(AddressingError::Mapped(network));
        }
        Ok((guest, gateway))
    }

    /// The guest's address in the slot's /30 of the pool.
    fn guest_of_slot(&self) -> Result<Cidr<Ipv4Addr>, AddressingError> {
        let (pool, slot) = (self.pool, self.slot);
        if !(SHORTEST..=SLOT_LEN).contains(&pool.prefix) || pool.network() != pool {
            return Err(AddressingError::Pool(pool));
        }
        let slots = 1_u32 << (SLOT_LEN - pool.prefix);
        if u32::from(slot) >= slots {
            return Err(AddressingError::PoolTooSmall { pool, slot, slots });
        }
        let address = Ipv4Addr::from_bits(pool.address.to_bits() + u32::from(slot) * 4 + 2);
        Ok(Cidr { address, prefix: SLOT_LEN })
    }

    /// The guest's address and the gateway's.
    fn v6(&self) -> Result<(Ipv6Addr, Ipv6Addr), AddressingError> {
        let guest = match self.guest6 {
            Some(guest) => guest,
            None => self.guest6_of_slot()?,
        };
        let network = network_v6(guest);
        let gateway = self.gateway6.unwrap_or(Ipv6Addr::from_bits(network.to_bits() | 1));
        let link = Cidr { address: network.into(), prefix: PREFIX_V6 };
        for address in [guest, gateway] {
            if !is_host_v6(address) {
                return Err(AddressingError::NotAHost(address.into()));
            }
        }
        if network_v6(gateway) != network {
            return Err(AddressingError::NotOnLink { gateway: gateway.into(), link });
        }
        // The last is a host's like any other; the first is any router's, RFC 4291 §2.6.1.
        if let Some(address) = [guest, gateway].into_iter().find(|own| *own == network) {
            return Err(AddressingError::Edge { address: address.into(), link });
        }
        if guest == gateway {
            return Err(AddressingError::GatewayIsGuest(gateway.into()));
        }
        Ok((guest, gateway))
    }

    /// The guest's address in the slot's /64 of the prefix.
    fn guest6_of_slot(&self) -> Result<Ipv6Addr, AddressingError> {
        let bits = self.prefix.address.to_bits();
        if self.prefix.prefix != PREFIX_LEN || bits << PREFIX_LEN != 0 {
            return Err(AddressingError::Prefix(self.prefix));
        }
        Ok(Ipv6Addr::from_bits(bits | u128::from(self.slot) << PREFIX_V6 | 2))
    }
}

fn is_host_v4(address: Ipv4Addr) -> bool {
    // "This network", loopback, multicast and what lies above it are no unicast addresses; RFC 6890 §2.2.2.
    !matches!(address.octets(), [0 | 127 | 224..=255, ..])
}

fn is_host_v6(address: Ipv6Addr) -> bool {
    let mapped = address.to_ipv4_mapped().is_some();
    !(address.is_unspecified()
        || address.is_loopback()
        || address.is_multicast()
        || address.is_unicast_link_local()
        || mapped)
}

fn station(mac: [u8; 6]) -> Result<[u8; 6], AddressingError> {
    let [first, ..] = mac;
    if first & 1 == 1 || mac == [0; 6] { Err(AddressingError::Mac(Mac(mac))) } else { Ok(mac) }
}

#[cfg(test)]
mod tests;
