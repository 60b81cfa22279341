//! Moments as they are written: RFC 3339, in UTC.
//!
//! It reads no clock. Invariant: what it writes it reads again, to the second.

use std::time::{Duration, SystemTime};

use serde::{Deserialize as _, Deserializer, Serializer};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The last second of the year 9999: what comes after was meant in another unit.
const LAST: u64 = 253_402_300_799;

/// The moment so many seconds after 1970 began.
pub(super) fn from_unix(seconds: u64) -> Option<SystemTime> {
    let since = Duration::from_secs(Some(seconds).filter(|seconds| *seconds <= LAST)?);
    SystemTime::UNIX_EPOCH.checked_add(since)
}

/// Reads what is written as RFC 3339 has it.
pub(super) fn parse(text: &str) -> Option<SystemTime> {
    let moment = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    from_unix(u64::try_from(moment.unix_timestamp()).ok()?)
}

/// Writes a moment.
#[must_use]
pub fn text(moment: SystemTime) -> String {
    let since = moment.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs().min(LAST);
    let moment = i64::try_from(since).ok().and_then(|since| OffsetDateTime::from_unix_timestamp(since).ok());
    moment.and_then(|moment| moment.format(&Rfc3339).ok()).unwrap_or_default()
}

pub(super) fn serialize<S: Serializer>(moment: &Option<SystemTime>, to: S) -> Result<S::Ok, S::Error> {
    match moment {
        Some(moment) => to.serialize_str(&text(*moment)),
        None => to.serialize_none(),
    }
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SystemTime>, D::Error> {
    let Some(text) = Option::<String>::deserialize(from)? else { return Ok(None) };
    parse(&text).map(Some).ok_or_else(|| serde::de::Error::custom("no time as in 2030-01-02T03:04:05Z"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_in_every_zone_and_written_in_one() {
        let moment = from_unix(1_893_553_445).unwrap();
        for spelled in ["2030-01-02T03:04:05Z", "2030-01-02T04:04:05+01:00", "2030-01-02T03:04:05.9z"] {
            assert_eq!(parse(spelled), Some(moment), "{spelled}");
        }
        assert_eq!(text(moment), "2030-01-02T03:04:05Z");
        for wrong in ["", "soon", "2030-01-02", "1893553445", "1969-01-01T00:00:00Z"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
        assert_eq!(from_unix(1_893_553_445_000), None, "milliseconds");
    }
}
