//! Frames that wait for the link, in order.
//!
//! Replies and segments are counted apart from datagrams: the former are bounded by not reading the guest, the
//! latter by being lost. Nothing here writes a frame or drops one it took.

use std::collections::VecDeque;

use super::buffers::Buffers;
use crate::limits::Limits;
use crate::link::{Frame, Partial};

/// The frames held.
#[derive(Debug)]
pub(super) struct Outbox {
    frames: VecDeque<Held>,
    /// How many of them are datagrams, and their octets.
    datagrams: usize,
    octets: usize,
    most_replies: usize,
    most_datagrams: usize,
    most_octets: usize,
    buffers: Buffers,
}

#[derive(Debug)]
struct Held {
    bytes: Vec<u8>,
    partial: Option<Partial>,
    origin: Origin,
}

/// What put a frame here.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Origin {
    /// A frame of the guest, or a flow.
    Reply,
    /// A handle that sends datagrams.
    Datagram,
}

impl Outbox {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            frames: VecDeque::new(),
            datagrams: 0,
            octets: 0,
            // What one turn reads may be answered frame by frame.
            most_replies: limits.frames_per_turn,
            most_datagrams: limits.egress_frames,
            most_octets: limits.egress_bytes,
            buffers: Buffers::new(limits.spare_datagrams),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Whether there is no room for the reply to another frame.
    pub(super) fn is_full(&self) -> bool {
        self.frames.len() - self.datagrams >= self.most_replies
    }

    /// Whether a datagram of so many frames and octets may be queued.
    pub(super) fn has_room(&self, frames: usize, octets: usize) -> bool {
        self.datagrams + frames <= self.most_datagrams && self.octets + octets <= self.most_octets
    }

    /// Holds a reply or a segment.
    pub(super) fn hold(&mut self, frame: Frame<'_>) {
        let mut bytes = self.buffers.take(frame.bytes.len());
        bytes.extend_from_slice(frame.bytes);
        self.frames.push_back(Held { bytes, partial: frame.partial, origin: Origin::Reply });
    }

    /// An empty buffer for a frame of `len` octets.
    pub(super) fn buffer(&mut self, len: usize) -> Vec<u8> {
        self.buffers.take(len)
    }

    /// Queues a frame of a datagram, whose room is the caller's to check.
    pub(super) fn push(&mut self, bytes: Vec<u8>) {
        self.datagrams += 1;
        self.octets += bytes.len();
        self.frames.push_back(Held { bytes, partial: None, origin: Origin::Datagram });
    }

    pub(super) fn front(&self) -> Option<Frame<'_>> {
        self.frames.front().map(|held| Frame { bytes: &held.bytes, partial: held.partial })
    }

    pub(super) fn pop(&mut self) {
        let Some(held) = self.frames.pop_front() else { return };
        if held.origin == Origin::Datagram {
            self.datagrams -= 1;
            self.octets -= held.bytes.len();
        }
        self.buffers.give(held.bytes);
    }
}
