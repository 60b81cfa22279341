//! The names of addresses, as PTR questions ask for them.
//!
//! [RFC 1035 §3.5](https://www.rfc-editor.org/rfc/rfc1035#section-3.5),
//! [RFC 3596 §2.5](https://www.rfc-editor.org/rfc/rfc3596#section-2.5). It knows no address's name. Invariant: only a
//! whole address is one.

use std::net::IpAddr;

use hickory_proto::rr::Name;

/// Whether `name` lies in the zones of addresses.
pub(super) fn is_reverse(name: &Name) -> bool {
    let mut labels = name.iter().rev().map(<[u8]>::to_ascii_lowercase);
    labels.next().is_some_and(|label| label == b"arpa")
        && labels.next().is_some_and(|label| label == b"in-addr" || label == b"ip6")
}

/// The address that `name` stands for.
pub(super) fn address_of(name: &Name) -> Option<IpAddr> {
    let net = name.parse_arpa_name().ok()?;
    (net.prefix_len() == net.max_prefix_len()).then(|| net.addr())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::from_ascii(text).unwrap()
    }

    #[test]
    fn only_whole_addresses_are_addresses() {
        let v6 = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.IP6.arpa.";
        for (text, addr) in [
            ("1.0.16.172.in-addr.arpa.", Some("172.16.0.1")),
            ("1.0.16.172.IN-ADDR.ARPA.", Some("172.16.0.1")),
            (v6, Some("2001:db8::1")),
            ("0.16.172.in-addr.arpa.", None),
            ("9.1.0.16.172.in-addr.arpa.", None),
            ("256.0.16.172.in-addr.arpa.", None),
            ("x.0.16.172.in-addr.arpa.", None),
            (&v6[2..], None),
            ("1.0.16.172.in-addr.example.", None),
            ("arpa.", None),
            (".", None),
        ] {
            assert_eq!(address_of(&name(text)), addr.map(|addr| addr.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn all_below_the_two_zones_is_reverse() {
        for text in ["in-addr.arpa.", "lb._dns-sd._udp.0.0.16.172.In-Addr.arpa.", "8.ip6.arpa."] {
            assert!(is_reverse(&name(text)), "{text}");
        }
        for text in ["arpa.", "e164.arpa.", "in-addr.arpa.example.", "xin-addr.arpa.", "."] {
            assert!(!is_reverse(&name(text)), "{text}");
        }
    }
}
