//! In which form a guest is told, by the `Accept` of its request (RFC 9110 §12.5.1).
//!
//! It chooses; it writes nothing. Invariant: whoever does not ask for JSON by its name, or rather than for text, gets
//! text.

use http::HeaderMap;
use http::header::ACCEPT;

/// How a refusal is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::http) enum Form {
    /// One line.
    Text,
    /// `application/json`.
    Json,
    /// `application/problem+json` ([RFC 9457](https://www.rfc-editor.org/rfc/rfc9457)).
    Problem,
}

/// Media ranges that are looked at.
const RANGES: usize = 64;
/// The weight of 1, in thousandths.
const WHOLE: u16 = 1_000;

/// How much a media type is wanted.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Wish {
    weight: u16,
    is_named: bool,
}

impl Form {
    /// What the fields of a request ask for.
    pub(in crate::http) fn of(fields: &HeaderMap) -> Self {
        let ranges = || {
            let values = fields.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
            values.flat_map(|value| value.split(',')).take(RANGES).filter_map(range)
        };
        let text = wish(ranges(), ("text", "plain"));
        let json = wish(ranges(), ("application", "json"));
        let problem = wish(ranges(), ("application", "problem+json"));
        let wins = |own: Wish| own.weight > text.weight || own.is_named && own.weight == text.weight;
        let best = json.max(problem);
        if best.weight == 0 || !wins(best) {
            Self::Text
        } else if problem >= json && problem.is_named {
            Self::Problem
        } else {
            Self::Json
        }
    }

    /// Its `Content-Type`.
    pub(super) fn media_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; charset=utf-8",
            Self::Json => "application/json",
            Self::Problem => "application/problem+json",
        }
    }
}

/// A media range and its weight; `None` where it is none.
fn range(text: &str) -> Option<((&str, &str), u16)> {
    let mut parts = text.split(';').map(str::trim);
    let range = parts.next()?.split_once('/')?;
    let weight = parts.find_map(|part| {
        let (name, value) = part.split_once('=')?;
        name.trim().eq_ignore_ascii_case("q").then(|| weight(value.trim()))
    });
    Some((range, weight.unwrap_or(WHOLE)))
}

/// `0.5` as 500; what is no weight is none at all.
fn weight(text: &str) -> u16 {
    match text.parse::<f32>() {
        // Within 0 and 1,000 by then.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it was just bounded")]
        Ok(weight) if (0.0..=1.0).contains(&weight) => (weight * f32::from(WHOLE)) as u16,
        Ok(_) | Err(_) => 0,
    }
}

/// The most specific range that means it counts.
fn wish<'a>(ranges: impl Iterator<Item = ((&'a str, &'a str), u16)>, (kind, own): (&str, &str)) -> Wish {
    let mut best: Option<(u8, u16)> = None;
    for ((range_kind, range_own), weight) in ranges {
        let same = range_kind.eq_ignore_ascii_case(kind);
        let precision = match (range_kind, range_own) {
            _ if same && range_own.eq_ignore_ascii_case(own) => 2,
            (_, "*") if same => 1,
            ("*", "*") => 0,
            (_, _) => continue,
        };
        if best.is_none_or(|(known, _)| precision > known) {
            best = Some((precision, weight));
        }
    }
    match best {
        Some((precision, weight)) => Wish { weight, is_named: precision == 2 },
        None => Wish { weight: 0, is_named: false },
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn form(accept: &[&str]) -> Form {
        let mut fields = HeaderMap::new();
        for value in accept {
            fields.append(ACCEPT, HeaderValue::from_str(value).unwrap());
        }
        Form::of(&fields)
    }

    #[test]
    fn json_is_for_who_asks_for_it() {
        for (accept, wanted) in [
            (&[][..], Form::Text),
            (&["*/*"], Form::Text),
            (&["text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"], Form::Text),
            (&["image/png"], Form::Text),
            (&["application/json"], Form::Json),
            (&["APPLICATION/JSON ; q=0.5"], Form::Json),
            (&["application/json, text/plain, */*"], Form::Json),
            (&["application/json;q=0.5, text/plain"], Form::Text),
            (&["text/plain;q=0.5, application/json"], Form::Json),
            (&["text/plain;q=0.5", "application/json"], Form::Json),
            (&["application/*"], Form::Json),
            (&["application/*, text/*"], Form::Text),
            (&["application/json;q=0"], Form::Text),
            (&["application/json;q=2"], Form::Text),
            (&["application/json;q=NaN"], Form::Text),
            (&["application/problem+json"], Form::Problem),
            (&["application/problem+json, application/json"], Form::Problem),
            (&["application/problem+json;q=0.1, application/json"], Form::Json),
            (&["application/vnd.github+json"], Form::Text),
            (&["application/vnd.github+json, application/json"], Form::Json),
            (&[",;,/,q=1,a/b/c"], Form::Text),
        ] {
            assert_eq!(form(accept), wanted, "{accept:?}");
        }
    }

    #[test]
    fn a_long_list_is_not_read_to_its_end() {
        let long = format!("{}application/json", "a/b,".repeat(1_000));
        assert_eq!(form(&[&long]), Form::Text);
    }
}
