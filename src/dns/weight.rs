//! What an answer costs in memory, which may be many times its octets on the wire.
//!
//! An estimate from above; it allocates nothing that stays. Invariant: no part of an answer that a nameserver can
//! multiply is left out.

use hickory_proto::rr::{Name, RData};
use hickory_proto::serialize::binary::{BinEncodable, BinEncoder};

use crate::limits::Limits;

use super::answer::Records;

/// Octets that the usual allocators hand out at least, and by which what they hand out grows.
const LEAST_BLOCK: usize = 32;
const GRAIN: usize = 16;
/// Octets of a name, and labels, that it holds without an allocation.
const INLINE_NAME: usize = 24;
/// Allocations of a record that is no TXT, none of which can be multiplied.
const PARTS: usize = 4;

/// Octets that `records` hold.
pub(super) fn octets(records: &Records, limits: &Limits) -> usize {
    let chain: usize = records.chain.iter().map(of_name).sum();
    let data: usize = records.data.iter().map(|data| of_data(data, limits)).sum();
    size_of::<Records>()
        + block(records.chain.capacity() * size_of::<Name>())
        + block(records.data.capacity() * size_of::<RData>())
        + chain
        + data
}

/// An allocation.
fn block(octets: usize) -> usize {
    if octets == 0 { 0 } else { (octets + size_of::<usize>()).next_multiple_of(GRAIN).max(LEAST_BLOCK) }
}

/// Beside the name itself: its letters and where its labels end, of which there may be room for twice as many.
fn of_name(name: &Name) -> usize {
    let length = name.len();
    if length <= INLINE_NAME { 0 } else { 2 * block(2 * length) }
}

/// Beside the record itself.
#[expect(clippy::wildcard_enum_match_arm, reason = "all other data is a few parts, as long as on the wire")]
fn of_data(data: &RData, limits: &Limits) -> usize {
    match data {
        RData::A(_) | RData::AAAA(_) => 0,
        RData::TXT(text) => {
            let strings: usize = text.txt_data.iter().map(|string| block(string.len())).sum();
            block(text.txt_data.len() * size_of::<Box<[u8]>>()) + strings
        }
        other => {
            let mut wire = Vec::new();
            let encoded = other.emit(&mut BinEncoder::new(&mut wire));
            let length = if encoded.is_ok() { wire.len() } else { limits.dns_message };
            // Names may be shortened on the wire, and have room for twice as many letters here.
            PARTS * block(4 * length)
        }
    }
}

#[cfg(test)]
mod tests {
    use hickory_proto::rr::rdata::{MX, TXT};

    use super::*;

    fn of(data: Vec<RData>) -> usize {
        octets(&Records { data, ..Records::default() }, &Limits::default())
    }

    #[test]
    fn each_string_of_a_text_has_its_own_cost() {
        let text = |count, length| of(vec![RData::TXT(TXT::new(vec!["x".repeat(length); count]))]);
        assert!(text(8_192, 1) > 8_192 * (size_of::<Box<[u8]>>() + LEAST_BLOCK));
        let whole = text(64, 255);
        assert!((64 * 255..2 * 64 * 255).contains(&whole), "{whole}");
    }

    #[test]
    fn long_names_are_counted_and_short_ones_are_in_their_record() {
        let exchange = |name: &str| of(vec![RData::MX(MX::new(1, Name::from_ascii(name).unwrap()))]);
        let (short, long) =
            (exchange("mx.example."), exchange(&format!("{}.example.", ["a"; 120].join("."))));
        assert!(short < 1_024 && long > short + 480, "{short} {long}");
        let chain = |name: &str| {
            let chain = vec![Name::from_ascii(name).unwrap()];
            octets(&Records { chain, ..Records::default() }, &Limits::default())
        };
        assert!(chain(&"a.".repeat(120)) > chain("a.example.") + 480);
    }
}
