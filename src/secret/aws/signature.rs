//! The signature over a canonical request: a key derived from the secret for one day, region and service, and an
//! HMAC with it.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{self, SHA256};
use aws_lc_rs::hmac::{self, HMAC_SHA256, Key, Tag};
use zeroize::Zeroizing;

use super::claim::{ALGORITHM, Claim};

/// The signature of a canonical request, in hexadecimal.
pub(super) fn sign(claim: &Claim, secret: &[u8], canonical: &[u8]) -> String {
    let hash = hash(canonical);
    let text = format!("{ALGORITHM}\n{}\n{}\n{hash}", claim.time, claim.scope);
    hex(hmac::sign(&signing_key(claim, secret), text.as_bytes()).as_ref())
}

/// Whether the request's own signature is the one that `secret` makes.
pub(super) fn is_valid(claim: &Claim, secret: &[u8], canonical: &[u8]) -> bool {
    let right = sign(claim, secret, canonical);
    let own = claim.signature.to_ascii_lowercase();
    verify_slices_are_equal(right.as_bytes(), own.as_bytes()).is_ok()
}

fn signing_key(claim: &Claim, secret: &[u8]) -> Key {
    let first = Zeroizing::new([b"AWS4", secret].concat());
    let scope = &claim.scope;
    [&*scope.date, &scope.region, &scope.service, "aws4_request"]
        .into_iter()
        .fold(Key::new(HMAC_SHA256, &first), |key, part| key_of(&hmac::sign(&key, part.as_bytes())))
}

fn key_of(tag: &Tag) -> Key {
    Key::new(HMAC_SHA256, tag.as_ref())
}

/// A SHA-256 hash in hexadecimal.
pub(super) fn hash(octets: &[u8]) -> String {
    hex(digest::digest(&SHA256, octets).as_ref())
}

fn hex(octets: &[u8]) -> String {
    octets.iter().fold(String::with_capacity(octets.len() * 2), |mut text, octet| {
        for nibble in [octet >> 4, octet & 15] {
            text.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
        }
        text
    })
}
