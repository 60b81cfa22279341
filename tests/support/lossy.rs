//! A link that loses, doubles and reorders frames, by a seeded coin.

use std::collections::VecDeque;
use std::io;
use std::task::{Context, Poll};

use portcullis::link::{Frame, Link, Offload};

/// How bad the cable is, each in frames of a thousand and in each direction.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Faults {
    /// Frames that vanish.
    pub(crate) lost: u64,
    /// Frames that come twice.
    pub(crate) doubled: u64,
    /// Frames that come after the next one.
    pub(crate) late: u64,
}

/// A link with faults on both ways.
pub(crate) struct Lossy<L> {
    link: L,
    faults: Faults,
    rng: u64,
    /// A frame to send, or to receive, after the next one.
    late_out: Option<Vec<u8>>,
    late_in: Option<Vec<u8>>,
    again: VecDeque<Vec<u8>>,
}

impl<L> Lossy<L> {
    pub(crate) fn new(link: L, faults: Faults, seed: u64) -> Self {
        Self { link, faults, rng: seed, late_out: None, late_in: None, again: VecDeque::new() }
    }

    fn falls(&mut self, in_a_thousand: u64) -> bool {
        self.rng ^= self.rng << 13;
        self.rng ^= self.rng >> 7;
        self.rng ^= self.rng << 17;
        self.rng % 1_000 < in_a_thousand
    }
}

impl<L: Link> Link for Lossy<L> {
    fn offload(&self) -> Offload {
        self.link.offload()
    }

    fn mtu(&self) -> usize {
        self.link.mtu()
    }

    fn try_receive(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(frame) = self.again.pop_front() {
                buf[..frame.len()].copy_from_slice(&frame);
                return Ok(frame.len());
            }
            let len = match self.link.try_receive(buf) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock && self.late_in.is_some() => {
                    self.again.extend(self.late_in.take());
                    continue;
                }
                received => received?,
            };
            if self.falls(self.faults.lost) {
                continue;
            }
            if self.falls(self.faults.doubled) {
                self.again.push_back(buf[..len].to_vec());
            }
            if self.late_in.is_none() && self.falls(self.faults.late) {
                self.late_in = Some(buf[..len].to_vec());
                continue;
            }
            self.again.extend(self.late_in.take());
            return Ok(len);
        }
    }

    fn try_send(&mut self, frame: Frame<'_>) -> io::Result<()> {
        let Frame { bytes, partial } = frame;
        if self.falls(self.faults.lost) {
            return Ok(());
        }
        if self.late_out.is_none() && self.falls(self.faults.late) {
            self.late_out = Some(bytes.to_vec());
            return Ok(());
        }
        self.link.try_send(frame)?;
        if self.falls(self.faults.doubled) {
            let _ = self.link.try_send(frame);
        }
        if let Some(late) = self.late_out.take() {
            let _ = self.link.try_send(Frame { bytes: &late, partial });
        }
        Ok(())
    }

    fn poll_receive_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.again.is_empty() || self.late_in.is_some() {
            return Poll::Ready(Ok(()));
        }
        self.link.poll_receive_ready(cx)
    }

    fn poll_send_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.link.poll_send_ready(cx)
    }
}
