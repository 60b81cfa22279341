//! Frames out of octets, and what is left of a frame half sent; without any socket.
//!
//! Invariant: a length that no frame has is an error before any octet behind it is read as a frame.
#![warn(clippy::indexing_slicing)]

use std::io;

use crate::link::FRAME;

/// Octets of a frame's length.
const HEADER: usize = 4;
/// Octets read at once: many frames of an MTU of 1500, and some of the longest.
const INBOX: usize = 4 * (FRAME + HEADER);

/// The length that goes before a frame.
///
/// # Errors
/// The frame is empty, or longer than any.
pub(super) fn header(frame: &[u8]) -> io::Result<[u8; HEADER]> {
    match u32::try_from(frame.len()) {
        Ok(length @ 1..) if frame.len() <= FRAME => Ok(length.to_be_bytes()),
        Ok(_) | Err(_) => Err(io::ErrorKind::InvalidInput.into()),
    }
}

/// What was read and not yet taken.
#[derive(Debug)]
pub(super) struct Inbox {
    octets: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Inbox {
    pub(super) fn new() -> Self {
        Self { octets: vec![0; INBOX].into_boxed_slice(), start: 0, end: 0 }
    }

    /// Copies the next frame into `buf`, cut to its length, if it is whole.
    ///
    /// # Errors
    /// `InvalidData` for a length that no frame has: where the next would begin cannot be known.
    pub(super) fn take(&mut self, buf: &mut [u8]) -> io::Result<Option<usize>> {
        let Some(frame) = self.next()? else { return Ok(None) };
        let len = frame.len().min(buf.len());
        if let (Some(to), Some(from)) = (buf.get_mut(..len), frame.get(..len)) {
            to.copy_from_slice(from);
        }
        self.start += HEADER + frame.len();
        Ok(Some(len))
    }

    /// Whether [`Inbox::take`] has something to say.
    pub(super) fn is_ready(&self) -> bool {
        !matches!(self.next(), Ok(None))
    }

    fn next(&self) -> io::Result<Option<&[u8]>> {
        let waiting = self.octets.get(self.start..self.end).unwrap_or_default();
        let Some((header, rest)) = waiting.split_first_chunk::<HEADER>() else { return Ok(None) };
        let length = u32::from_be_bytes(*header);
        match usize::try_from(length) {
            Ok(length @ 1..=FRAME) => Ok(rest.get(..length)),
            Ok(_) | Err(_) => {
                let why = format!("a frame of {length} octets; there are frames of 1 to {FRAME}");
                Err(io::Error::new(io::ErrorKind::InvalidData, why))
            }
        }
    }

    /// Where to read to; never empty once [`Inbox::take`] has found no whole frame.
    pub(super) fn room(&mut self) -> &mut [u8] {
        self.octets.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        self.octets.get_mut(self.end..).unwrap_or_default()
    }

    /// So many octets were read.
    pub(super) fn filled(&mut self, len: usize) {
        self.end = (self.end + len).min(self.octets.len());
    }
}

/// What is left to send of the last frame.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    octets: Vec<u8>,
    sent: usize,
}

impl Outbox {
    /// Keeps what is left of a frame and its header after `written` octets of them went out.
    pub(super) fn keep(&mut self, header: &[u8], frame: &[u8], written: usize) {
        self.octets.extend_from_slice(header.get(written..).unwrap_or_default());
        let written = written.saturating_sub(header.len());
        self.octets.extend_from_slice(frame.get(written..).unwrap_or_default());
    }

    pub(super) fn left(&self) -> &[u8] {
        self.octets.get(self.sent..).unwrap_or_default()
    }

    /// So many octets went out.
    pub(super) fn advance(&mut self, written: usize) {
        self.sent += written;
        if self.left().is_empty() {
            self.octets.clear();
            self.sent = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(frames: &[&[u8]]) -> Vec<u8> {
        frames.iter().flat_map(|frame| [&header(frame).unwrap()[..], frame].concat()).collect()
    }

    /// Everything that can be taken now.
    fn drain(inbox: &mut Inbox) -> io::Result<Vec<Vec<u8>>> {
        let (mut taken, mut buf) = (Vec::new(), vec![0; FRAME]);
        while let Some(len) = inbox.take(&mut buf)? {
            taken.push(buf[..len].to_vec());
        }
        Ok(taken)
    }

    fn feed(inbox: &mut Inbox, octets: &[u8]) {
        inbox.room()[..octets.len()].copy_from_slice(octets);
        inbox.filled(octets.len());
    }

    #[test]
    fn frames_come_out_whole_wherever_the_octets_are_split() {
        let octets = framed(&[b"first", b"2", b"the third"]);
        for first in 0..=octets.len() {
            for second in first..=octets.len() {
                let (mut inbox, mut taken) = (Inbox::new(), Vec::new());
                for part in [&octets[..first], &octets[first..second], &octets[second..]] {
                    feed(&mut inbox, part);
                    taken.extend(drain(&mut inbox).unwrap());
                }
                assert_eq!(taken, [&b"first"[..], b"2", b"the third"], "{first} {second}");
                assert!(!inbox.is_ready());
            }
        }
    }

    #[test]
    fn the_longest_frames_always_find_room() {
        let long = vec![7; FRAME];
        let octets = framed(&[&long, &long, &long]);
        let (mut inbox, mut left, mut count) = (Inbox::new(), &octets[..], 0);
        while !left.is_empty() {
            let (part, rest) = left.split_at(left.len().min(inbox.room().len()).min(50_000));
            feed(&mut inbox, part);
            left = rest;
            for frame in drain(&mut inbox).unwrap() {
                assert_eq!(frame, long);
                count += 1;
            }
            assert!(!inbox.room().is_empty());
        }
        assert_eq!(count, 3);
    }

    #[test]
    fn a_length_that_no_frame_has_is_an_error_at_every_split() {
        for length in [0, FRAME as u32 + 1, u32::MAX] {
            let octets = [&framed(&[b"good"])[..], &length.to_be_bytes()].concat();
            for split in 0..octets.len() {
                let mut inbox = Inbox::new();
                feed(&mut inbox, &octets[..split]);
                let mut taken = drain(&mut inbox).unwrap();
                feed(&mut inbox, &octets[split..]);
                assert!(inbox.is_ready());
                let mut buf = [0; 16];
                let error = loop {
                    match inbox.take(&mut buf) {
                        Ok(len) => taken.push(buf[..len.unwrap()].to_vec()),
                        Err(error) => break error,
                    }
                };
                assert_eq!(taken, [b"good"]);
                assert!(error.to_string().contains(&format!("a frame of {length} octets")), "{error}");
            }
        }
    }

    #[test]
    fn what_is_left_of_a_frame_is_what_did_not_go_out() {
        let whole = framed(&[b"payload"]);
        for written in 0..=whole.len() {
            for step in 1..=whole.len() {
                let mut outbox = Outbox::default();
                outbox.keep(&header(b"payload").unwrap(), b"payload", written);
                let mut sent = whole[..written].to_vec();
                while !outbox.left().is_empty() {
                    let part = outbox.left()[..step.min(outbox.left().len())].to_vec();
                    outbox.advance(part.len());
                    sent.extend(part);
                }
                assert_eq!(sent, whole, "{written} {step}");
            }
        }
    }

    #[test]
    fn a_frame_that_could_not_be_read_back_is_not_sent() {
        assert!(header(b"").is_err() && header(&vec![0; FRAME + 1]).is_err());
        assert_eq!(header(&vec![0; FRAME]).unwrap(), [0, 1, 0, 17]);
    }
}
