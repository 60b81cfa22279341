//! The gzip format ([RFC 1952]): members one after another, each with a header, deflated data and a check.
//!
//! The library inflates; the frame is read here. Invariant: a member counts only if its check and length are right,
//! and nothing but members is in the body.
//!
//! [RFC 1952]: https://www.rfc-editor.org/rfc/rfc1952

use flate2::{Crc, Decompress};

use super::CodingError;
use super::decode::Step;
use super::deflate::Inflate;

/// Reads members.
pub(super) struct Gzip {
    part: Part,
    crc: Crc,
}

enum Part {
    Header(Header),
    Data(Inflate),
    /// So much of the check and the length.
    Trailer(Vec<u8>),
}

impl Gzip {
    pub(super) fn new() -> Self {
        Self { part: Part::Header(Header::new()), crc: Crc::new() }
    }

    pub(super) fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, CodingError> {
        match &mut self.part {
            Part::Header(header) => {
                let mut read = 0;
                for octet in input {
                    read += 1;
                    if header.take(*octet)? {
                        self.part = Part::Data(Inflate::new(Decompress::new(false)));
                        self.crc = Crc::new();
                        break;
                    }
                }
                Ok(Step { read, written: 0 })
            }
            Part::Data(inflate) => {
                let step = inflate.step(input, output)?;
                self.crc.update(output.get(..step.written).unwrap_or_default());
                if inflate.is_over() {
                    self.part = Part::Trailer(Vec::with_capacity(TRAILER));
                }
                Ok(step)
            }
            Part::Trailer(octets) => {
                let read = input.len().min(TRAILER - octets.len());
                octets.extend_from_slice(input.get(..read).unwrap_or_default());
                if octets.len() == TRAILER {
                    if *octets != [self.crc.sum().to_le_bytes(), self.crc.amount().to_le_bytes()].concat() {
                        return Err(CodingError::Corrupt);
                    }
                    self.part = Part::Header(Header::new());
                }
                Ok(Step { read, written: 0 })
            }
        }
    }

    pub(super) fn is_complete(&self) -> bool {
        matches!(&self.part, Part::Header(header) if header.is_untouched())
    }
}

/// CRC-32 and length modulo 2³², RFC 1952 §2.3.1.
const TRAILER: usize = 8;

/// Flags of a header, RFC 1952 §2.3.1; FTEXT is a hint.
const FHCRC: u8 = 1 << 1;
const FEXTRA: u8 = 1 << 2;
const FNAME: u8 = 1 << 3;
const FCOMMENT: u8 = 1 << 4;
const RESERVED: u8 = 0b1110_0000;

/// The header of a member, octet by octet.
struct Header {
    field: Field,
    flags: u8,
    crc: Crc,
}

/// What the next octet is of; the number counts octets of it, read or to be read.
#[derive(Clone, Copy)]
enum Field {
    Fixed(u8),
    ExtraLength(Option<u8>),
    Extra(u16),
    Name,
    Comment,
    Check(Option<u8>),
}

impl Header {
    fn new() -> Self {
        Self { field: Field::Fixed(0), flags: 0, crc: Crc::new() }
    }

    fn is_untouched(&self) -> bool {
        matches!(self.field, Field::Fixed(0))
    }

    /// Takes the next octet and tells whether it was the last.
    fn take(&mut self, octet: u8) -> Result<bool, CodingError> {
        let next = match self.field {
            Field::Fixed(at) => {
                let fits = match at {
                    0 => octet == 0x1f,
                    1 => octet == 0x8b,
                    // The one method there is.
                    2 => octet == 8,
                    3 => octet & RESERVED == 0,
                    _ => true,
                };
                if !fits {
                    return Err(CodingError::Corrupt);
                }
                if at == 3 {
                    self.flags = octet;
                }
                if at < 9 { Some(Field::Fixed(at + 1)) } else { self.after(Self::FIXED) }
            }
            Field::ExtraLength(None) => Some(Field::ExtraLength(Some(octet))),
            Field::ExtraLength(Some(low)) => match u16::from_le_bytes([low, octet]) {
                0 => self.after(FEXTRA),
                length => Some(Field::Extra(length)),
            },
            Field::Extra(1) => self.after(FEXTRA),
            Field::Extra(left) => Some(Field::Extra(left - 1)),
            Field::Name if octet == 0 => self.after(FNAME),
            Field::Comment if octet == 0 => self.after(FCOMMENT),
            same @ (Field::Name | Field::Comment) => Some(same),
            Field::Check(None) => {
                // The check covers what is before it.
                self.field = Field::Check(Some(octet));
                return Ok(false);
            }
            Field::Check(Some(low)) => {
                let [first, second, ..] = self.crc.sum().to_le_bytes();
                return if [low, octet] == [first, second] { Ok(true) } else { Err(CodingError::Corrupt) };
            }
        };
        self.crc.update(&[octet]);
        let Some(next) = next else { return Ok(true) };
        self.field = next;
        Ok(false)
    }

    /// Below any flag of a field that may follow the fixed octets but FHCRC's, which comes last.
    const FIXED: u8 = 0;

    /// The field after the one with `flag`; they come in the order of their flags, but the check.
    fn after(&self, flag: u8) -> Option<Field> {
        let fields = [(FEXTRA, Field::ExtraLength(None)), (FNAME, Field::Name), (FCOMMENT, Field::Comment)];
        let follows = |(own, _): &&(u8, Field)| *own > flag && self.flags & own != 0;
        match fields.iter().find(follows) {
            Some((_, field)) => Some(*field),
            None if self.flags & FHCRC != 0 => Some(Field::Check(None)),
            None => None,
        }
    }
}
