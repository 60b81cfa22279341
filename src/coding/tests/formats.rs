//! What other programs write: vectors of gzip, zlib, zstd and brotli, and what the formats allow beside.

use super::*;

const TEXT: &str = "secret sauce, secret sauce, secret sauce\n";
const GZIP: &str = "1f8b08000000000002032b4e4d2e4a2d51284e2c4d4ed55128c6c9e302009094fab429000000";
/// Extra, name, comment and the header's own check.
const GZIP_ALL_FIELDS: &str = "1f8b081f0000000002ff060041420200787966696c652e747874006120636f6d6d656e740065672b\
                               4e4d2e4a2d51284e2c4d4ed55128c6c9e302009094fab429000000";
const ZLIB: &str = "78da2b4e4d2e4a2d51284e2c4d4ed55128c6c9e302003e310ec8";
const RAW: &str = "2b4e4d2e4a2d51284e2c4d4ed55128c6c9e30200";
const ZLIB_DICTIONARY: &str = "78f91f0804b82b4662eb28e0e67101003e310ec8";
const ZSTD: &str = "28b52ffd0468ad0000787365637265742073617563652c200a0100614f25ac7c2955";
const ZSTD_DICTIONARY: &str = "28b52ffd0358da149c69850000182c200a03fcc1e7a77bf57bf4635a0a";
const BR: &str = "1b2800f88d946edeb406092b9bd30a2c6375921045f8a9071af1c85e2200";
/// With the largest window.
const BR_24: &str = "1f280000c463ec3b4bdf3d92b1240951849f7a349391f3535100";

fn octets(hex: &str) -> Vec<u8> {
    let digit = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(digit).collect()
}

fn text(coding: Coding, octets: &[u8]) -> Result<String, CodingError> {
    let whole = decoded(coding, octets).map(|text| String::from_utf8(text).unwrap());
    let split = decoded_with(coding, octets.chunks(1), &Limits::default());
    assert_eq!(whole.as_ref().map(|text| text.as_bytes().to_vec()).ok(), split.ok());
    whole
}

#[test]
fn what_others_write_is_read() {
    for (coding, hex) in [
        (Coding::Gzip, GZIP),
        (Coding::Gzip, GZIP_ALL_FIELDS),
        (Coding::Deflate, ZLIB),
        (Coding::Deflate, RAW),
        (Coding::Br, BR),
        (Coding::Br, BR_24),
        (Coding::Zstd, ZSTD),
    ] {
        assert_eq!(text(coding, &octets(hex)).as_deref(), Ok(TEXT), "{hex}");
    }
}

#[test]
fn members_and_frames_follow_one_another() {
    let gzip = octets(&[GZIP, GZIP_ALL_FIELDS, GZIP].concat());
    assert_eq!(text(Coding::Gzip, &gzip), Ok(TEXT.repeat(3)));
    // A skippable frame of three octets, RFC 8878 §3.1.2.
    let zstd = octets(&[ZSTD, "502a4d1803000000616263", ZSTD].concat());
    assert_eq!(text(Coding::Zstd, &zstd), Ok(TEXT.repeat(2)));
    let beginning = &gzip[..gzip.len() - octets(GZIP).len() + 1];
    assert_eq!(text(Coding::Gzip, beginning), Err(CodingError::Truncated));
}

#[test]
fn only_gzip_and_zstd_follow_one_another() {
    for (coding, hex) in [(Coding::Deflate, ZLIB), (Coding::Deflate, RAW), (Coding::Br, BR)] {
        assert_eq!(text(coding, &octets(&[hex, hex].concat())), Err(CodingError::Corrupt), "{coding:?}");
    }
}

#[test]
fn a_member_with_a_wrong_frame_is_corrupt() {
    let spoilt = |hex: &str, at: usize| {
        let mut spoilt = octets(hex);
        spoilt[at] ^= 0x81;
        text(Coding::Gzip, &spoilt)
    };
    let (whole, fields) = (octets(GZIP).len(), octets(GZIP_ALL_FIELDS));
    // Identification, method, reserved flags, check, length.
    for at in [0, 1, 2, 3, whole - 8, whole - 4] {
        assert_eq!(spoilt(GZIP, at), Err(CodingError::Corrupt), "at {at}");
    }
    // The check of the header covers its name.
    let name = fields.windows(4).position(|window| window == b"file").unwrap();
    assert_eq!(spoilt(GZIP_ALL_FIELDS, name), Err(CodingError::Corrupt));
}

#[test]
fn a_wrong_check_of_zlib_and_zstd_is_corrupt() {
    for (coding, hex) in [(Coding::Deflate, ZLIB), (Coding::Zstd, ZSTD)] {
        let mut spoilt = octets(hex);
        *spoilt.last_mut().unwrap() ^= 1;
        assert_eq!(text(coding, &spoilt), Err(CodingError::Corrupt), "{coding:?}");
    }
}

#[test]
fn a_dictionary_is_for_no_one() {
    assert_eq!(text(Coding::Deflate, &octets(ZLIB_DICTIONARY)), Err(CodingError::Corrupt));
    assert_eq!(text(Coding::Zstd, &octets(ZSTD_DICTIONARY)), Err(CodingError::Corrupt));
}

#[test]
fn a_window_is_no_larger_than_its_bound() {
    // A frame's head with a window of its own, and one raw block of an octet, RFC 8878 §3.1.1.1.2.
    let frame = |exponent: u8| {
        let block = [1 | 1 << 3, 0, 0, b'x'];
        [&[0x28, 0xb5, 0x2f, 0xfd, 0, exponent << 3][..], &block].concat()
    };
    assert_eq!(text(Coding::Zstd, &frame(13)).as_deref(), Ok("x"));
    assert_eq!(text(Coding::Zstd, &frame(14)), Err(CodingError::Bomb));
    let limits = Limits { decoded_window: 16 << 20, ..Limits::default() };
    assert_eq!(decoded_with(Coding::Zstd, [frame(14).as_slice()], &limits), Ok(b"x".to_vec()));
    // The head of a br stream with the extension to large windows, of 30 bits, then an empty last block.
    assert_eq!(text(Coding::Br, &[0x11, 0x1e, 0x03]), Err(CodingError::Corrupt));
}

#[test]
fn members_of_nothing_are_members() {
    let nothing = encoded(Coding::Gzip, b"");
    let coded = [nothing.repeat(1_000), encoded(Coding::Gzip, b"x"), nothing].concat();
    assert_eq!(text(Coding::Gzip, &coded).as_deref(), Ok("x"));
}

#[test]
fn what_we_write_has_the_marks_of_its_format() {
    assert_eq!(encoded(Coding::Gzip, b"x")[..3], [0x1f, 0x8b, 8]);
    assert_eq!(encoded(Coding::Deflate, b"x")[0], 0x78);
    let zstd = encoded(Coding::Zstd, b"x");
    assert_eq!(zstd[..4], [0x28, 0xb5, 0x2f, 0xfd]);
    // Its check is on.
    assert_eq!(zstd[4] & 4, 4);
}
