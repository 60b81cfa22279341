//! How bounds are read from text and held in their ranges.
//!
//! [`bounds!`] takes the definition of [`Limits`] and derives from it what goes over all fields, so there is no
//! second list of them. It knows no bound by name. Invariant: every field is reachable by its name, and within
//! its range once it was read.

use std::ops::RangeBounds;
use std::time::Duration;

#[cfg(doc)]
use super::Limits;

/// A bound as it stands in a configuration.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Amount {
    /// A count, or octets.
    Number(u64),
    /// Octets with a unit (`64KiB`, `256MiB`, `1GiB`), or a time (`250ms`, `30s`, `5m`, `24h`).
    Text(String),
}

/// Why bounds cannot be used.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum LimitError {
    /// No bound has this name.
    #[error("there is no such limit{}", .nearest.map_or(String::new(), |name| format!("; did you mean {name}?")))]
    Unknown {
        /// The bound whose name is most like it, where one is.
        nearest: Option<&'static str>,
    },
    /// Neither a count nor octets.
    #[error("write a whole number, or octets as in \"64KiB\", \"256MiB\", \"1GiB\"")]
    Number,
    /// No time.
    #[error("write a time as in \"250ms\", \"30s\", \"5m\", \"24h\"")]
    Time,
    /// Out of range.
    #[error("{key} must be from {least} to {most}")]
    Range {
        /// The bound.
        key: &'static str,
        /// As it would be written.
        least: String,
        /// As it would be written.
        most: String,
    },
    /// Two bounds that cannot both hold.
    #[error("{small} may not be more than {large}; lower the one or raise the other")]
    Order {
        /// The bound that is too large.
        small: &'static str,
        /// The one it may not exceed.
        large: &'static str,
    },
}

impl LimitError {
    /// Whether it is about the bound called `name`.
    pub(crate) fn is_about(&self, name: &str) -> bool {
        match self {
            Self::Range { key, .. } => *key == name,
            Self::Order { small, large } => *small == name || *large == name,
            Self::Unknown { .. } | Self::Number | Self::Time => false,
        }
    }
}

/// What a field of [`Limits`] can be.
pub(super) trait Bound: Copy + PartialOrd {
    /// Where a range has no lower end.
    const LEAST: Self;
    /// Where a range has no upper end: beyond any use.
    const MOST: Self;

    fn read(amount: &Amount) -> Result<Self, LimitError>;
    /// As it would be written.
    fn write(self) -> String;
}

macro_rules! count {
    ($($type:ident $most:expr),*) => {$(
        impl Bound for $type {
            const LEAST: Self = 1;
            const MOST: Self = $most;

            fn read(amount: &Amount) -> Result<Self, LimitError> {
                // What does not fit is out of any range.
                octets(amount).map(|number| Self::try_from(number).unwrap_or(Self::MAX))
            }

            fn write(self) -> String {
                self.to_string()
            }
        }
    )*};
}

count!(u16 u16::MAX - 1, u32 u32::MAX - 1, u64 (1 << 40) - 1, usize beyond_any_use());

/// A tebi, where the machine counts so far.
const fn beyond_any_use() -> usize {
    if usize::BITS > 40 { usize::MAX >> 24 } else { usize::MAX >> 1 }
}

impl Bound for Duration {
    const LEAST: Self = Duration::from_millis(1);
    const MOST: Self = Duration::from_secs(365 * 24 * 3600);

    fn read(amount: &Amount) -> Result<Self, LimitError> {
        let Amount::Text(text) = amount else { return Err(LimitError::Time) };
        let (number, unit) = split(text).ok_or(LimitError::Time)?;
        let millis: u64 = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return Err(LimitError::Time),
        };
        Ok(Self::from_millis(number.saturating_mul(millis)))
    }

    fn write(self) -> String {
        let millis = self.as_millis();
        let units = [(3_600_000, "h"), (60_000, "m"), (1_000, "s")];
        let whole = units.into_iter().find(|(unit, _)| millis > 0 && millis.is_multiple_of(*unit));
        whole.map_or(format!("{millis}ms"), |(unit, name)| format!("{}{name}", millis / unit))
    }
}

/// Reads a time that is no bound of a sandbox but is written like one; it is never none.
pub(crate) fn time(key: &'static str, amount: &Amount) -> Result<Duration, LimitError> {
    let value = Duration::read(amount)?;
    within(key, value, ..)?;
    Ok(value)
}

fn octets(amount: &Amount) -> Result<u64, LimitError> {
    let text = match amount {
        Amount::Number(number) => return Ok(*number),
        Amount::Text(text) => text,
    };
    let (number, unit) = split(text).ok_or(LimitError::Number)?;
    let shift = match unit {
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        _ => return Err(LimitError::Number),
    };
    Ok(number.saturating_mul(1 << shift))
}

/// Number and unit; a space between them is as good as none.
fn split(text: &str) -> Option<(u64, &str)> {
    let unit = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(unit)?;
    Some((number.parse().ok()?, unit.strip_prefix(' ').unwrap_or(unit)))
}

/// Makes sure that a bound is in its range.
pub(super) fn within<T: Bound>(
    key: &'static str,
    value: T,
    range: impl RangeBounds<T>,
) -> Result<(), LimitError> {
    use std::ops::Bound::{Excluded, Included, Unbounded};
    let least = match range.start_bound() {
        Included(least) | Excluded(least) => *least,
        Unbounded => T::LEAST,
    };
    let most = match range.end_bound() {
        Included(most) | Excluded(most) => *most,
        Unbounded => T::MOST,
    };
    if value < least || value > most {
        return Err(LimitError::Range { key, least: least.write(), most: most.write() });
    }
    Ok(())
}

/// The name that was probably meant.
pub(super) fn nearest(keys: &[&'static str], typed: &str) -> Option<&'static str> {
    /// Likeness from 0 to 1 below which a name is no help.
    const LIKE: f64 = 0.7;
    let likeness = |key: &&'static str| (strsim::jaro_winkler(key, typed), *key);
    let best = keys.iter().map(likeness).max_by(|one, other| one.0.total_cmp(&other.0));
    best.filter(|(likeness, _)| *likeness >= LIKE).map(|(_, key)| key)
}

/// Defines a struct of bounds, and what goes over all of them. After the type of a field may stand `where` and the
/// range of its values; an end that is left open is that of its type.
macro_rules! bounds {
    (
        $(#[$attribute:meta])*
        pub struct $name:ident {
            $($(#[$about:meta])* pub $field:ident: $type:ty $(where $range:expr)?,)*
        }
    ) => {
        $(#[$attribute])*
        pub struct $name {
            $($(#[$about])* pub $field: $type,)*
        }

        impl $name {
            /// The names of all bounds, which are the keys of `[limits]` in a configuration.
            pub const KEYS: &[&str] = &[$(stringify!($field)),*];

            /// Sets the bound that is called `key`.
            pub fn set(&mut self, key: &str, amount: &Amount) -> Result<(), LimitError> {
                match key {
                    $(stringify!($field) => {
                        let value = <$type as keys::Bound>::read(amount)?;
                        keys::within(stringify!($field), value, bounds!(@range $($range)?))?;
                        self.$field = value;
                    })*
                    _ => return Err(LimitError::Unknown { nearest: keys::nearest(Self::KEYS, key) }),
                }
                Ok(())
            }

            /// Makes sure that each bound is in its range.
            fn check_each(&self) -> Result<(), LimitError> {
                $(keys::within(stringify!($field), self.$field, bounds!(@range $($range)?))?;)*
                Ok(())
            }
        }
    };
    (@range) => { .. };
    (@range $range:expr) => { $range };
}

pub(super) use bounds;
