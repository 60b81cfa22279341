//! The addresses of `[net]`: text to an [`Addressing`], each fault at its place.
//!
//! Whether the addresses hold together is not asked here but by [`Config::check`](super::Config), which knows
//! what a caller of the library changed.

use std::str::FromStr;

use toml::Spanned;

use super::error::{ConfigError, Problem};
use super::file::{Net, Source, quoted};
use crate::net::{Addressing, Mac};

impl Source<'_> {
    pub(super) fn addressing(&self, net: &Net) -> Result<Addressing, ConfigError> {
        let usual = Addressing::default();
        let mac =
            |key, text| self.read::<Mac>(key, text, Problem::Mac).map(|mac| mac.map(|Mac(octets)| octets));
        Ok(Addressing {
            slot: net.slot,
            pool: self.read("pool", &net.pool, Problem::Network)?.unwrap_or(usual.pool),
            prefix: self.read("prefix", &net.prefix, Problem::Network)?.unwrap_or(usual.prefix),
            guest: self.read("guest", &net.guest, Problem::Network)?,
            gateway: self.read("gateway", &net.gateway, Problem::AddressV4)?,
            guest6: self.read("guest6", &net.guest6, Problem::AddressV6)?,
            gateway6: self.read("gateway6", &net.gateway6, Problem::AddressV6)?,
            mac: mac("mac", &net.mac)?,
            gateway_mac: mac("gateway_mac", &net.gateway_mac)?,
            mtu: net.mtu.unwrap_or(usual.mtu),
        })
    }

    fn read<T: FromStr>(
        &self,
        key: &str,
        text: &Option<Spanned<String>>,
        problem: Problem,
    ) -> Result<Option<T>, ConfigError> {
        let Some(text) = text else { return Ok(None) };
        match text.get_ref().parse() {
            Ok(value) => Ok(Some(value)),
            Err(_) => Err(self.fault(text.span(), &quoted(&format!("[net] {key}"), text), problem)),
        }
    }
}
