//! What stands before a frame's payload ([RFC 6455 §5.2]).
//!
//! It looks at one frame alone; what may follow what is [`super::reader`]'s. Invariant: there is one way to write
//! a head, and no other is read.
//!
//! [RFC 6455 §5.2]: https://www.rfc-editor.org/rfc/rfc6455#section-5.2

use super::error::FrameError;
use super::mask::Mask;

/// Who writes the frames of a stream, which decides whether they are masked (RFC 6455 §5.1).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Speaker {
    /// All its frames are masked.
    Client,
    /// None of its frames is.
    Server,
}

/// What a frame is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Opcode {
    Continuation,
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

impl Opcode {
    fn parse(number: u8) -> Result<Self, FrameError> {
        Ok(match number {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            _ => return Err(FrameError::Opcode(number)),
        })
    }

    fn number(self) -> u8 {
        match self {
            Self::Continuation => 0,
            Self::Text => 1,
            Self::Binary => 2,
            Self::Close => 8,
            Self::Ping => 9,
            Self::Pong => 10,
        }
    }

    pub(super) fn is_control(self) -> bool {
        match self {
            Self::Close | Self::Ping | Self::Pong => true,
            Self::Continuation | Self::Text | Self::Binary => false,
        }
    }
}

/// Whether a frame is the last of its message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Fin {
    Last,
    More,
}

/// The head of a frame.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Head {
    pub(super) opcode: Opcode,
    pub(super) fin: Fin,
    /// Octets of the payload, below 2^63.
    pub(super) length: u64,
    pub(super) mask: Option<Mask>,
}

/// Most octets of a head.
pub(super) const LONGEST: usize = 14;
/// Most octets in a control frame (RFC 6455 §5.5).
pub(super) const CONTROL: usize = 125;

const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
const OPCODE: u8 = 0x0f;
const MASKED: u8 = 0x80;
const LENGTH: u8 = 0x7f;
/// Lengths from here on are written in two octets more.
const TWO_OCTETS: u64 = 126;
/// Lengths from here on are written in eight octets more.
const EIGHT_OCTETS: u64 = 1 << 16;
/// No length is as large.
const TOO_LONG: u64 = 1 << 63;

impl Head {
    /// Reads a head by `speaker` that is all of `octets`; none where octets are still missing.
    ///
    /// What is wrong is said at the first octet that shows it.
    pub(super) fn parse(octets: &[u8], speaker: Speaker) -> Result<Option<Self>, FrameError> {
        let Some((first, rest)) = octets.split_first() else { return Ok(None) };
        if first & RESERVED != 0 {
            return Err(FrameError::Reserved);
        }
        let opcode = Opcode::parse(first & OPCODE)?;
        let fin = if first & FIN == 0 { Fin::More } else { Fin::Last };
        if opcode.is_control() && fin == Fin::More {
            return Err(FrameError::FragmentedControl);
        }
        let Some((second, rest)) = rest.split_first() else { return Ok(None) };
        match (speaker, second & MASKED) {
            (Speaker::Client, 0) => return Err(FrameError::Unmasked),
            (Speaker::Server, MASKED) => return Err(FrameError::Masked),
            (Speaker::Client | Speaker::Server, _) => {}
        }
        if opcode.is_control() && usize::from(second & LENGTH) > CONTROL {
            return Err(FrameError::LongControl);
        }
        let Some((length, rest)) = length(second & LENGTH, rest)? else { return Ok(None) };
        let mask = match speaker {
            Speaker::Server => None,
            Speaker::Client => match rest.first_chunk() {
                Some(key) => Some(Mask::new(*key)),
                None => return Ok(None),
            },
        };
        Ok(Some(Self { opcode, fin, length, mask }))
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let fin = match self.fin {
            Fin::Last => FIN,
            Fin::More => 0,
        };
        out.push(fin | self.opcode.number());
        let masked = if self.mask.is_some() { MASKED } else { 0 };
        match (u8::try_from(self.length), u16::try_from(self.length)) {
            (Ok(length), _) if self.length < TWO_OCTETS => out.push(masked | length),
            (_, Ok(length)) => {
                out.push(masked | 126);
                out.extend(length.to_be_bytes());
            }
            (_, Err(_)) => {
                out.push(masked | 127);
                out.extend(self.length.to_be_bytes());
            }
        }
        if let Some(mask) = &self.mask {
            out.extend(mask.key());
        }
    }
}

/// The length, and what stands behind it.
fn length(short: u8, rest: &[u8]) -> Result<Option<(u64, &[u8])>, FrameError> {
    let (length, rest, least) = match short {
        126 => match rest.split_first_chunk() {
            Some((long, rest)) => (u64::from(u16::from_be_bytes(*long)), rest, TWO_OCTETS),
            None => return Ok(None),
        },
        127 => match rest.split_first_chunk() {
            Some((long, rest)) => (u64::from_be_bytes(*long), rest, EIGHT_OCTETS),
            None => return Ok(None),
        },
        short => (u64::from(short), rest, 0),
    };
    if length < least || length >= TOO_LONG {
        return Err(FrameError::Length);
    }
    Ok(Some((length, rest)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(octets: &[u8], speaker: Speaker) -> Result<Head, FrameError> {
        for end in 0..octets.len() {
            match Head::parse(&octets[..end], speaker) {
                Ok(None) => {}
                Ok(Some(head)) => panic!("{head:?} of {end} octets"),
                Err(error) => return Err(error),
            }
        }
        Ok(Head::parse(octets, speaker)?.unwrap())
    }

    #[test]
    fn every_length_is_read_as_it_is_written_and_in_no_other_way() {
        for (length, octets) in
            [(0, 2), (125, 2), (126, 4), (65_535, 4), (65_536, 10), (1 << 40, 10), ((1 << 63) - 1, 10)]
        {
            for (speaker, mask, more) in
                [(Speaker::Server, None, 0), (Speaker::Client, Some(Mask::new([1, 2, 3, 4])), 4)]
            {
                let head = Head { opcode: Opcode::Binary, fin: Fin::More, length, mask };
                let mut written = Vec::new();
                head.write(&mut written);
                assert_eq!(written.len(), octets + more);
                assert_eq!(read(&written, speaker), Ok(head));
            }
        }
        let forms: [&[u8]; 4] = [
            &[0x82, 126, 0, 125],
            &[0x82, 127, 0, 0, 0, 0, 0, 0, 0, 1],
            &[0x82, 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff],
            &[0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0],
        ];
        for octets in forms {
            assert_eq!(read(octets, Speaker::Server), Err(FrameError::Length), "{octets:?}");
        }
    }

    #[test]
    fn what_the_base_protocol_does_not_know_is_no_head() {
        for first in 0..=u8::MAX {
            let told = read(&[first, 0], Speaker::Server).map(|head| head.opcode);
            let (reserved, number, fin) = (first & 0x70, first & 0x0f, first & 0x80);
            match (reserved, number) {
                (1.., _) => assert_eq!(told, Err(FrameError::Reserved)),
                (0, 3..=7 | 11..) => assert_eq!(told, Err(FrameError::Opcode(number))),
                (0, 8..=10) if fin == 0 => assert_eq!(told, Err(FrameError::FragmentedControl)),
                (0, _) => assert_eq!(told.unwrap().number(), number),
            }
        }
        for opcode in [0x88, 0x89, 0x8a] {
            assert_eq!(read(&[opcode, 125], Speaker::Server).unwrap().length, 125);
            assert_eq!(read(&[opcode, 126, 0, 126], Speaker::Server), Err(FrameError::LongControl));
            assert_eq!(read(&[opcode, 127], Speaker::Server), Err(FrameError::LongControl));
        }
    }

    #[test]
    fn a_client_masks_and_a_server_does_not() {
        assert_eq!(read(&[0x81, 0x81], Speaker::Server), Err(FrameError::Masked));
        assert_eq!(read(&[0x81, 0x01], Speaker::Client), Err(FrameError::Unmasked));
        assert_eq!(read(&[0x81, 0x81, 0, 0, 0, 0], Speaker::Client).unwrap().length, 1);
    }
}
