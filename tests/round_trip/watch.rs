//! The watch itself: a canary that gets out is noticed, or all the other tests prove nothing.

use std::io;
use std::panic::catch_unwind;
use std::task::{Context, Poll};

use base64::Engine as _;
use portcullis::link::{Frame, Link, Offload, memory};

use crate::canary::{End, over};
use crate::memory::{Canary, Plan, run};

#[test]
fn a_canary_is_noticed_in_one_piece_and_at_every_split() {
    let length = Canary::new().value().len();
    for split in 0..=length {
        let canary = Canary::new();
        let (head, tail) = canary.value().split_at(split);
        let mut scan = canary.scan("a stream");
        scan.push(b"before");
        scan.push(head.as_bytes());
        assert!(canary.sightings().is_empty() || split == length);
        scan.push(tail.as_bytes());
        assert!(!canary.sightings().is_empty(), "split at {split}");
    }
}

#[test]
fn a_canary_is_noticed_in_a_log_line_of_a_sandbox_and_of_no_one_else() {
    run(async {
        let canary = Canary::new();
        tracing::info!(value = canary.value(), "the test's own line");
        assert!(canary.sightings().is_empty());
        let value = canary.value().to_owned();
        let sandbox = std::thread::Builder::new().name("portcullis-like".into());
        sandbox.spawn(move || tracing::trace!(target: "another_crate", value)).unwrap().join().unwrap();
        assert!(!canary.caught().is_empty());
    });
}

#[test]
fn a_canary_is_noticed_in_its_encodings() {
    let canary = Canary::new();
    let shifted = format!("u:{}", canary.value());
    let coded = base64::engine::general_purpose::STANDARD.encode(shifted);
    let digits: String = canary.value().bytes().map(|octet| format!("{octet:02x}")).collect();
    for text in [coded, digits] {
        canary.check("a text", text.as_bytes());
        assert_eq!(canary.caught(), ["a text"]);
    }
}

/// A cable that tells the guest a secret: the last octets of each frame become that.
struct Leaking<L> {
    link: L,
    secret: Vec<u8>,
}

impl<L: Link> Link for Leaking<L> {
    fn offload(&self) -> Offload {
        self.link.offload()
    }

    fn mtu(&self) -> usize {
        self.link.mtu()
    }

    fn try_receive(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let length = self.link.try_receive(buf)?;
        buf[length..length + self.secret.len()].copy_from_slice(&self.secret);
        Ok(length + self.secret.len())
    }

    fn try_send(&mut self, frame: Frame<'_>) -> io::Result<()> {
        self.link.try_send(frame)
    }

    fn poll_receive_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.link.poll_receive_ready(cx)
    }

    fn poll_send_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.link.poll_send_ready(cx)
    }
}

#[test]
fn a_link_that_leaks_is_noticed_by_the_bed_and_fails_its_test() {
    run(async {
        let plan = Plan::new();
        let (ours, theirs) = memory::pair(64, 1500);
        let secret = plan.canary().into_bytes();
        let bed = plan.start_on(ours, Leaking { link: theirs, secret });
        // Whatever is in a frame: an answer of the gateway's to a question is one.
        bed.address("denied.example").await;
        let seen = bed.canary.caught();
        assert!(!seen.is_empty() && seen.iter().all(|place| place == "a frame"), "{seen:?}");
        bed.finish().await;
    });
    let failed = catch_unwind(|| {
        over(|| {
            let canary = Canary::of_test();
            let (mut ours, theirs) = memory::pair(1, 1500);
            let leaking = Leaking { link: theirs, secret: canary.value().into() };
            ours.try_send(Frame { bytes: b"a frame", partial: None }).unwrap();
            canary.watched(End::Guests, leaking).try_receive(&mut [0; 1500]).unwrap();
        });
    });
    let said = failed.unwrap_err().downcast::<String>().unwrap();
    assert!(said.contains("the secret was seen") && said.contains("a frame"), "{said}");
}

#[test]
fn what_a_sandbox_sends_is_looked_through_at_its_own_end_too() {
    let canary = Canary::new();
    let (ours, mut theirs) = memory::pair(1, 1500);
    let mut ours = canary.watched(End::Sandboxs, ours);
    ours.try_send(Frame { bytes: canary.value().as_bytes(), partial: None }).unwrap();
    assert_eq!(canary.caught(), ["a frame"]);
    theirs.try_receive(&mut [0; 1500]).unwrap();
    theirs.try_send(Frame { bytes: canary.value().as_bytes(), partial: None }).unwrap();
    ours.try_receive(&mut [0; 1500]).unwrap();
    assert!(canary.sightings().is_empty(), "what the guest says it knows");
}

#[test]
fn a_test_that_logs_its_own_canary_on_any_thread_fails() {
    let failed = catch_unwind(|| {
        over(|| tracing::debug!(value = Canary::of_test().value(), "a line of nobody in particular"));
    });
    let said = failed.unwrap_err().downcast::<String>().unwrap();
    assert!(said.contains("a line of nobody in particular"), "{said}");
}
