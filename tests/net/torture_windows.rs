//! A guest by hand that shrinks its window, lets its updates get lost, and takes what it likes of a segment.

use std::time::Duration;

use portcullis::limits::Limits;
use portcullis::net::{Config, TcpStream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::bed::noise;
use super::run;
use super::wire::{ACK, Bed, FIN, RST, SYN, Tcp, V4, V6, far, syn};

/// What the guest has received, and what it says of it.
struct Receiver {
    at: Tcp,
    octets: Vec<u8>,
    window: u16,
    rng: u64,
    ended: bool,
}

impl Receiver {
    async fn open(bed: &mut Bed, to: &str, seed: u64) -> (Self, TcpStream) {
        bed.tcp(far(to), syn(4_000, 99), b"");
        let stream = bed.incoming().await.unwrap().accept();
        let answer = bed.answer().await.unwrap();
        assert_eq!(answer.flags, SYN | ACK);
        let acknowledgment = answer.sequence.wrapping_add(1);
        let at = Tcp { port: 4_000, sequence: 100, acknowledgment, flags: ACK };
        let receiver = Self { at, octets: Vec::new(), window: 5_000, rng: seed, ended: false };
        receiver.tell(bed, to);
        (receiver, stream)
    }

    fn tell(&self, bed: &mut Bed, to: &str) {
        bed.segment(far(to), self.at, (self.window, 0), b"");
    }

    fn below(&mut self, n: u64) -> u64 {
        self.rng ^= self.rng << 13;
        self.rng ^= self.rng >> 7;
        self.rng ^= self.rng << 17;
        self.rng % n
    }

    /// Takes what is in order and in the window of a segment.
    fn take(&mut self, tcp: Tcp, payload: &[u8], sent: &[u8]) {
        assert_eq!(tcp.flags & RST, 0);
        if payload.is_empty() && tcp.flags & FIN == 0 {
            return;
        }
        let ahead = tcp.sequence.wrapping_sub(self.at.acknowledgment).cast_signed();
        let start = i64::try_from(self.octets.len()).unwrap() + i64::from(ahead);
        let start = usize::try_from(start).unwrap();
        // Whatever comes, and however often, it is what was written.
        assert_eq!(payload, &sent[start.min(sent.len())..][..payload.len()]);
        if ahead > 0 {
            return;
        }
        let skip = usize::try_from(-ahead).unwrap();
        let fresh = payload.get(skip..).unwrap_or_default();
        let taken = &fresh[..fresh.len().min(self.window.into())];
        self.octets.extend(taken);
        self.at.acknowledgment = self.at.acknowledgment.wrapping_add(taken.len() as u32);
        if taken.len() == fresh.len() && tcp.flags & FIN != 0 && !self.ended {
            self.ended = true;
            self.at.acknowledgment = self.at.acknowledgment.wrapping_add(1);
        }
    }
}

/// Has a guest receive with windows that come and go; `lost` of a hundred of its segments are.
async fn receive_all((to, seed): (&str, u64), lost: u64, octets: &[u8]) {
    let config = Config { seed, ..Config::for_slot(5) };
    let mut bed = Bed::of(config);
    let (mut guest, mut stream) = Receiver::open(&mut bed, to, seed | 1).await;
    stream.write_all(octets).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut silent = 0;
    while !guest.ended {
        let reply = bed.reply().await;
        if let Some((tcp, payload)) = reply {
            silent = 0;
            guest.take(tcp, &payload, octets);
            // Smaller than what it promised before, as often as not.
            guest.window = [0, 0, 1, 100, 700, 3_000, 20_000][guest.below(7) as usize];
        } else {
            tokio::time::sleep(Duration::from_secs(1)).await;
            silent += 1;
            assert!(silent < 600, "nothing for ten minutes after {} octets", guest.octets.len());
            if guest.window > 0 || guest.below(5) > 0 {
                continue;
            }
            // Said once, and never again.
            guest.window = 1 + guest.below(5_000) as u16;
        }
        if guest.below(100) >= lost {
            guest.tell(&mut bed, to);
        }
    }
    assert!(guest.octets == octets);
}

#[test]
fn window_that_shrinks_loses_nothing() {
    for (to, seed) in [(V4, 1), (V6, 2), (V4, 3), (V6, 4)] {
        run(receive_all((to, seed), 0, &noise(60_000, seed)));
    }
}

#[test]
fn window_that_shrinks_and_opens_unheard_is_probed() {
    for (to, seed) in [(V4, 11), (V6, 12), (V4, 13), (V6, 14), (V4, 15), (V6, 16)] {
        run(receive_all((to, seed), 40, &noise(30_000, seed)));
    }
}

/// The least case: all is in flight, the window closes over it, and its opening is not heard.
#[test]
fn window_closed_over_what_is_in_flight_is_probed() {
    for to in [V4, V6] {
        run(async {
            let mut bed = Bed::new(Limits::default());
            let (mut guest, mut stream) = Receiver::open(&mut bed, to, 1).await;
            stream.write_all(b"in flight").await.unwrap();
            let (_, payload) = bed.reply().await.unwrap();
            assert_eq!(payload, b"in flight");
            // None of it is taken, and there is no room for it.
            guest.window = 0;
            guest.tell(&mut bed, to);
            guest.window = 100;
            for _ in 0..200 {
                tokio::time::sleep(Duration::from_secs(1)).await;
                if let Some((tcp, payload)) = bed.reply().await {
                    guest.take(tcp, &payload, b"in flight");
                    guest.tell(&mut bed, to);
                }
            }
            assert_eq!(guest.octets, b"in flight");
        });
    }
}

/// A guest that ended its side first: its window opens with segments that acknowledge nothing new.
#[test]
fn closed_window_opens_without_a_timer_after_the_guests_fin() {
    for to in [V4, V6] {
        run(async {
            let mut bed = super::bed::Bed::new();
            let (mut theirs, mut ours) = bed.connected(to).await;
            theirs.shutdown().await.unwrap();
            assert_eq!(ours.read(&mut [0; 8]).await.unwrap(), 0);
            let answer = noise(900_000, 5);
            ours.write_all(&answer).await.unwrap();
            ours.shutdown().await.unwrap();
            drop(ours);
            // Long enough for the guest's ring to be full.
            tokio::time::sleep(Duration::from_millis(500)).await;
            let before = tokio::time::Instant::now();
            let mut received = Vec::new();
            theirs.read_to_end(&mut received).await.unwrap();
            assert!(received == answer);
            assert!(before.elapsed() < Duration::from_millis(50), "{:?}", before.elapsed());
        });
    }
}
