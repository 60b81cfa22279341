//! Frames written and read for tests, by nothing that is tested.

use super::Speaker;

/// A frame: opcode, FIN, payload.
pub(crate) type Frame = (u8, bool, Vec<u8>);

/// One frame by `speaker`, written by nothing of ours.
pub(crate) fn encoded(speaker: Speaker, (opcode, fin, payload): &Frame) -> Vec<u8> {
    let masked = speaker == Speaker::Client;
    let mut out = vec![u8::from(*fin) << 7 | opcode];
    let bit = u8::from(masked) << 7;
    match payload.len() {
        length @ 0..126 => out.push(bit | length as u8),
        length @ 126..65_536 => {
            out.push(bit | 126);
            out.extend((length as u16).to_be_bytes());
        }
        length => {
            out.push(bit | 127);
            out.extend((length as u64).to_be_bytes());
        }
    }
    let key = if masked { [7, 130, 0, 251] } else { [0; 4] };
    if masked {
        out.extend(key);
    }
    out.extend(payload.iter().zip(key.iter().cycle()).map(|(octet, key)| octet ^ key));
    out
}

/// The frames in `octets`, and what is left of one.
pub(crate) fn decoded(speaker: Speaker, mut octets: &[u8]) -> (Vec<Frame>, usize) {
    let mut frames = Vec::new();
    let masked = speaker == Speaker::Client;
    loop {
        let one = || -> Option<(Frame, &[u8])> {
            let ([first, second], rest) = octets.split_first_chunk()?;
            assert_eq!(second >> 7 == 1, masked);
            assert_eq!(first & 0x70, 0);
            let (length, rest) = match second & 0x7f {
                126 => {
                    rest.split_first_chunk().map(|(long, rest)| (u16::from_be_bytes(*long).into(), rest))?
                }
                127 => rest.split_first_chunk().map(|(long, rest)| (u64::from_be_bytes(*long), rest))?,
                short => (short.into(), rest),
            };
            let (key, rest) = if masked { rest.split_first_chunk()? } else { (&[0; 4], rest) };
            let (payload, rest) = rest.split_at_checked(length as usize)?;
            let payload = payload.iter().zip(key.iter().cycle()).map(|(octet, key)| octet ^ key).collect();
            Some(((first & 0x0f, first >> 7 == 1, payload), rest))
        };
        let Some((frame, rest)) = one() else { return (frames, octets.len()) };
        frames.push(frame);
        octets = rest;
    }
}
