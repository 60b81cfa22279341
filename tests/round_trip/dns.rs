//! What a guest is answered about names.

use std::net::{IpAddr, SocketAddr};

use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use portcullis::audit::Event;
use portcullis::limits::Limits;
use portcullis::name::HOST_ALIAS;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsConnector;

use crate::memory::{Bed, HOST, Plan, addresses, question, run};

/// 198.18.0.0/15.
fn is_mapped(addr: IpAddr) -> bool {
    match addr {
        IpAddr::V4(addr) => addr.octets()[0] == 198 && addr.octets()[1] & 0xfe == 18,
        IpAddr::V6(addr) => addr.octets()[0] == 0xfd,
    }
}

#[test]
fn a_denied_name_has_an_address_of_the_sandboxs_own_and_nothing_else() {
    run(async {
        let bed = Plan::new().start();
        for wanted in [RecordType::A, RecordType::AAAA] {
            let answer = bed.ask("denied.example", wanted).await;
            assert_eq!(answer.metadata.response_code, ResponseCode::NoError);
            assert!(addresses(&answer).into_iter().all(is_mapped) && answer.answers.len() == 1, "{answer:?}");
            assert!(answer.answers[0].ttl <= 5, "short-lived");
        }
        for wanted in [RecordType::TXT, RecordType::MX, RecordType::NULL, RecordType::CNAME] {
            let answer = bed.ask("tunnelled-data.denied.example", wanted).await;
            assert_eq!(answer.metadata.response_code, ResponseCode::NXDomain, "{wanted}");
        }
        for name in ["denied.example", HOST] {
            let answer = bed.ask(name, RecordType::HTTPS).await;
            assert_eq!((answer.metadata.response_code, answer.answers.len()), (ResponseCode::NoError, 0));
        }
        bed.finish().await;
    });
}

#[test]
fn two_questions_are_a_format_error() {
    run(async {
        let bed = Plan::new().start();
        let mut message = Message::from_vec(&question("one.example", RecordType::A)).unwrap();
        message.add_query(Query::query(Name::from_ascii("two.example.").unwrap(), RecordType::A));
        let answer = bed.exchange(&message.to_vec().unwrap()).await;
        assert_eq!(answer.metadata.response_code, ResponseCode::FormErr);
        assert!(answer.answers.is_empty());
        bed.finish().await;
    });
}

#[test]
fn questions_over_tcp_are_answered_in_a_row() {
    run(async {
        let bed = Plan::new().connect(HOST, 443, "127.0.0.1:1".parse().unwrap()).start();
        let questions = [
            question(HOST, RecordType::A),
            question("denied.example", RecordType::TXT),
            question(HOST_ALIAS, RecordType::A),
        ];
        let answers = bed.exchange_tcp(&questions).await;
        assert!(is_mapped(addresses(&answers[0])[0]));
        assert_eq!(addresses(&answers[0]), addresses(&bed.ask(HOST, RecordType::A).await), "as over UDP");
        assert_eq!(answers[1].metadata.response_code, ResponseCode::NXDomain);
        assert_eq!(addresses(&answers[2]), [bed.gateway()]);
        bed.finish().await;
    });
}

#[test]
fn any_address_is_a_nameserver_and_nothing_else_takes_datagrams() {
    run(async {
        let bed = Plan::new().start();
        let message = question("denied.example", RecordType::A);
        let asked = |to: &str| {
            let (to, guest, message) =
                (to.parse::<SocketAddr>().unwrap(), bed.guest.clone(), message.clone());
            async move { guest.udp_exchange(to, &message).await }
        };
        let answer = Message::from_vec(&asked("8.8.8.8:53").await.unwrap()).unwrap();
        assert!(is_mapped(addresses(&answer)[0]));
        for elsewhere in ["8.8.8.8:443", "8.8.8.8:853", "8.8.8.8:5353"] {
            let refused = asked(elsewhere).await.unwrap_err();
            assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused, "{elsewhere}");
        }
        bed.finish().await;
    });
}

/// The answer of whoever is at `to`, over TLS to a resolver of this name or address.
async fn ask_under_tls(bed: &Bed, to: &str, name: &str, alpn: &[&[u8]]) -> std::io::Result<Message> {
    let stream = bed.guest.connect(to.parse().unwrap()).await?;
    let connector = TlsConnector::from(std::sync::Arc::new(bed.offer().alpn(alpn).0));
    let mut stream = connector.connect(ServerName::try_from(name.to_owned()).unwrap(), stream).await?;
    let agreed = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
    assert_eq!(agreed.as_deref(), alpn.first().copied());
    let query = question("denied.example", RecordType::A);
    stream.write_u16(u16::try_from(query.len()).unwrap()).await?;
    stream.write_all(&query).await?;
    // Closed for writing: the answer comes all the same, then the end.
    stream.shutdown().await?;
    let mut answer = vec![0; stream.read_u16().await?.into()];
    stream.read_exact(&mut answer).await?;
    assert_eq!(stream.read(&mut [0]).await?, 0, "close_notify");
    Ok(Message::from_vec(&answer).unwrap())
}

#[test]
fn dns_over_tls_to_any_address_is_answered_here() {
    run(async {
        let bed = Plan::new().start();
        let gateway = bed.gateway().to_string();
        for (to, name) in [
            ("8.8.8.8:853", "dns.google"),
            ("8.8.8.8:853", "8.8.8.8"),
            ("[2606:4700:4700::1111]:853", "2606:4700:4700::1111"),
            (&format!("{gateway}:853"), gateway.as_str()),
        ] {
            for alpn in [&[][..], &[&b"dot"[..]][..]] {
                let answer = ask_under_tls(&bed, to, name, alpn).await.unwrap();
                assert!(is_mapped(addresses(&answer)[0]), "{to} {name}");
            }
        }
        bed.finish().await;
    });
}

#[test]
fn nothing_but_dns_is_spoken_on_the_port_of_dns_over_tls() {
    run(async {
        let bed = Plan::new().start();
        assert!(ask_under_tls(&bed, "8.8.8.8:853", "8.8.8.8", &[b"h2"]).await.is_err());
        let wrong = ask_under_tls(&bed, "8.8.8.8:853", "9.9.9.9", &[]).await.unwrap_err();
        assert!(
            wrong.to_string().contains("only valid for IpAddress(8.8.8.8)"),
            "the leaf is for the address: {wrong}"
        );
        let mut plain = bed.guest.connect("8.8.8.8:853".parse().unwrap()).await.unwrap();
        plain.write_all(b"GET / HTTP/1.1\r\nhost: dns.google\r\n\r\n").await.unwrap();
        let mut heard = Vec::new();
        let _reset = plain.read_to_end(&mut heard).await;
        assert!(!heard.windows(4).any(|window| window == b"HTTP"), "{heard:?}");
        bed.finish().await;
    });
}

#[test]
fn a_flood_of_denied_names_is_answered_one_by_one_and_recorded_in_sum() {
    const NAMES: u64 = 400;
    run(async {
        for observing in [false, true] {
            let few = |limits: &mut Limits| limits.refusals_told = 3;
            let plan = Plan::new().limits(few);
            let mut bed = if observing { plan.observe().start() } else { plan.start() };
            let questions: Vec<_> =
                (0..NAMES).map(|name| question(&format!("n{name}.denied.example"), RecordType::A)).collect();
            for answers in questions.chunks(100) {
                bed.exchange_tcp(answers).await;
            }
            let (expected, summary) = match observing {
                false => (format!("{NAMES} denials: others ("), bed.sandbox().denials()),
                true => (format!("would have denied {NAMES}: others ("), bed.sandbox().observed()),
            };
            let summary = summary.unwrap();
            assert!(summary.starts_with(&expected), "{summary}");
            let (mut records, mut told) = (0, 0);
            while told < NAMES {
                told += bed
                    .event(|event| match event {
                        Event::Denial { target, observed, .. } if target.ends_with("denied.example") => {
                            (*observed == observing).then_some(1)
                        }
                        Event::Denials { count, observed } => (*observed == observing).then_some(*count),
                        _ => None,
                    })
                    .await;
                records += 1;
            }
            assert!(told == NAMES && records < NAMES / 4, "{records} records of {told}");
            bed.finish().await;
        }
    });
}
