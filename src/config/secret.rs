//! Which secrets there are, where their values come from, and which hosts may have them.
//!
//! It never sees a value. Invariant: an entry has at least one host, and none of them is any host.

use std::num::NonZeroU32;

use crate::name::HostPattern;
use crate::secret::{Elsewhere, Reaction, SecretHost, SecretHostError, Shape, Source};

use super::Problem;

/// Places of injection where none are given.
const DEFAULT_SWAP: [&str; 2] = ["header", "basic"];

/// One secret, without its value.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SecretEntry {
    /// Its name, which is also the child's variable.
    pub name: String,
    /// Where the value comes from.
    pub from: Source,
    /// The hosts that may have it, each at one port; never empty.
    pub hosts: Vec<(HostPattern, u16)>,
    /// Where in a request it may be injected.
    pub swap: Vec<String>,
    /// The key pair that it is a part of, which signs requests and is swapped nowhere.
    pub pair: Option<String>,
    /// What its placeholder looks like, where that is not as usual for its kind.
    pub shape: Option<Shape>,
    /// What is done about its placeholder toward other hosts.
    pub elsewhere: Elsewhere,
    /// How often it may be put into one request, where that is bounded; a WebSocket with all its messages is one.
    pub max_per_request: Option<NonZeroU32>,
}

impl SecretEntry {
    /// Reads `NAME@HOST[:PORT][,HOST[:PORT]]…`.
    pub(super) fn from_flag(text: &str) -> Result<Self, Problem> {
        let (name, hosts) = text.split_once('@').ok_or(Problem::SecretWithoutHost)?;
        let hosts: Result<Vec<_>, Problem> = hosts.split(',').map(host).collect();
        Self::new(name, None, hosts?, None)
    }

    /// Joins the parts; `from` defaults to the variable of the secret's own name.
    pub(super) fn new(
        name: &str,
        from: Option<Source>,
        hosts: Vec<(HostPattern, u16)>,
        swap: Option<Vec<String>>,
    ) -> Result<Self, Problem> {
        if !is_variable(name) {
            return Err(Problem::SecretName);
        }
        if hosts.is_empty() {
            return Err(Problem::SecretWithoutHost);
        }
        let from = from.unwrap_or_else(|| Source::Env(name.to_owned()));
        let swap = swap.unwrap_or_else(|| DEFAULT_SWAP.map(str::to_owned).into());
        let (elsewhere, max_per_request) = (Elsewhere::default(), None);
        Ok(Self {
            name: name.to_owned(),
            from,
            hosts,
            swap,
            pair: None,
            shape: None,
            elsewhere,
            max_per_request,
        })
    }
}

/// `type = "aws-sigv4"`: where the parts of a key pair come from.
pub(super) struct AwsKeys {
    pub(super) access_key_id: Option<Source>,
    pub(super) secret_access_key: Option<Source>,
    /// Temporary credentials have one.
    pub(super) session_token: Option<Source>,
}

impl AwsKeys {
    /// The parts, each a secret; a source defaults to the variable of the part's own name, `NAME_ACCESS_KEY_ID` and
    /// `NAME_SECRET_ACCESS_KEY`.
    pub(super) fn entries(
        self,
        name: &str,
        hosts: &[(HostPattern, u16)],
    ) -> Result<Vec<SecretEntry>, Problem> {
        let entry = |suffix: &str, from: Option<Source>| {
            let entry = SecretEntry::new(&format!("{name}_{suffix}"), from, hosts.to_vec(), None)?;
            Ok(SecretEntry { pair: Some(name.to_owned()), ..entry })
        };
        let mut entries = vec![
            entry("ACCESS_KEY_ID", self.access_key_id)?,
            entry("SECRET_ACCESS_KEY", self.secret_access_key)?,
        ];
        if self.session_token.is_some() {
            entries.push(entry("SESSION_TOKEN", self.session_token)?);
        }
        Ok(entries)
    }
}

/// Reads one host of a secret.
pub(super) fn host(text: &str) -> Result<(HostPattern, u16), Problem> {
    if text.is_empty() {
        return Err(Problem::SecretWithoutHost);
    }
    match SecretHost::parse(text) {
        Ok(host) => Ok((host.pattern, host.port)),
        Err(SecretHostError::Target(error)) => Err(Problem::Rule(error)),
        Err(SecretHostError::PlainHttp) => Err(Problem::SecretOnPlainHttp),
    }
}

/// Reads what is done about a placeholder elsewhere: one word for all places, or one for each kind.
pub(super) fn elsewhere(value: &toml::Value) -> Result<Elsewhere, Problem> {
    let word = |value: &toml::Value| {
        let text = value.as_str().ok_or(Problem::Elsewhere)?;
        Reaction::parse(text).map_err(|_| Problem::Elsewhere)
    };
    let Some(table) = value.as_table() else { return word(value).map(Elsewhere::all) };
    let mut elsewhere = Elsewhere::default();
    for (place, value) in table {
        let reaction = match place.as_str() {
            "body" => &mut elsewhere.body,
            "header" => &mut elsewhere.header,
            "url" => &mut elsewhere.url,
            _ => return Err(Problem::ElsewherePlace),
        };
        *reaction = word(value)?;
    }
    Ok(elsewhere)
}

/// Reads how often a secret may be put into one request.
pub(super) fn max_per_request(number: i64) -> Result<NonZeroU32, Problem> {
    u32::try_from(number).ok().and_then(NonZeroU32::new).ok_or(Problem::MaxPerRequest)
}

/// What of a `--secret` may be repeated in an error: its hosts, and a name that is one.
pub(super) fn repeatable(text: &str) -> String {
    match text.split_once('@') {
        Some((name, hosts)) => format!("{}@{hosts}", repeatable_name(name)),
        None => repeatable_name(text).to_owned(),
    }
}

/// Shortest name that may be taken for a value, as `"$TOKEN@HOST"` gives one.
const TOKEN: usize = 16;

/// A name, or a mark in place of what may be a secret's value: no name at all, or like most tokens long and of
/// small letters and digits.
pub(super) fn repeatable_name(name: &str) -> &str {
    let has = |kind: fn(&u8) -> bool| name.as_bytes().iter().any(kind);
    let like_a_token = name.len() >= TOKEN && has(u8::is_ascii_lowercase) && has(u8::is_ascii_digit);
    if is_variable(name) && !like_a_token { name } else { "…" }
}

fn is_variable(name: &str) -> bool {
    !name.starts_with(|first: char| first.is_ascii_digit())
        && !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}
