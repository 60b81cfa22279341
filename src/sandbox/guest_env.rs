//! What the guest has to be given: addresses, and variables that hold no secret.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::net;
use crate::secret::Secrets;

/// A guest's network settings and variables.
#[derive(Clone, Debug)]
pub struct GuestEnv {
    /// MAC address of the guest's interface; frames from another are dropped.
    pub mac: [u8; 6],
    /// IPv4 address and prefix length.
    pub v4: (Ipv4Addr, u8),
    /// IPv4 gateway.
    pub gateway_v4: Ipv4Addr,
    /// IPv6 address and prefix length.
    pub v6: (Ipv6Addr, u8),
    /// IPv6 gateway.
    pub gateway_v6: Ipv6Addr,
    /// IP MTU of the guest's interface, octets; its link is to be made with the same.
    pub mtu: u16,
    /// Nameservers: the gateway's addresses.
    pub dns: Vec<IpAddr>,
    /// A variable for each secret: its name and its placeholder.
    pub placeholders: Vec<(String, String)>,
}

impl GuestEnv {
    pub(super) fn new(addresses: &net::Config, secrets: &Secrets) -> Self {
        let placeholders = secrets
            .placeholders()
            .map(|(name, placeholder)| (name.to_owned(), placeholder.to_string()))
            .collect();
        Self {
            mac: addresses.guest_mac,
            v4: (addresses.guest_v4, addresses.v4_prefix),
            gateway_v4: addresses.gateway_v4,
            v6: (addresses.guest_v6, net::PREFIX_V6),
            gateway_v6: addresses.gateway_v6,
            mtu: addresses.mtu,
            dns: vec![addresses.gateway_v4.into(), addresses.gateway_v6.into()],
            placeholders,
        }
    }

    /// The same for [`crate::namespace`].
    #[cfg(target_os = "linux")]
    #[must_use]
    pub fn addresses(&self) -> crate::namespace::Addresses {
        use crate::namespace::{Addresses, Assignment};
        Addresses {
            mac: self.mac,
            mtu: self.mtu,
            v4: Assignment { guest: self.v4.0, prefix: self.v4.1, gateway: self.gateway_v4 },
            v6: Assignment { guest: self.v6.0, prefix: self.v6.1, gateway: self.gateway_v6 },
        }
    }

    /// The variables as a shell reads them, one `NAME=value` a line.
    #[must_use]
    pub fn to_env_file(&self) -> String {
        self.placeholders.iter().map(|(name, value)| format!("{name}={value}\n")).collect()
    }
}
