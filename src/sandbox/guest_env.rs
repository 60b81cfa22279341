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
            .into_iter()
            .map(|(name, placeholder)| (name, placeholder.to_string()))
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

    /// The guest's variables: its addresses, where programs find the CA, and a placeholder for each secret.
    ///
    /// The files of the CA are where `run` puts them; in a VM they have to be put there, as the PEM says them.
    #[must_use]
    pub fn variables(&self) -> Vec<(String, String)> {
        let (v4, v6) = (&self.v4, &self.v6);
        let mac: Vec<String> = self.mac.iter().map(|octet| format!("{octet:02x}")).collect();
        let dns: Vec<String> = self.dns.iter().map(ToString::to_string).collect();
        let addresses = [
            ("PORTCULLIS_MAC", mac.join(":")),
            ("PORTCULLIS_IPV4", format!("{}/{}", v4.0, v4.1)),
            ("PORTCULLIS_IPV4_GATEWAY", self.gateway_v4.to_string()),
            ("PORTCULLIS_IPV6", format!("{}/{}", v6.0, v6.1)),
            ("PORTCULLIS_IPV6_GATEWAY", self.gateway_v6.to_string()),
            ("PORTCULLIS_DNS", dns.join(" ")),
        ];
        let addresses = addresses.into_iter().map(|(name, value)| (name.to_owned(), value));
        let trust = trust_variables().map(|(name, path)| (name.to_owned(), path.to_owned()));
        addresses.chain(trust).chain(self.placeholders.iter().cloned()).collect()
    }

    /// The variables as a shell reads them, one `NAME=value` a line, quoted where it would read something else.
    #[must_use]
    pub fn to_env_file(&self) -> String {
        to_shell(&self.variables())
    }
}

/// Variables that say where the CA is, for programs that have a trust store of their own.
fn trust_variables() -> impl Iterator<Item = (&'static str, &'static str)> {
    use crate::namespace::trust::{ADDING, BUNDLE, CA, REPLACING};
    let adding = ADDING.iter().map(|name| (*name, CA));
    adding.chain(REPLACING.iter().map(|name| (*name, BUNDLE)))
}

/// Variables as a shell reads them, one `NAME=value` a line. What has no name of a variable is left out.
#[must_use]
pub(crate) fn to_shell(variables: &[(String, String)]) -> String {
    let named = variables.iter().filter(|(name, _)| is_variable(name));
    named.map(|(name, value)| format!("{name}={}\n", quoted(value))).collect()
}

fn is_variable(name: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    name.chars().all(word) && name.starts_with(|c: char| !c.is_ascii_digit())
}

fn quoted(value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "%+,-./:=@_".contains(c);
    if value.chars().all(plain) { value.to_owned() } else { format!("'{}'", value.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_back_what_was_written() {
        let values =
            ["", "plain", "a b", "it's", "$HOME `id` \\ \"", "~root", "a\nb", "é", "x;y&z|<>(){}*?[]!#"];
        let variables: Vec<_> =
            values.iter().enumerate().map(|(n, value)| (format!("V{n}"), (*value).to_owned())).collect();
        let mut script = to_shell(&variables);
        for (name, _) in &variables {
            script += &format!("printf '%s\\0' \"${name}\"\n");
        }
        let read = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
        let read = String::from_utf8(read.stdout).unwrap();
        assert_eq!(read.split_terminator('\0').collect::<Vec<_>>(), values);
    }

    #[test]
    fn what_is_no_variable_is_not_written() {
        let named = |name: &str| to_shell(&[(name.to_owned(), "x".to_owned())]);
        assert_eq!(named("A_1"), "A_1=x\n");
        for name in ["", "1A", "A B", "A=", "A;id", "$(id)", "é"] {
            assert_eq!(named(name), "", "{name}");
        }
    }
}
