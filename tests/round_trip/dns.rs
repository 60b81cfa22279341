//! What a guest is answered about names.

use std::net::{IpAddr, SocketAddr};

use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use portcullis::name::HOST_ALIAS;

use crate::memory::{HOST, Plan, addresses, question, run};

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
