//! DNS over a connection.

use std::time::Duration;

use tokio::io::DuplexStream;

use super::*;
use crate::name::HOST_ALIAS;

async fn send(stream: &mut DuplexStream, query: &[u8]) {
    stream.write_u16(u16::try_from(query.len()).unwrap()).await.unwrap();
    stream.write_all(query).await.unwrap();
}

async fn receive(stream: &mut DuplexStream) -> String {
    let mut answer = vec![0; usize::from(stream.read_u16().await.unwrap())];
    stream.read_exact(&mut answer).await.unwrap();
    summary(&Message::from_vec(&answer).unwrap())
}

#[tokio::test(start_paused = true)]
async fn questions_over_tcp_are_pipelined_and_an_idle_connection_ends() {
    let world = World::new(&[], |_| {});
    let (mut guest, ours) = tokio::io::duplex(64 << 10);
    let started = tokio::time::Instant::now();
    let client = async {
        send(&mut guest, &question(HOST_ALIAS, RecordType::A, None)).await;
        send(&mut guest, &question("evil.example", RecordType::TXT, None)).await;
        assert_eq!(receive(&mut guest).await, "NoError 172.16.0.1");
        assert_eq!(receive(&mut guest).await, "NXDomain");
        assert_eq!(guest.read(&mut [0]).await.unwrap(), 0);
    };
    let (served, ()) = tokio::join!(world.resolver.serve(ours), client);
    served.unwrap();
    assert_eq!(started.elapsed(), Limits::default().dns_tcp_idle);
}

#[tokio::test]
async fn a_message_that_has_no_answer_ends_its_connection() {
    let world = World::new(&[], |_| {});
    for message in [&[][..], &[0; 5], &[0x12, 0x34, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0]] {
        let (mut guest, ours) = tokio::io::duplex(64 << 10);
        send(&mut guest, message).await;
        world.resolver.serve(ours).await.unwrap();
        assert_eq!(guest.read(&mut [0]).await.unwrap(), 0);
    }
}

/// A question with an id of its own.
fn numbered(id: u16, name: &str) -> Vec<u8> {
    let mut query = question(name, RecordType::A, None);
    query[..2].copy_from_slice(&id.to_be_bytes());
    query
}

async fn receive_id(stream: &mut DuplexStream) -> u16 {
    let mut answer = vec![0; usize::from(stream.read_u16().await.unwrap())];
    stream.read_exact(&mut answer).await.unwrap();
    Message::from_vec(&answer).unwrap().metadata.id
}

#[tokio::test(start_paused = true)]
async fn a_slow_question_does_not_hold_up_the_next() {
    local(async {
        let silent = Nameserver::start(|_| Script::Silence).await;
        let world = World::new(&[&silent], |_| {});
        let (mut guest, ours) = tokio::io::duplex(64 << 10);
        let client = async {
            send(&mut guest, &numbered(1, "pypi.org")).await;
            send(&mut guest, &numbered(2, "evil.example")).await;
            send(&mut guest, &numbered(3, HOST_ALIAS)).await;
            let mut order = Vec::new();
            for _ in 0..3 {
                order.push(receive_id(&mut guest).await);
            }
            assert_eq!(order[2], 1, "{order:?}");
            drop(guest);
        };
        let (served, ()) = tokio::join!(world.resolver.serve(ours), client);
        served.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_connection_that_is_closed_for_writing_gets_all_its_answers() {
    local(async {
        let server =
            Nameserver::start(|_| Script::Answer(vec![address("pypi.org", 60, "151.101.0.223")])).await;
        let world = World::new(&[&server], |_| {});
        let (mut guest, ours) = tokio::io::duplex(64 << 10);
        let client = async {
            for id in 0..100 {
                send(&mut guest, &numbered(id, if id % 2 == 0 { "pypi.org" } else { "evil.example" })).await;
            }
            guest.shutdown().await.unwrap();
            let mut ids = Vec::new();
            for _ in 0..100 {
                ids.push(receive_id(&mut guest).await);
            }
            ids.sort_unstable();
            assert!(ids.into_iter().eq(0..100));
            assert_eq!(guest.read(&mut [0]).await.unwrap(), 0);
        };
        let (served, ()) = tokio::join!(world.resolver.serve(ours), client);
        served.unwrap();
    })
    .await;
}

#[tokio::test]
async fn questions_may_come_one_octet_at_a_time() {
    let world = World::new(&[], |_| {});
    let (mut guest, ours) = tokio::io::duplex(1);
    let client = async {
        for _ in 0..3 {
            let query = question("evil.example", RecordType::A, None);
            let length = u16::try_from(query.len()).unwrap().to_be_bytes();
            for octet in length.iter().chain(&query) {
                guest.write_all(&[*octet]).await.unwrap();
            }
            assert_eq!(receive(&mut guest).await, "NoError 198.18.0.1");
        }
        drop(guest);
    };
    let (served, ()) = tokio::join!(world.resolver.serve(ours), client);
    served.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_length_that_lies_ends_the_connection() {
    let (limits, world) = (Limits::default(), World::new(&[], |_| {}));
    // More than any question: at once. More than ever comes: when the connection has been idle, octets or not.
    for (length, waited) in [(u16::MAX, Duration::ZERO), (300, limits.dns_tcp_idle)] {
        let (mut guest, ours) = tokio::io::duplex(64 << 10);
        let started = tokio::time::Instant::now();
        let client = async {
            send(&mut guest, &question(HOST_ALIAS, RecordType::A, None)).await;
            assert_eq!(receive(&mut guest).await, "NoError 172.16.0.1");
            guest.write_u16(length).await.unwrap();
            for _ in 0..100 {
                let wrote = guest.write_all(&[0]).await;
                if wrote.is_err() {
                    break;
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        let served = async {
            world.resolver.serve(ours).await.unwrap();
            started.elapsed()
        };
        let (elapsed, ()) = tokio::join!(served, client);
        assert_eq!(elapsed, waited, "{length}");
    }
}

#[tokio::test(start_paused = true)]
async fn questions_in_flight_on_a_connection_are_bounded() {
    local(async {
        let silent = Nameserver::start(|_| Script::Silence).await;
        let world = World::new(&[&silent], |_| {});
        let pipelined = Limits::default().dns_pipelined;
        let (mut guest, ours) = tokio::io::duplex(64);
        let client = async {
            let mut sent = 0;
            loop {
                let query = question(&format!("n{sent}.cdn.example"), RecordType::A, None);
                let sending = send(&mut guest, &query);
                if tokio::time::timeout(Duration::from_millis(100), sending).await.is_err() {
                    break;
                }
                sent += 1;
            }
            assert!((pipelined..pipelined + 6).contains(&sent), "{sent}");
            assert_eq!(world.resolver.stats().messages, u64::try_from(pipelined).unwrap());
            drop(guest);
        };
        let (served, ()) = tokio::join!(world.resolver.serve(ours), client);
        served.unwrap_err();
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_guest_that_reads_nothing_is_let_go() {
    let world = World::new(&[], |_| {});
    let (mut guest, ours) = tokio::io::duplex(64);
    let client = async {
        let query = question("evil.example", RecordType::A, None);
        let length = u16::try_from(query.len()).unwrap().to_be_bytes();
        let message = [&length[..], &query].concat();
        while guest.write_all(&message).await.is_ok() {}
    };
    let (served, ()) = tokio::join!(world.resolver.serve(ours), client);
    assert!(served.is_err());
    assert!(world.resolver.stats().messages < 2_000, "{:?}", world.resolver.stats());
}

#[tokio::test(start_paused = true)]
async fn unfinished_questions_of_all_connections_together_are_bounded() {
    local(async {
        const GUESTS: usize = 400;
        let room = 64 << 10;
        let world = Rc::new(World::new(&[], |setup| {
            setup.limits = Arc::new(Limits { dns_stream_memory: room, ..Limits::default() });
        }));
        let mut guests = Vec::new();
        for _ in 0..GUESTS {
            let (mut guest, ours) = tokio::io::duplex(64 << 10);
            let world = Rc::clone(&world);
            tokio::task::spawn_local(async move { world.resolver.serve(ours).await });
            guest.write_u16(2_048).await.unwrap();
            guest.write_all(&[0; 2_000]).await.unwrap();
            guests.push(guest);
        }
        tokio::task::yield_now().await;
        let crowded = usize::try_from(world.resolver.stats().crowded).unwrap();
        assert!(world.resolver.streams.held() <= room, "{}", world.resolver.streams.held());
        assert!((GUESTS - room / 2_000..GUESTS).contains(&crowded), "{crowded}");
        // Who comes later has room once they have gone.
        drop(guests);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(world.resolver.streams.held(), 0);
        let (mut guest, ours) = tokio::io::duplex(64 << 10);
        let client = async {
            send(&mut guest, &question("evil.example", RecordType::A, None)).await;
            assert_eq!(receive(&mut guest).await, "NoError 198.18.0.1");
            drop(guest);
        };
        let (served, ()) = tokio::join!(world.resolver.serve(ours), client);
        served.unwrap();
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn answers_that_nobody_reads_are_bounded_for_all_connections_together() {
    local(async {
        let text = || RData::TXT(rdata::TXT::new(vec!["x".repeat(255); 40]));
        let server = Nameserver::start(move |_| {
            Script::OverTcp(vec![Record::from_rdata(wire("pypi.org"), 60, text())])
        })
        .await;
        let room = 128 << 10;
        let world = Rc::new(World::new(&[&server], |setup| {
            setup.limits = Arc::new(Limits { dns_stream_memory: room, ..Limits::default() });
        }));
        let mut guests = Vec::new();
        for _ in 0..100 {
            let (mut guest, ours) = tokio::io::duplex(64);
            let world = Rc::clone(&world);
            tokio::task::spawn_local(async move { world.resolver.serve(ours).await });
            send(&mut guest, &question("pypi.org", RecordType::TXT, None)).await;
            guests.push(guest);
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(world.resolver.streams.held() <= room, "{}", world.resolver.streams.held());
        assert!((80..100).contains(&world.resolver.stats().crowded), "{:?}", world.resolver.stats());
    })
    .await;
}

#[tokio::test]
async fn a_question_longer_than_any_ends_its_connection_at_once() {
    let (limits, world) = (Limits::default(), World::new(&[], |_| {}));
    let (mut guest, ours) = tokio::io::duplex(64 << 10);
    guest.write_u16(u16::try_from(limits.dns_query).unwrap() + 1).await.unwrap();
    world.resolver.serve(ours).await.unwrap();
    assert_eq!(guest.read(&mut [0]).await.unwrap(), 0);
}
