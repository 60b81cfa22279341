//! The profile of leaves, their cache, and what a client makes of them.

use rustls::version::{TLS12, TLS13};
use rustls::{CertificateError, HandshakeKind, ProtocolVersion};
use x509_parser::prelude::*;

use super::super::testing::{guest, host, noon, promiscuous, sandbox, shake, shown};
use super::*;

const BOTH: &[&rustls::SupportedProtocolVersion] = &[&TLS13, &TLS12];
const HOUR: Duration = Duration::from_secs(3600);

/// The leaf for `name` as a guest sees it whose clock agrees with ours.
fn leaf(ca: &CertificateAuthority, leaves: &Leaves, name: &str, wall: SystemTime) -> Vec<u8> {
    let config = leaves.server_config(&host(name), &[], wall).unwrap();
    let (client, _) = shake(&Arc::new(guest(ca, wall, BOTH)), &config, name).unwrap();
    shown(&client).to_vec()
}

fn parse(der: &[u8]) -> X509Certificate<'_> {
    X509Certificate::from_der(der).unwrap().1
}

fn key_ids(certificate: &X509Certificate<'_>) -> (Option<Vec<u8>>, Option<Vec<u8>>) {
    let (mut own, mut issuer) = (None, None);
    for extension in certificate.extensions() {
        if let ParsedExtension::SubjectKeyIdentifier(id) = extension.parsed_extension() {
            own = Some(id.0.to_vec());
        }
        if let ParsedExtension::AuthorityKeyIdentifier(id) = extension.parsed_extension() {
            issuer = id.key_identifier.as_ref().map(|id| id.0.to_vec());
        }
    }
    (own, issuer)
}

#[test]
fn the_ca_signs_leaves_and_nothing_else() {
    let (ca, _) = sandbox(&Limits::default());
    let certificate = parse(ca.der());
    let constraints = certificate.basic_constraints().unwrap().unwrap();
    assert!(constraints.critical && constraints.value.ca);
    assert_eq!(constraints.value.path_len_constraint, Some(0));
    let usage = certificate.key_usage().unwrap().unwrap();
    assert!(usage.critical);
    assert_eq!(usage.value.flags, 1 << 5, "keyCertSign alone");
    assert!(key_ids(&certificate).0.is_some());
    assert!(certificate.subject().to_string().starts_with("CN=Portcullis sandbox "));
    assert_eq!(certificate.subject(), certificate.issuer());
    let validity = certificate.validity();
    let now = OffsetDateTime::from(noon());
    assert_eq!(validity.not_before.to_datetime(), now - HOUR);
    assert_eq!(validity.not_after.to_datetime(), now - HOUR + Duration::from_secs(3650 * 24 * 3600));
    assert!(ca.pem().starts_with("-----BEGIN CERTIFICATE-----"));
}

#[test]
fn a_leaf_has_the_profile_that_strict_verifiers_ask_for() {
    let (ca, leaves) = sandbox(&Limits::default());
    let long = format!("{}.{}.example.com", "a".repeat(40), "b".repeat(40));
    for name in ["api.example.com", &long] {
        let der = leaf(&ca, &leaves, name, noon());
        let certificate = parse(&der);
        assert_eq!(certificate.version(), X509Version::V3);
        let ca = parse(ca.der());
        assert_eq!(certificate.issuer(), ca.subject());

        let (own, issuer) = key_ids(&certificate);
        assert_eq!(issuer, key_ids(&ca).0);
        assert!(own.is_some() && own != issuer);

        let names = certificate.subject_alternative_name().unwrap().unwrap();
        assert_eq!(names.value.general_names, [GeneralName::DNSName(name)]);
        let subject = certificate.subject().to_string();
        let expected = if name.len() <= 64 { format!("CN={name}") } else { String::new() };
        assert_eq!((subject.as_str(), names.critical), (expected.as_str(), expected.is_empty()));

        let usage = certificate.key_usage().unwrap().unwrap();
        assert_eq!((usage.value.flags, usage.critical), (1, true), "digitalSignature alone");
        let extended = certificate.extended_key_usage().unwrap().unwrap().value;
        assert!(extended.server_auth && !extended.client_auth && !extended.any && extended.other.is_empty());
        assert!(!certificate.is_ca());
        assert_eq!(
            certificate.tbs_certificate.subject_pki.algorithm.algorithm,
            oid_registry::OID_KEY_TYPE_EC_PUBLIC_KEY
        );

        let serial = certificate.raw_serial();
        assert!(serial.len() == 16 && serial[0] & 0x80 == 0, "{serial:?}");
        let validity = certificate.validity();
        assert_eq!(validity.not_before.to_datetime(), OffsetDateTime::from(noon()) - HOUR);
        let lasts = validity.not_after.to_datetime() - validity.not_before.to_datetime();
        assert_eq!(lasts, 24 * HOUR - Duration::from_secs(1), "both ends belong to it");
    }
}

#[test]
fn one_name_is_minted_once_and_no_serial_comes_twice() {
    let (ca, leaves) = sandbox(&Limits::default());
    let first = leaf(&ca, &leaves, "a.example", noon());
    assert_eq!(leaf(&ca, &leaves, "a.example", noon()), first);
    let other = leaf(&ca, &leaves, "b.example", noon());
    assert_ne!(parse(&first).raw_serial(), parse(&other).raw_serial());
    assert_eq!(parse(&first).public_key(), parse(&other).public_key(), "one key a sandbox");
}

#[test]
fn leaves_kept_are_bounded_and_the_least_used_goes_first() {
    let (ca, leaves) = sandbox(&Limits { leaves: 2, ..Limits::default() });
    let a = leaf(&ca, &leaves, "a.example", noon());
    let b = leaf(&ca, &leaves, "b.example", noon());
    assert_eq!(leaf(&ca, &leaves, "a.example", noon()), a);
    leaf(&ca, &leaves, "c.example", noon());
    assert_eq!(leaves.len(), 2);
    assert_eq!(leaf(&ca, &leaves, "a.example", noon()), a);
    assert_ne!(leaf(&ca, &leaves, "b.example", noon()), b);
    assert_eq!(leaves.len(), 2);
}

#[test]
fn a_leaf_is_minted_again_an_hour_before_its_end_and_when_the_clock_goes_back() {
    let (ca, leaves) = sandbox(&Limits::default());
    let first = leaf(&ca, &leaves, "a.example", noon());
    assert_eq!(leaf(&ca, &leaves, "a.example", noon() + 22 * HOUR - Duration::from_secs(2)), first);
    let second = leaf(&ca, &leaves, "a.example", noon() + 22 * HOUR);
    assert_ne!(second, first);
    assert_eq!(parse(&second).validity().not_before.to_datetime(), OffsetDateTime::from(noon()) + 21 * HOUR);
    let config = leaves.server_config(&host("a.example"), &[], noon() - HOUR).unwrap();
    let (client, _) = shake(&Arc::new(guest(&ca, noon(), BOTH)), &config, "a.example").unwrap();
    assert_ne!(shown(&client).to_vec(), second);
}

#[test]
fn a_leaf_lives_as_long_as_asked_and_never_over_a_day_or_beyond_the_ca() {
    let lasts = |leaf_life, wall| {
        let (ca, leaves) = sandbox(&Limits { leaf_life, ..Limits::default() });
        let der = leaf(&ca, &leaves, "a.example", wall);
        let validity = parse(&der).validity().clone();
        validity.not_after.to_datetime() - validity.not_before.to_datetime()
    };
    assert_eq!(lasts(HOUR, noon()), HOUR - Duration::from_secs(1));
    assert_eq!(lasts(1000 * HOUR, noon()), 24 * HOUR - Duration::from_secs(1));
    let near_the_end = noon() + 3650 * 24 * HOUR - 2 * HOUR;
    assert_eq!(lasts(24 * HOUR, near_the_end), 2 * HOUR);

    let (_, leaves) = sandbox(&Limits::default());
    let late = leaves.server_config(&host("a.example"), &[], noon() + 3650 * 24 * HOUR);
    assert!(matches!(late, Err(LeafError::CaExpired)));
}

#[test]
fn two_sandboxes_share_nothing() {
    let (ours, our_leaves) = sandbox(&Limits::default());
    let (theirs, their_leaves) = sandbox(&Limits::default());
    let (a, b) = (parse(ours.der()), parse(theirs.der()));
    assert_ne!(a.subject(), b.subject());
    assert_ne!(a.raw_serial(), b.raw_serial());
    assert_ne!(key_ids(&a).0, key_ids(&b).0);
    let keys = [&our_leaves, &their_leaves].map(|leaves| leaves.key.public_key_pem());
    assert_ne!(keys[0], keys[1]);

    let config = their_leaves.server_config(&host("a.example"), &[], noon()).unwrap();
    let refused = shake(&Arc::new(guest(&ours, noon(), BOTH)), &config, "a.example").unwrap_err();
    let untrusted = [CertificateError::UnknownIssuer, CertificateError::BadSignature];
    assert!(
        matches!(&refused, rustls::Error::InvalidCertificate(cause) if untrusted.contains(cause)),
        "{refused:?}"
    );
}

#[test]
fn both_versions_are_spoken_with_our_first_suite_and_one_ticket() {
    let (ca, leaves) = sandbox(&Limits::default());
    let config = leaves.server_config(&host("a.example"), &[], noon()).unwrap();
    for (version, number) in [(&TLS12, ProtocolVersion::TLSv1_2), (&TLS13, ProtocolVersion::TLSv1_3)] {
        let (client, _) = shake(&Arc::new(guest(&ca, noon(), &[version])), &config, "a.example").unwrap();
        assert_eq!(client.protocol_version(), Some(number));
        let suite = format!("{:?}", client.negotiated_cipher_suite().unwrap().suite());
        assert!(suite.ends_with("AES_128_GCM_SHA256"), "{suite}");
        if number == ProtocolVersion::TLSv1_3 {
            assert_eq!(client.tls13_tickets_received(), 1);
        }
    }
}

#[test]
fn a_session_resumes_for_its_own_name_and_for_no_other() {
    for version in [&TLS12, &TLS13] {
        let (ca, leaves) = sandbox(&Limits::default());
        let mut guest = guest(&ca, noon(), &[version]);
        guest.resumption = promiscuous();
        guest.alpn_protocols = wire_list(&[Alpn::H2, Alpn::Http1]);
        let guest = Arc::new(guest);
        let kind = |leaves: &Leaves, name: &str, alpn: &[Alpn]| {
            let config = leaves.server_config(&host(name), alpn, noon()).unwrap();
            shake(&guest, &config, name).unwrap().1.handshake_kind().unwrap()
        };
        assert_eq!(kind(&leaves, "a.example", &[Alpn::H2]), HandshakeKind::Full);
        assert_eq!(kind(&leaves, "a.example", &[Alpn::H2]), HandshakeKind::Resumed);
        assert_eq!(kind(&leaves, "a.example", &[Alpn::Http1]), HandshakeKind::Resumed);
        assert_eq!(kind(&leaves, "b.example", &[Alpn::H2]), HandshakeKind::Full);
        let again = Leaves::new(Arc::clone(&ca), &Limits::default()).unwrap();
        assert_eq!(kind(&again, "b.example", &[Alpn::H2]), HandshakeKind::Full);
    }
}

#[test]
fn exactly_the_protocols_given_are_negotiated() {
    let (ca, leaves) = sandbox(&Limits::default());
    let negotiated = |offered: &[Alpn], ours: &[Alpn]| {
        let mut guest = guest(&ca, noon(), BOTH);
        guest.alpn_protocols = wire_list(offered);
        let config = leaves.server_config(&host("a.example"), ours, noon()).unwrap();
        let (client, _) = shake(&Arc::new(guest), &config, "a.example")?;
        Ok(client.alpn_protocol().and_then(Alpn::from_wire))
    };
    let (h2, http1) = (Alpn::H2, Alpn::Http1);
    assert_eq!(negotiated(&[h2, http1], &[http1]), Ok(Some(http1)));
    assert_eq!(negotiated(&[http1, h2], &[h2]), Ok(Some(h2)));
    assert_eq!(negotiated(&[h2, http1], &[]), Ok(None));
    assert_eq!(negotiated(&[], &[h2]), Ok(None));
    assert_eq!(negotiated(&[h2], &[http1]), Err(rustls::Error::NoApplicationProtocol));
}
