//! What may stand in a rule, and what may not.

use super::*;
use crate::name::{HOST_ALIAS, NameError};
use crate::policy::service::Reserved;
use crate::policy::target::{ConnectTo, overlap};
use crate::policy::{RuleError, SubnetError};

fn rule(text: &str) -> Result<Rule, RuleError> {
    Rule::allowing(text, RuleSource::Flag(text.to_owned()))
}

fn name(text: &str) -> HostName {
    HostName::parse(text).unwrap()
}

trait Reaches {
    fn reaches(&self, host: &HostName, service: Service) -> bool;
}

impl Reaches for Rule {
    fn reaches(&self, host: &HostName, service: Service) -> bool {
        let place = if host.is_host_alias() { Place::Loopback } else { Place::Unknown };
        let asked =
            Asked { service: Some(service), called: Called::Name(host), place, carried: Carried::Unknown };
        self.matches(asked) != Match::No
    }
}

#[test]
fn a_rule_without_a_port_means_80_and_443() {
    let rule = rule("Pypi.org.").unwrap();
    let reached: Vec<u16> =
        (1..=u16::MAX).filter(|port| rule.reaches(&name("pypi.org"), Service::Tcp(*port))).collect();
    assert_eq!(reached, [80, 443]);
    assert!(!rule.reaches(&name("a.pypi.org"), Service::Tcp(443)));
}

#[test]
fn a_rule_with_a_port_means_that_port_alone() {
    let rule = rule("*.example.com:22").unwrap();
    assert!(rule.reaches(&name("a.b.example.com"), Service::Tcp(22)));
    assert!(
        !rule.reaches(&name("a.example.com"), Service::Tcp(443))
            && !rule.reaches(&name("example.com"), Service::Tcp(22))
    );
}

#[test]
fn a_rule_is_of_one_protocol() {
    let services = [Service::Tcp(7), Service::Udp(7), Service::Tcp(443), Service::Udp(443), Service::Icmp];
    let table = [
        ("*.a.example:7", &[Service::Tcp(7)][..]),
        ("*.a.example:7/tcp", &[Service::Tcp(7)]),
        ("*.a.example:7/udp", &[Service::Udp(7)]),
        ("*.a.example/tcp", &[Service::Tcp(443)]),
        ("*.a.example", &[Service::Tcp(443)]),
        ("*.a.example/icmp", &[Service::Icmp]),
    ];
    for (text, expected) in table {
        let rule = rule(text).unwrap();
        let host = name("b.a.example");
        let reached: Vec<Service> = services.into_iter().filter(|s| rule.reaches(&host, *s)).collect();
        assert_eq!(reached, expected, "{text}");
        assert!(rule.names(&host) && !services.iter().any(|s| rule.reaches(&name("a.example"), *s)));
    }
}

#[test]
fn the_alias_is_opened_by_its_full_name_only() {
    let alias = name(HOST_ALIAS);
    assert!(rule("host.portcullis.internal:8080").unwrap().reaches(&alias, Service::Tcp(8080)));
    assert!(!rule("*.portcullis.internal:8080").unwrap().reaches(&alias, Service::Tcp(8080)));
    assert!(!rule("*.internal").unwrap().names(&alias));
}

#[test]
fn what_is_no_rule_says_what_to_write() {
    let table = [
        ("127.1", RuleError::Address),
        ("0x7f000001", RuleError::Address),
        ("*", RuleError::AnyHost),
        ("*:443", RuleError::AnyHost),
        ("https://pypi.org", RuleError::Url),
        ("host.portcullis.internal", RuleError::AliasPort),
        ("localhost", RuleError::Localhost),
        ("app.localhost:3000", RuleError::Localhost),
        ("pypi.org:53", RuleError::Dns),
        ("", RuleError::Host(NameError::Empty)),
        ("a.*.com", RuleError::Host(NameError::Wildcard)),
        ("pypi.org/simple", RuleError::Protocol),
        ("pypi.org/", RuleError::Protocol),
        ("pypi.org:123/UDP", RuleError::Protocol),
        ("pypi.org/udp/icmp", RuleError::Protocol),
        ("pypi.org/udp", RuleError::UdpPort),
        ("pypi.org/tcp:123", RuleError::Protocol),
        ("pypi.org:7/icmp", RuleError::IcmpPort),
        ("pypi.org:443/udp", RuleError::UdpReserved(Reserved::Quic)),
        ("*.pypi.org:853/udp", RuleError::UdpReserved(Reserved::OtherDns)),
        ("pypi.org:5353/udp", RuleError::UdpReserved(Reserved::OtherDns)),
        ("pypi.org:5355/udp", RuleError::UdpReserved(Reserved::OtherDns)),
        ("pypi.org:137/udp", RuleError::UdpReserved(Reserved::OtherDns)),
        ("pypi.org:53/udp", RuleError::UdpReserved(Reserved::Dns)),
        ("pypi.org:853", RuleError::Dns),
        ("host.portcullis.internal/udp", RuleError::UdpPort),
        ("host.portcullis.internal/tcp", RuleError::AliasPort),
        ("host.portcullis.internal/icmp", RuleError::AliasEcho),
        ("localhost/icmp", RuleError::Localhost),
        ("*/icmp", RuleError::AnyHost),
        (
            "10.0.0.1/8",
            RuleError::Subnet(SubnetError::HostBits { first: "10.0.0.0".parse().unwrap(), prefix: 8 }),
        ),
        ("10.0.0.0/33", RuleError::Subnet(SubnetError::Prefix { most: 32 })),
        ("[::1", RuleError::Destination),
        ("[::1]x", RuleError::Destination),
        ("10.0.0.1", RuleError::AddressPort),
        ("10.0.0.0/8", RuleError::AddressPort),
        ("@private", RuleError::AddressPort),
        ("[fd00::5]", RuleError::AddressPort),
        ("fd00::5:443", RuleError::Brackets),
        ("@all", RuleError::Group),
        ("@metadata", RuleError::MetadataByGroup),
        ("@host", RuleError::AliasPort),
        ("https://pypi.org/udp", RuleError::Url),
        ("pypi.org:", RuleError::Ports),
        ("pypi.org:0", RuleError::Ports),
        ("pypi.org:65536", RuleError::Ports),
        ("pypi.org:+80", RuleError::Ports),
        ("pypi.org:http", RuleError::Ports),
        ("pypi.org:80:443", RuleError::Host(NameError::Port)),
    ];
    for (text, error) in table {
        assert_eq!(rule(text).err(), Some(error), "{text}");
    }
}

#[test]
fn connect_to_takes_a_name_and_an_address() {
    let to = ConnectTo::parse("api.example.com:443:127.0.0.1:8443").unwrap();
    assert_eq!((to.host, to.port), (name("api.example.com"), 443));
    assert_eq!(to.to, "127.0.0.1:8443".parse().unwrap());
    let to = ConnectTo::parse("api.example.com:443:[::1]:8443").unwrap();
    assert_eq!(to.to, "[::1]:8443".parse().unwrap());
    for text in [
        "api.example.com",
        "api.example.com:443",
        "api.example.com:443:127.0.0.1",
        "api.example.com:443:localhost:1",
        "api.example.com:443:127.0.0.1:0",
        "api.example.com:443:::1:8443",
        "api.example.com::127.0.0.1:1",
        "10.0.0.1:443:127.0.0.1:1",
        "*.example.com:443:127.0.0.1:1",
        "host.portcullis.internal:443:127.0.0.1:1",
        "localhost:443:127.0.0.1:1",
    ] {
        assert!(ConnectTo::parse(text).is_err(), "{text}");
    }
}

#[test]
fn patterns_overlap_where_one_name_is_meant_by_both() {
    let overlaps = |one: &str, other: &str| {
        overlap(&HostPattern::parse(one).unwrap(), &HostPattern::parse(other).unwrap())
    };
    assert!(overlaps("a.example", "a.example") && overlaps("a.b.example", "*.example"));
    assert!(overlaps("*.b.example", "*.example") && overlaps("*.example", "*.b.example"));
    assert!(!overlaps("a.example", "b.example") && !overlaps("b.example", "*.b.example"));
    assert!(!overlaps("*.a.example", "*.b.example"));
}

#[test]
fn a_line_reads_as_the_rule_it_was_written_from() {
    let table = [
        ("allow pypi.org", "allow pypi.org:80,443/tcp"),
        ("deny *.ads.example", "deny *.ads.example"),
        ("deny ads.example:25", "deny ads.example:25/tcp,udp"),
        (
            "allow GET,HEAD api.github.com /repos/acme/** /user",
            "allow GET,HEAD api.github.com:80,443/tcp /repos/acme/** /user",
        ),
        ("allow 10.0.0.0/8:5432,6000-6100", "allow 10.0.0.0/8:5432,6000-6100/tcp"),
        ("allow 10.0.0.7", "allow 10.0.0.7"),
        ("allow [2001:db8::/32]:22", "allow [2001:db8::/32]:22/tcp"),
        ("allow [2001:db8::1]", "allow [2001:db8::1]"),
        ("allow 2001:db8::/32", "allow [2001:db8::/32]"),
        ("deny any", "deny any"),
        ("deny any /admin/**", "deny any/tcp /admin/**"),
        ("allow @public", "allow @public"),
        ("allow @private:22/tcp,udp", "allow @private:22/tcp,udp"),
        ("deny ingress @private", "deny ingress @private"),
        ("allow ingress 192.0.2.0/24:8080", "allow ingress 192.0.2.0/24:8080/tcp"),
        ("deny any 192.0.2.0/24", "deny any 192.0.2.0/24"),
        ("allow host.portcullis.internal:3000", "allow host.portcullis.internal:3000/tcp"),
        ("allow ping.example/icmp", "allow ping.example/icmp"),
    ];
    for (text, line) in table {
        let rule = Rule::parse(text, RuleSource::Owner).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(rule.to_string(), line, "{text}");
        assert_eq!(Rule::parse(line, RuleSource::Owner).unwrap().to_string(), line);
    }
}

#[test]
fn what_is_no_line_says_what_to_write() {
    let table = [
        ("", RuleError::Action),
        ("permit a.example", RuleError::Action),
        ("ask a.example", RuleError::Ask),
        ("allow", RuleError::Destination),
        ("allow GET", RuleError::Destination),
        ("allow get a.example", RuleError::Method),
        ("allow outgress a.example", RuleError::Word("outgress".to_owned())),
        ("allow allow a.example", RuleError::Word("allow".to_owned())),
        ("allow GET a.example b.example", RuleError::Word("b.example".to_owned())),
        ("allow a.example /a b", RuleError::Word("b".to_owned())),
        ("deny ingress", RuleError::Destination),
        ("allow egress", RuleError::Destination),
        ("allow any GET /x", RuleError::Destination),
        ("allow 2001:db8::1", RuleError::Brackets),
        ("deny fd00::5:443", RuleError::Brackets),
        ("allow TRACE a.example", RuleError::MethodNeverPassed),
        ("allow a.example b.example", RuleError::Word("b.example".to_owned())),
        ("allow a.example /a//b", RuleError::PathNotCanonical),
        ("allow ingress a.example", RuleError::PeerByName),
        ("allow GET 10.0.0.1", RuleError::RequestsUnread),
        ("allow GET @private", RuleError::RequestsUnread),
        ("allow GET a.example/udp", RuleError::RequestsUnread),
        ("allow GET host.portcullis.internal:80", RuleError::RequestsUnread),
        ("deny any GET @public", RuleError::RequestsInward),
        ("allow a.example:9-1", RuleError::Ports),
    ];
    for (text, error) in table {
        assert_eq!(Rule::parse(text, RuleSource::Owner).err(), Some(error), "{text}");
    }
}
