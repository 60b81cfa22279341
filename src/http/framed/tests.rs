//! WebSockets between a guest and a host of secrets, frame by frame, on a clock that stands.

mod bed;

use std::cell::Cell;
use std::num::NonZeroU32;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::sync::Notify;
use tokio::time::Instant;

use self::bed::{
    BINARY, CLOSE, EQUAL, End, PING, PONG, Plan, Recording, SHORT, TEXT, fragments, frame, run, whole,
};
use crate::http::{Answered, Event};
use crate::secret::Location;
use crate::websocket::Speaker;
use crate::websocket::testing::{decoded, encoded};

#[test]
fn a_placeholder_in_text_becomes_the_secret_and_is_on_record() {
    for secret in [SHORT, EQUAL] {
        run(async {
            let mut bed = Plan::new(secret).start().await;
            let own = bed.placeholder.clone();
            let hello = format!("{{\"op\":2,\"token\":\"{own}\"}}");
            let expected = hello.replace(&own, secret);
            bed.guest.send(TEXT, hello.as_bytes()).await;
            assert_eq!(bed.upstream.frames().await, [frame(TEXT, &expected)]);
            {
                let events = bed.events.borrow();
                let [Event::Injected { subject, secret: name, place, .. }] = &events[..] else {
                    panic!("{events:?}")
                };
                assert_eq!((&**name, &**place, &*subject.path), ("TOKEN", "websocket", "/chat?room=1"));
                assert!(!format!("{events:?}").contains(secret));
            }
            // Octet by octet, and split over fragments with a ping between them.
            bed.guest.send_in(&[frame(TEXT, &hello)], 1).await;
            assert_eq!(whole(TEXT, &bed.upstream.frames().await), expected);
            for size in [1, 7, usize::MAX] {
                let (first, rest) = hello.split_at(30);
                let (second, third) = rest.split_at(5);
                let mut frames = fragments(TEXT, &[first, second, third]);
                frames.insert(1, frame(PING, "still there"));
                bed.guest.send_in(&frames, size).await;
                let mut heard = bed.upstream.frames().await;
                let ping = heard.iter().position(|frame| frame.0 == PING).unwrap();
                assert_eq!(heard.remove(ping), frame(PING, "still there"));
                assert_eq!(whole(TEXT, &heard), expected);
            }
            assert_eq!(bed.injections(), 5);
        });
    }
}

#[test]
fn what_is_not_text_or_not_for_this_peer_stays_as_it_is() {
    run(async {
        let mut bed = Plan::new(SHORT).start().await;
        let own = bed.placeholder.clone();
        for opcode in [BINARY, PING, PONG] {
            bed.guest.send(opcode, own.as_bytes()).await;
            assert_eq!(bed.upstream.frames().await, [frame(opcode, &own)]);
        }
        bed.guest.send_in(&fragments(BINARY, &["a", &own, "b"]), 3).await;
        assert_eq!(bed.upstream.frames().await, fragments(BINARY, &["a", &own, "b"]));
        assert_eq!(bed.injections(), 0);
        for plan in [
            Plan { swap: Location::Header, ..Plan::new(SHORT) },
            Plan { verified: false, ..Plan::new(SHORT) },
        ] {
            let mut bed = plan.start().await;
            let own = bed.placeholder.clone();
            bed.guest.send(TEXT, own.as_bytes()).await;
            assert_eq!(bed.upstream.frames().await, [frame(TEXT, &own)]);
            assert_eq!(bed.injections(), 0);
        }
    });
}

#[test]
fn a_secret_waits_until_it_is_on_record() {
    run(async {
        let recorded = Rc::new(Notify::new());
        let plan = Plan { recording: Recording::Later(Rc::clone(&recorded)), ..Plan::new(SHORT) };
        let mut bed = plan.start().await;
        bed.guest.send(TEXT, bed.placeholder.clone().as_bytes()).await;
        assert_eq!(bed.upstream.frames().await, []);
        assert_eq!(bed.injections(), 1);
        bed.upstream.send(TEXT, b"the other way is free").await;
        assert_eq!(bed.guest.frames().await, [frame(TEXT, "the other way is free")]);
        recorded.notify_one();
        assert_eq!(bed.upstream.frames().await, [frame(TEXT, SHORT)]);
    });
}

#[test]
fn a_secret_that_cannot_be_recorded_goes_nowhere_and_ends_the_connection() {
    run(async {
        let mut bed = Plan { recording: Recording::Never, ..Plan::new(SHORT) }.start().await;
        bed.guest.send(TEXT, b"no secret yet").await;
        bed.guest.send(TEXT, bed.placeholder.clone().as_bytes()).await;
        let closed = (CLOSE, true, 1011_u16.to_be_bytes().to_vec());
        assert_eq!(bed.upstream.frames().await, [frame(TEXT, "no secret yet"), closed.clone()]);
        assert_eq!(bed.guest.frames().await, [closed]);
        assert!(bed.guest.is_over().await && bed.upstream.is_over().await);
        let denied = |event: &Event| matches!(event, Event::Denied { answered: Answered::Already, .. });
        assert!(bed.events.borrow().iter().any(denied));
    });
}

/// A close frame with a code and a reason.
fn closed(code: u16, reason: &str) -> (u8, bool, Vec<u8>) {
    (CLOSE, true, [&code.to_be_bytes(), reason.as_bytes()].concat())
}

/// The one refusal that was told of.
fn denied(bed: &bed::Bed) -> (http::StatusCode, String) {
    let events = bed.events.borrow();
    let denied = events.iter().filter_map(|event| match event {
        Event::Denied { refusal, .. } => Some((refusal.status(), refusal.text().to_owned())),
        Event::Request { .. } | Event::Injected { .. } | Event::Failed { .. } => None,
    });
    let [denied] = &denied.collect::<Vec<_>>()[..] else { panic!("{events:?}") };
    denied.clone()
}

#[test]
fn the_placeholder_of_a_revoked_secret_ends_the_connection_with_the_reason() {
    for secret in [SHORT, EQUAL] {
        run(async {
            let mut bed = Plan::new(secret).start().await;
            let own = bed.placeholder.clone();
            bed.guest.send(TEXT, own.as_bytes()).await;
            assert_eq!(bed.upstream.frames().await, [frame(TEXT, secret)]);
            bed.secrets.revoke("TOKEN").unwrap();
            bed.guest.send(BINARY, own.as_bytes()).await;
            assert_eq!(bed.upstream.frames().await, [frame(BINARY, &own)], "no place for a secret");
            bed.guest.send_in(&[frame(TEXT, "one more"), frame(TEXT, &own)], usize::MAX).await;
            let said =
                "secret TOKEN was revoked; a new value brings it back: portcullis secrets rotate TOKEN";
            assert_eq!(bed.guest.frames().await, [closed(1008, said)]);
            // Where a frame was promised already nothing else can follow; nothing of it is there.
            let heard = bed.upstream.octets().await;
            let (frames, rest) = decoded(Speaker::Client, &heard);
            assert_eq!(frames[0], frame(TEXT, "one more"));
            assert!(frames[1..] == [closed(1001, "")] || (secret == EQUAL && rest < 10), "{frames:?}");
            assert!(bed.guest.is_over().await && bed.upstream.is_over().await);
            assert_eq!(denied(&bed), (http::StatusCode::FORBIDDEN, said.to_owned()));
            assert_eq!(bed.injections(), 1);
        });
    }
}

#[test]
fn the_messages_and_their_handshake_are_one_request_also_after_a_rotation() {
    run(async {
        // One in the handshake, two in messages.
        let mut bed = Plan { most: NonZeroU32::new(3), ..Plan::new(SHORT) }.start().await;
        let own = bed.placeholder.clone();
        bed.guest.send(TEXT, own.as_bytes()).await;
        let value = crate::secret::SecretValue::new("other-seas".into()).unwrap();
        bed.secrets.rotate("TOKEN", value, crate::secret::Hand::Owner, std::time::UNIX_EPOCH).unwrap();
        bed.guest.send_in(&fragments(TEXT, &["a ", &own[..7], &own[7..]]), 5).await;
        let heard = bed.upstream.frames().await;
        assert_eq!((&heard[0], &*whole(TEXT, &heard[1..])), (&frame(TEXT, SHORT), "a other-seas"));
        bed.guest.send(TEXT, own.as_bytes()).await;
        let said = "the request has the placeholder of secret TOKEN more often than max_per_request = 3";
        assert_eq!(bed.guest.frames().await, [closed(1008, said)]);
        assert_eq!(bed.upstream.frames().await, [closed(1001, "")]);
        assert_eq!(denied(&bed), (http::StatusCode::FORBIDDEN, said.to_owned()));
    });
}

#[test]
fn an_echo_split_over_fragments_comes_as_one_message_with_the_placeholder() {
    for secret in [SHORT, EQUAL] {
        run(async {
            let mut bed = Plan::new(secret).start().await;
            let (head, tail) = secret.split_at(6);
            for (opcode, size) in [(TEXT, 1), (BINARY, 3), (TEXT, usize::MAX)] {
                let mut frames = fragments(opcode, &["you are ", head, tail, " é", secret]);
                frames.insert(2, frame(PING, secret));
                bed.upstream.send_in(&frames, size).await;
                let mut heard = bed.guest.frames().await;
                let ping = heard.iter().position(|frame| frame.0 == PING).unwrap();
                assert_eq!(heard.remove(ping), frame(PING, &bed.placeholder));
                assert_eq!(whole(opcode, &heard), format!("you are {0} é{0}", bed.placeholder));
            }
            // In one frame it is one frame, whatever the pieces it comes in.
            bed.upstream.send_in(&[frame(TEXT, secret)], 1).await;
            assert_eq!(bed.guest.frames().await, [frame(TEXT, &bed.placeholder)]);
        });
    }
}

#[test]
fn a_message_that_ends_as_a_secret_begins_comes_at_once() {
    run(async {
        let mut bed = Plan::new(SHORT).start().await;
        for text in [&SHORT[..2], &SHORT[..9], "the same and seven"] {
            let since = Instant::now();
            bed.upstream.write(&encoded(Speaker::Server, &frame(TEXT, text))).await;
            let mut heard = vec![0; text.len() + 2];
            bed.guest.stream.read_exact(&mut heard).await.unwrap();
            assert_eq!(decoded(Speaker::Server, &heard).0, [frame(TEXT, text)]);
            assert_eq!(since.elapsed(), Duration::ZERO);
        }
    });
}

#[test]
fn sixteen_mebibytes_stream_both_ways() {
    for (secret, mebibytes) in [(SHORT, 16), (EQUAL, 4)] {
        run(async {
            let mut bed = Plan::new(secret).start().await;
            let filler = "0123456789abcdef".repeat(mebibytes << 16);
            let theirs = format!("{secret}{filler}{secret}");
            let ours = format!("{0}{filler}{0}", bed.placeholder);
            streams(&mut bed.upstream, &mut bed.guest, &theirs, &ours).await;
            streams(&mut bed.guest, &mut bed.upstream, &ours, &theirs).await;
        });
    }
}

/// Sends one frame of text, the first of which is heard long before the last is sent: a pipe holds 64 KiB.
async fn streams(from: &mut End, to: &mut End, sent: &str, expected: &str) {
    let octets = encoded(from.writes, &frame(TEXT, sent));
    let sending = Cell::new(true);
    let send = async {
        from.write(&octets).await;
        sending.set(false);
    };
    let hear = async {
        let mut heard = vec![0; 1 << 20];
        to.stream.read_exact(&mut heard).await.unwrap();
        assert!(sending.get());
        heard.extend(to.octets().await);
        heard
    };
    let ((), heard) = tokio::join!(send, hear);
    let (frames, rest) = decoded(to.hears(), &heard);
    assert_eq!(rest, 0);
    assert!(whole(TEXT, &frames) == *expected, "the messages differ");
}

#[test]
fn pings_pongs_and_close_codes_pass_and_nothing_after_a_close() {
    run(async {
        let mut bed = Plan::new(SHORT).start().await;
        bed.upstream.send(PING, b"1").await;
        assert_eq!(bed.guest.frames().await, [frame(PING, "1")]);
        bed.guest.send(PONG, b"1").await;
        assert_eq!(bed.upstream.frames().await, [frame(PONG, "1")]);
        let closing = [&4002_u16.to_be_bytes(), SHORT.as_bytes()].concat();
        bed.upstream.send_in(&[(CLOSE, true, closing), frame(TEXT, "too late")], usize::MAX).await;
        let closing = [&4002_u16.to_be_bytes(), bed.placeholder.as_bytes()].concat();
        assert_eq!(bed.guest.frames().await, [(CLOSE, true, closing)]);
        bed.guest.send(CLOSE, &1000_u16.to_be_bytes()).await;
        assert_eq!(bed.upstream.frames().await, [(CLOSE, true, 1000_u16.to_be_bytes().to_vec())]);
        drop(bed.upstream);
        assert!(bed.guest.is_over().await);
    });
}

#[test]
fn who_breaks_the_protocol_is_told_so_and_the_other_is_told_that_it_is_over() {
    let code = |number: u16| (CLOSE, true, number.to_be_bytes().to_vec());
    for broken in [&[0xc1, 0x80][..], &[0x83, 0x80], &[0x09, 0x80], &[0x80, 0x80, 0, 0, 0, 0], &[0x89, 0xfe]]
    {
        run(async {
            let mut bed = Plan::new(SHORT).start().await;
            bed.guest.write(&[&encoded(Speaker::Client, &frame(TEXT, "before")), broken].concat()).await;
            assert_eq!(bed.upstream.frames().await, [frame(TEXT, "before"), code(1001)]);
            assert_eq!(bed.guest.frames().await, [code(1002)]);
            assert!(bed.guest.is_over().await && bed.upstream.is_over().await);
            let mut bed = Plan::new(SHORT).start().await;
            let broken = [broken[0], broken[1] & 0x7f];
            bed.upstream
                .write(&[&encoded(Speaker::Server, &frame(TEXT, "before")), &broken[..]].concat())
                .await;
            assert_eq!(bed.guest.frames().await, [frame(TEXT, "before"), code(1014)]);
            assert_eq!(bed.upstream.frames().await, [code(1002)]);
            assert!(bed.guest.is_over().await && bed.upstream.is_over().await);
        });
    }
    run(async {
        // The guest's frame is half out: no other can follow it.
        let mut bed = Plan::new(EQUAL).start().await;
        bed.upstream.write(&encoded(Speaker::Server, &frame(BINARY, &"x".repeat(100_000)))[..80_000]).await;
        bed.guest.write(&[0x81, 0x00]).await;
        assert!(bed.guest.octets().await.ends_with(b"xxx"));
        assert_eq!(bed.upstream.frames().await, [code(1001)]);
        assert!(bed.guest.is_over().await && bed.upstream.is_over().await);
    });
}
