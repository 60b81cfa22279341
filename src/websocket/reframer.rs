//! The frames of one direction, with their messages changed.
//!
//! It neither reads nor writes a socket. A frame goes on as one frame wherever that is possible: at once where its
//! length is known beforehand (an unchanged message; the last frame of one whose change keeps lengths), otherwise
//! when it is all there, up to a bound; a longer one goes on in fragments as it comes. Of a message only the
//! beginning of a match waits, and nothing beyond its end. Invariant: message boundaries, opcodes and the place of
//! control frames between frames are kept.

use std::rc::Rc;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use zeroize::{Zeroize as _, Zeroizing};

use super::error::FrameError;
use super::head::{CONTROL, Fin, Head, Opcode, Speaker};
use super::reader::{Item, Reader};
use super::writer::Writer;
use crate::secret::{InjectError, ScrubStream, Scrubber, TextSecrets, TextStream};

/// What is done to the messages of one direction.
#[derive(Clone)]
pub enum Change {
    /// Nothing.
    Nothing,
    /// Secrets become placeholders, in text, binary and control frames.
    Scrub(Arc<Scrubber>),
    /// Placeholders become secrets, in text.
    Inject(Rc<TextSecrets>),
}

impl Change {
    fn begin(&self, opcode: Opcode) -> Stream {
        match (self, opcode) {
            (Self::Scrub(scrubber), _) => {
                Stream::Scrub { stream: Box::new(scrubber.body()), keeps_length: scrubber.keeps_length() }
            }
            (Self::Inject(secrets), Opcode::Text) => Stream::Inject(TextStream::new(Rc::clone(secrets))),
            (Self::Nothing | Self::Inject(_), _) => Stream::Same,
        }
    }
}

/// What comes out.
#[derive(Default)]
pub struct Output {
    /// Frames, or the next part of one; wiped when dropped.
    pub octets: Zeroizing<Vec<u8>>,
    /// The names of the secrets in it, each once a message.
    pub injected: Vec<String>,
}

/// Takes the frames of one direction and gives those that go on.
pub struct Reframer {
    reader: Reader,
    writer: Writer,
    change: Change,
    /// Octets of a frame that are collected at most.
    collected: usize,
    message: Option<Message>,
    frame: Option<Frame>,
    /// What is settled of the frame under way and not written.
    pending: Zeroizing<Vec<u8>>,
}

/// A message under way.
struct Message {
    opcode: Opcode,
    /// Whether a fragment of it was written.
    begun: bool,
    stream: Stream,
}

/// A frame under way.
#[derive(Clone, Copy)]
struct Frame {
    opcode: Opcode,
    fin: Fin,
    way: Way,
}

/// How a frame is written.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Way {
    /// As it comes; its head is out.
    Open,
    /// When it is all there.
    Collected,
    /// In fragments, as it comes.
    Pieces,
}

/// A message on its way through its change.
enum Stream {
    Same,
    Scrub { stream: Box<ScrubStream>, keeps_length: bool },
    Inject(TextStream),
}

impl Reframer {
    /// Frames by `speaker`, written on as if by the same, of which up to `collected` octets are kept to be one frame
    /// again.
    #[must_use]
    pub fn new(speaker: Speaker, change: Change, collected: usize) -> Self {
        Self {
            reader: Reader::new(speaker),
            writer: Writer::new(speaker),
            change,
            collected,
            message: None,
            frame: None,
            pending: Zeroizing::default(),
        }
    }

    /// From the next message on, `change` is what is done.
    pub fn change_to(&mut self, change: Change) {
        self.change = change;
    }

    /// Whether the frames written so far are whole, and none of them is a close frame.
    #[must_use]
    pub fn is_between_frames(&self) -> bool {
        self.writer.is_between_frames()
    }

    /// Takes the next octets; on an error `out` has what came before it.
    pub fn push(&mut self, mut chunk: BytesMut, out: &mut Output) -> Result<(), FrameError> {
        while let Some(item) = self.reader.next(&mut chunk)? {
            match item {
                Item::Head(head) => self.begin(&head, out)?,
                Item::Payload(octets) => self.payload(octets, out)?,
                Item::End => self.end(out)?,
            }
        }
        match self.frame {
            Some(Frame { way: Way::Pieces, .. }) => self.fragment(Fin::More, out),
            Some(_) | None => Ok(()),
        }
    }

    fn begin(&mut self, head: &Head, out: &mut Output) -> Result<(), FrameError> {
        let way = if head.opcode.is_control() { Way::Collected } else { self.begin_data(head, out)? };
        self.frame = Some(Frame { opcode: head.opcode, fin: head.fin, way });
        Ok(())
    }

    fn begin_data(&mut self, head: &Head, out: &mut Output) -> Result<Way, FrameError> {
        let change = &self.change;
        let message = self.message.get_or_insert_with(|| {
            let stream = change.begin(head.opcode);
            Message { opcode: head.opcode, begun: false, stream }
        });
        match message.stream.length_of(head) {
            // Of no use but to end the message.
            Some(0) if head.fin == Fin::More => Ok(Way::Collected),
            Some(length) => {
                self.writer.begin(message.next_opcode(), head.fin, length, &mut out.octets)?;
                Ok(Way::Open)
            }
            None if usize::try_from(head.length).is_ok_and(|length| length <= self.collected) => {
                Ok(Way::Collected)
            }
            None => Ok(Way::Pieces),
        }
    }

    fn payload(&mut self, octets: BytesMut, out: &mut Output) -> Result<(), FrameError> {
        let (Some(frame), false) = (self.frame, self.is_control()) else {
            self.pending.extend_from_slice(&octets);
            return Ok(());
        };
        let Some(message) = &mut self.message else { return Err(FrameError::Promise) };
        let settled = message.stream.push(octets.freeze(), &mut out.injected)?;
        self.settle(frame.way, settled, out)
    }

    fn end(&mut self, out: &mut Output) -> Result<(), FrameError> {
        let Some(frame) = self.frame.take() else { return Err(FrameError::Promise) };
        if frame.opcode.is_control() {
            return self.control(frame.opcode, out);
        }
        if frame.fin == Fin::Last {
            let Some(message) = &mut self.message else { return Err(FrameError::Promise) };
            let rest = message.stream.finish();
            self.settle(frame.way, rest, out)?;
        }
        match frame.way {
            Way::Open => self.writer.end()?,
            Way::Collected | Way::Pieces => self.fragment(frame.fin, out)?,
        }
        if frame.fin == Fin::Last {
            self.message = None;
        }
        Ok(())
    }

    fn is_control(&self) -> bool {
        self.frame.is_some_and(|frame| frame.opcode.is_control())
    }

    /// Takes what no later octet can change.
    fn settle(&mut self, way: Way, settled: Bytes, out: &mut Output) -> Result<(), FrameError> {
        match way {
            Way::Open => self.writer.payload(&settled, &mut out.octets)?,
            Way::Collected | Way::Pieces => self.pending.extend_from_slice(&settled),
        }
        self.wipe(settled);
        Ok(())
    }

    /// What was copied may hold a secret.
    fn wipe(&self, settled: Bytes) {
        let is_injected =
            self.message.as_ref().is_some_and(|message| matches!(message.stream, Stream::Inject(_)));
        if is_injected && let Ok(mut own) = settled.try_into_mut() {
            own.zeroize();
        }
    }

    /// Writes what is pending, if it is anything or ends the message.
    fn fragment(&mut self, fin: Fin, out: &mut Output) -> Result<(), FrameError> {
        if self.pending.is_empty() && fin == Fin::More {
            return Ok(());
        }
        let Some(message) = &mut self.message else { return Err(FrameError::Promise) };
        self.writer.frame(message.next_opcode(), fin, &self.pending, &mut out.octets)?;
        self.pending.zeroize();
        Ok(())
    }

    fn control(&mut self, opcode: Opcode, out: &mut Output) -> Result<(), FrameError> {
        let scrubbed = match &self.change {
            Change::Scrub(scrubber) => scrubber.text(&self.pending),
            Change::Nothing | Change::Inject(_) => None,
        };
        let payload = scrubbed.as_deref().map_or(self.pending.as_slice(), cut);
        self.writer.frame(opcode, Fin::Last, payload, &mut out.octets)?;
        self.pending.clear();
        Ok(())
    }
}

impl Message {
    /// The opcode of the fragment that is about to be written.
    fn next_opcode(&mut self) -> Opcode {
        if std::mem::replace(&mut self.begun, true) { Opcode::Continuation } else { self.opcode }
    }
}

impl Stream {
    /// How long the frame will be that this one becomes, where that is certain.
    fn length_of(&self, head: &Head) -> Option<u64> {
        let held = match self {
            Self::Same => return Some(head.length),
            Self::Scrub { stream, keeps_length: true } => stream.held(),
            Self::Inject(stream) if stream.keeps_length() => stream.held(),
            Self::Scrub { .. } | Self::Inject(_) => return None,
        };
        match head.fin {
            // What waits is let go at the end of the message.
            Fin::Last => head.length.checked_add(held as u64).filter(|length| *length < 1 << 63),
            Fin::More => None,
        }
    }

    fn push(&mut self, octets: Bytes, injected: &mut Vec<String>) -> Result<Bytes, InjectError> {
        match self {
            Self::Same => Ok(octets),
            Self::Scrub { stream, .. } => Ok(stream.push(octets)),
            Self::Inject(stream) => stream.push(octets, injected),
        }
    }

    fn finish(&mut self) -> Bytes {
        match self {
            Self::Same => Bytes::new(),
            Self::Scrub { stream, .. } => stream.finish(),
            Self::Inject(stream) => stream.finish(),
        }
    }
}

/// As much of a text as a control frame holds, without half a character.
pub(super) fn cut(text: &[u8]) -> &[u8] {
    let Some((kept, [next, ..])) = text.split_at_checked(CONTROL) else { return text };
    let is_inside = |octet: &u8| octet & 0xc0 == 0x80;
    if !is_inside(next) {
        return kept;
    }
    let start = kept.iter().rposition(|octet| !is_inside(octet)).unwrap_or(CONTROL);
    kept.get(..start).unwrap_or(kept)
}
