//! Single segments that no well-meaning stack sends, or only by chance: data on SYN, urgent data, ends that cross.

use std::io;
use std::time::Duration;

use portcullis::limits::Limits;
use portcullis::net::{Incoming, TcpStream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::bed::{kind, noise};
use super::run;
use super::wire::{ACK, Bed, FIN, RST, SYN, Tcp, URG, V4, V6, far, syn};

/// A guest's end by hand.
struct Peer {
    to: &'static str,
    at: Tcp,
}

impl Peer {
    async fn open(bed: &mut Bed, to: &'static str, (port, first): (u16, u32)) -> (Self, TcpStream) {
        bed.tcp(far(to), syn(port, first.wrapping_sub(1)), b"");
        let stream = bed.incoming().await.unwrap().accept();
        let answer = bed.answer().await.unwrap();
        assert_eq!((answer.flags, answer.acknowledgment), (SYN | ACK, first));
        let acknowledgment = answer.sequence.wrapping_add(1);
        let peer = Self { to, at: Tcp { port, sequence: first, acknowledgment, flags: ACK } };
        bed.tcp(far(to), peer.at, b"");
        (peer, stream)
    }

    fn send(&mut self, bed: &mut Bed, flags: u8, payload: &[u8]) {
        bed.tcp(far(self.to), Tcp { flags, ..self.at }, payload);
        let space = payload.len() as u32 + u32::from(flags & FIN != 0);
        self.at.sequence = self.at.sequence.wrapping_add(space);
    }

    /// Sends octets that belong `at` octets after what was sent so far.
    fn place(&self, bed: &mut Bed, at: u32, payload: &[u8]) {
        bed.tcp(far(self.to), Tcp { sequence: self.at.sequence.wrapping_add(at), ..self.at }, payload);
    }

    /// All answers that are there, the last one's numbers taken as seen.
    async fn answers(&mut self, bed: &mut Bed) -> Vec<Tcp> {
        let mut answers = Vec::new();
        while let Some((answer, payload)) = bed.reply().await {
            let space = payload.len() as u32 + u32::from(answer.flags & FIN != 0);
            self.at.acknowledgment = answer.sequence.wrapping_add(space);
            answers.push(answer);
        }
        answers
    }
}

#[test]
fn data_on_a_syn_is_left_to_be_sent_again() {
    for to in [V4, V6] {
        run(async {
            let mut bed = Bed::new(Limits::default());
            bed.tcp(far(to), syn(4_000, 99), b"early");
            let mut stream = bed.incoming().await.unwrap().accept();
            let answer = bed.answer().await.unwrap();
            assert_eq!((answer.flags, answer.acknowledgment), (SYN | ACK, 100));
            let acknowledgment = answer.sequence.wrapping_add(1);
            bed.tcp(far(to), Tcp { port: 4_000, sequence: 100, acknowledgment, flags: ACK }, b"early, again");
            let mut heard = [0; 12];
            stream.read_exact(&mut heard).await.unwrap();
            assert_eq!(&heard, b"early, again");
        });
    }
}

#[test]
fn syn_that_ends_what_it_begins_is_reset() {
    run(async {
        let mut bed = Bed::new(Limits::default());
        bed.tcp(far(V4), Tcp { flags: SYN | FIN, ..syn(4_000, 99) }, b"");
        let answer = bed.answer().await.unwrap();
        assert_eq!((answer.flags, answer.acknowledgment), (RST | ACK, 101));
        assert!(bed.incoming().await.is_none());
    });
}

#[test]
fn fin_with_data_gives_the_data_and_then_the_end() {
    for to in [V4, V6] {
        run(async {
            let mut bed = Bed::new(Limits::default());
            let (mut peer, mut stream) = Peer::open(&mut bed, to, (4_000, u32::MAX - 2)).await;
            peer.send(&mut bed, FIN | ACK, b"the last words");
            let mut heard = Vec::new();
            stream.read_to_end(&mut heard).await.unwrap();
            assert_eq!(heard, b"the last words");
            let acknowledged = peer.answers(&mut bed).await.pop().unwrap();
            assert_eq!((acknowledged.flags, acknowledged.acknowledgment), (ACK, peer.at.sequence));
            // And the other direction goes on.
            stream.write_all(b"indeed").await.unwrap();
            assert_eq!(bed.reply().await.unwrap().1, b"indeed");
        });
    }
}

#[test]
fn fin_that_overtakes_data_waits_for_it() {
    run(async {
        let mut bed = Bed::new(Limits::default());
        let (mut peer, mut stream) = Peer::open(&mut bed, V4, (4_000, 1_000)).await;
        let fin = Tcp { sequence: peer.at.sequence + 3, flags: FIN | ACK, ..peer.at };
        bed.tcp(far(V4), fin, b"def");
        let mut nothing = [0; 8];
        let early = stream.read(&mut nothing);
        assert!(tokio::time::timeout(Duration::from_millis(1), early).await.is_err());
        peer.send(&mut bed, ACK, b"abc");
        // Its FIN was not taken in, so it sends that again: first as it was, then as the answer asks for.
        bed.tcp(far(V4), fin, b"def");
        let asked = peer.answers(&mut bed).await.pop().unwrap();
        assert_eq!(asked.acknowledgment, fin.sequence + 3);
        bed.tcp(far(V4), Tcp { sequence: asked.acknowledgment, ..fin }, b"");
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, b"abcdef");
    });
}

#[test]
fn urgent_data_stays_in_its_place() {
    run(async {
        let mut bed = Bed::new(Limits::default());
        let (mut peer, mut stream) = Peer::open(&mut bed, V6, (4_000, 1_000)).await;
        peer.send(&mut bed, ACK, b"in");
        for urgent in [1, 3, u16::MAX] {
            let urgent_segment = Tcp { flags: ACK | URG, ..peer.at };
            bed.segment(far(V6), urgent_segment, (u16::MAX, urgent), b"!line");
            peer.at.sequence += 5;
        }
        let mut heard = [0; 17];
        stream.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"in!line!line!line");
    });
}

#[test]
fn simultaneous_close_ends_in_time_wait() {
    for to in [V4, V6] {
        run(async {
            let mut bed = Bed::new(Limits::default());
            let (mut peer, mut stream) = Peer::open(&mut bed, to, (4_000, 1_000)).await;
            stream.shutdown().await.unwrap();
            let fin = bed.answer().await.unwrap();
            assert_eq!(fin.flags, FIN | ACK);
            // Sent before ours was seen.
            peer.send(&mut bed, FIN | ACK, b"");
            let answer = bed.answer().await.unwrap();
            assert_eq!(answer.acknowledgment, peer.at.sequence);
            assert_eq!(bed.stats().tombstones, 0, "ours is not acknowledged");
            peer.at.acknowledgment = fin.sequence.wrapping_add(1);
            peer.send(&mut bed, ACK, b"");
            assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0);
            drop(stream);
            assert_eq!(bed.answer().await, None);
            assert_eq!((bed.stats().flows, bed.stats().tombstones), (0, 1));
        });
    }
}

#[test]
fn reset_races_a_fin_and_no_flow_is_left() {
    /// Who ends it, in order.
    #[derive(Clone, Copy, Debug)]
    enum End {
        GuestFin,
        OurFin,
        GuestReset,
        OurReset,
    }
    use End::{GuestFin, GuestReset, OurFin, OurReset};
    let orders = [
        [GuestFin, GuestReset, OurFin],
        [OurFin, GuestReset, GuestFin],
        [OurFin, GuestFin, GuestReset],
        [GuestFin, OurFin, GuestReset],
        [GuestFin, OurReset, GuestReset],
        [GuestReset, GuestFin, OurReset],
        [OurReset, GuestReset, GuestFin],
        [OurFin, OurReset, GuestFin],
        [GuestReset, GuestReset, GuestReset],
    ];
    for (to, order) in orders.into_iter().flat_map(|order| [(V4, order), (V6, order)]) {
        for same_turn in [true, false] {
            run(async {
                let mut bed = Bed::new(Limits { drain: Duration::from_secs(5), ..Limits::default() });
                let (mut peer, stream) = Peer::open(&mut bed, to, (4_000, u32::MAX)).await;
                let mut stream = Some(stream);
                for end in order {
                    match end {
                        GuestFin => peer.send(&mut bed, FIN | ACK, b"bye"),
                        GuestReset => peer.send(&mut bed, RST, b""),
                        OurFin => {
                            if let Some(stream) = &mut stream {
                                let _ = stream.write(b"x").await;
                                let _ = stream.shutdown().await;
                            }
                        }
                        OurReset => stream.take().into_iter().for_each(TcpStream::abort),
                    }
                    if !same_turn {
                        peer.answers(&mut bed).await;
                    }
                }
                drop(stream);
                tokio::time::sleep(Duration::from_secs(400)).await;
                assert_eq!(bed.stats().flows, 0, "{order:?}");
                bed.stats().flows_closed.checked_sub(1).unwrap();
            });
        }
    }
}

#[test]
fn segments_of_one_octet_make_one_stream() {
    run(async {
        let mut bed = Bed::new(Limits::default());
        let (mut peer, mut stream) = Peer::open(&mut bed, V4, (4_000, u32::MAX - 1_000)).await;
        let octets = noise(6_000, 3);
        let mut heard = Vec::new();
        for four in octets.chunks(4) {
            // The second of each four comes last, and the third twice.
            for at in [0, 2, 3, 2, 1] {
                peer.place(&mut bed, at as u32, &four[at..=at]);
            }
            peer.at.sequence = peer.at.sequence.wrapping_add(4);
            let mut piece = [0; 4];
            stream.read_exact(&mut piece).await.unwrap();
            heard.extend(piece);
            peer.answers(&mut bed).await;
        }
        assert!(heard == octets);
        assert!(bed.stats().ring_memory <= 6_100, "{}", bed.stats().ring_memory);
    });
}

#[test]
fn overlapping_segments_are_read_as_what_came_first() {
    for to in [V4, V6] {
        run(async {
            let mut bed = Bed::new(Limits::default());
            let (mut peer, mut stream) = Peer::open(&mut bed, to, (4_000, u32::MAX - 8)).await;
            peer.place(&mut bed, 10, b"first.example");
            peer.place(&mut bed, 8, b"??EVIL!.EXAMPLE????");
            peer.answers(&mut bed).await;
            peer.place(&mut bed, 4, b"t: 0th, or so, is the last");
            peer.place(&mut bed, 0, b"Host and more of it");
            let mut heard = [0; 30];
            stream.read_exact(&mut heard).await.unwrap();
            assert_eq!(&heard, b"Hostt: 0??first.example????ast");
            peer.at.sequence = peer.at.sequence.wrapping_add(30);
            // What was read is not read again, whatever it says now.
            bed.tcp(far(to), Tcp { sequence: peer.at.sequence.wrapping_sub(10), ..peer.at }, b"0123456789ab");
            let mut heard = [0; 2];
            stream.read_exact(&mut heard).await.unwrap();
            assert_eq!(&heard, b"ab");
        });
    }
}

#[test]
fn flood_of_syns_leaves_a_working_flow_alone() {
    run(async {
        let limits = Limits { half_open: 256, ..Limits::default() };
        let mut bed = Bed::new(limits);
        let (mut peer, mut stream) = Peer::open(&mut bed, V4, (900, 1_000)).await;
        let mut resets = 0;
        for port in 1_000..6_000 {
            bed.tcp(far(V4), syn(port, 7), b"");
            if port % 50 == 0 {
                peer.send(&mut bed, ACK, b"ping");
                stream.read_exact(&mut [0; 4]).await.unwrap();
                stream.write_all(b"pong").await.unwrap();
                let mut answered = false;
                while let Some((answer, payload)) = bed.reply().await {
                    if answer.port == 900 {
                        answered |= payload == b"pong";
                        peer.at.acknowledgment = answer.sequence.wrapping_add(payload.len() as u32);
                    } else {
                        assert_eq!(answer.flags, RST | ACK);
                        resets += 1;
                    }
                }
                assert!(answered);
            }
        }
        resets += bed.drain().await;
        let stats = bed.stats();
        assert_eq!((stats.half_open, stats.flows), (256, 257));
        assert_eq!((stats.refused_over_limit, resets), (4_744, 4_744));
        // Refused, they make room for others.
        while let Some(incoming) = bed.incoming().await {
            incoming.refuse();
            bed.drain().await;
        }
        assert_eq!((bed.stats().half_open, bed.stats().flows), (0, 1));
        bed.tcp(far(V4), syn(9_999, 7), b"");
        assert!(bed.incoming().await.is_some());
    });
}

#[test]
fn syns_that_are_accepted_but_never_finished_are_given_up() {
    run(async {
        let limits = Limits { flows: 40, drain: Duration::from_secs(30), ..Limits::default() };
        let mut bed = Bed::new(limits);
        let mut streams = Vec::new();
        for port in 1_000..1_060 {
            bed.tcp(far(V4), syn(port, 7), b"");
            streams.extend(bed.incoming().await.map(Incoming::accept));
            bed.drain().await;
        }
        assert_eq!((streams.len(), bed.stats().refused_over_limit), (40, 20));
        for _ in 0..60 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            bed.drain().await;
        }
        for mut stream in streams {
            assert_eq!(kind(stream.read(&mut [0]).await), io::ErrorKind::ConnectionReset);
        }
        assert_eq!((bed.stats().stalled, bed.stats().flows), (40, 0));
    });
}
