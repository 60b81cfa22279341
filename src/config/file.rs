//! The configuration file: TOML, every key known, every fault with its line and column.
//!
//! It reads text that is in memory already. Invariant: a key this version does not know is an error, never
//! passed over.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

use crate::dns::Nameserver;
use crate::limits::{Amount, LimitError, Limits};
use crate::name::HostPattern;
use crate::policy::{Publish, Subnet, Target};
use crate::secret::{self as secrets, Location, Shape, ShapeError};

use super::Config;
use super::error::{ConfigError, Place, Problem};
use super::rule;
use super::secret::{self, SecretEntry};
use super::shape;
use super::upstream::{Proxy, Upstream};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    net: Net,
    #[serde(default)]
    tls: Tls,
    #[serde(default)]
    secrets: BTreeMap<Spanned<String>, Secret>,
    #[serde(default)]
    publish: Vec<Published>,
    #[serde(default)]
    rule: Vec<Spanned<rule::Table>>,
    #[serde(default)]
    upstream: Vec<Upstream>,
    #[serde(default)]
    proxy: BTreeMap<Spanned<String>, Proxy>,
    #[serde(default)]
    limits: BTreeMap<Spanned<String>, Spanned<toml::Value>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Net {
    #[serde(default)]
    allow: Vec<Spanned<String>>,
    pub(super) default: Option<Spanned<String>>,
    #[serde(default)]
    nameservers: Vec<Spanned<String>>,
    #[serde(default)]
    publish: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) slot: u16,
    pub(super) pool: Option<Spanned<String>>,
    pub(super) prefix: Option<Spanned<String>>,
    pub(super) guest: Option<Spanned<String>>,
    pub(super) gateway: Option<Spanned<String>>,
    pub(super) guest6: Option<Spanned<String>>,
    pub(super) gateway6: Option<Spanned<String>>,
    pub(super) mac: Option<Spanned<String>>,
    pub(super) gateway_mac: Option<Spanned<String>>,
    pub(super) mtu: Option<u16>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table with port, and from where it is not open to all")]
struct Published {
    port: Spanned<String>,
    from: Option<Spanned<Vec<Spanned<String>>>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tls {
    #[serde(default)]
    upstream_ca: Vec<PathBuf>,
    #[serde(default)]
    passthrough: Vec<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a table with hosts, and from, swap, elsewhere, max_per_request, shape and alphabet where they are not the default"
)]
struct Secret {
    from: Option<Spanned<From>>,
    #[serde(default)]
    hosts: Vec<Spanned<String>>,
    swap: Option<Spanned<Vec<Spanned<String>>>>,
    elsewhere: Option<Spanned<toml::Value>>,
    max_per_request: Option<Spanned<i64>>,
    shape: Option<Spanned<String>>,
    alphabet: Option<Spanned<String>>,
    #[serde(rename = "type")]
    kind: Option<Spanned<String>>,
    access_key_id: Option<Spanned<From>>,
    secret_access_key: Option<Spanned<From>>,
    session_token: Option<Spanned<From>>,
}

/// Where a secret comes from; [`secrets::Source`] gives it meaning.
#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "from has to be \"env://NAME\", \"file:///PATH\" or { cmd = [\"PROGRAM\", \"ARGUMENT\"] }"
)]
pub(super) enum From {
    Text(String),
    Command(Command),
}

impl From {
    pub(super) fn source(&self) -> Result<secrets::Source, secrets::SourceError> {
        match self {
            Self::Text(text) => secrets::Source::parse(text),
            Self::Command(Command { cmd }) => secrets::Source::command(cmd.clone()),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Command {
    cmd: Vec<String>,
}

/// Reads the text of `path`; paths inside are relative to its directory.
pub(super) fn parse(path: &Path, text: &str) -> Result<Config, ConfigError> {
    let source = Source { path, text };
    let file: File = source.read_toml()?;
    let directory = path.parent().unwrap_or(Path::new(""));
    Ok(Config {
        observe: false,
        rules: source.rules(&file.rule)?,
        allow: source.allowed(&file.net.allow)?,
        default: source.default_of(&file.net)?,
        floor: None,
        secrets: source.secrets(&file.secrets)?,
        connect_to: Vec::new(),
        upstream_ca: file.tls.upstream_ca.iter().map(|path| directory.join(path)).collect(),
        passthrough: source.passthrough(&file.tls.passthrough)?,
        nameservers: source.nameservers(&file.net.nameservers)?,
        publish: source.published(&file.net.publish, &file.publish)?,
        upstreams: source.upstreams(&file.upstream, &file.proxy, directory)?,
        addressing: source.addressing(&file.net)?,
        limits: source.limits(&file.limits)?,
    })
}

/// Says where in `text` a host stands that `[tls] passthrough` has and another part contradicts.
pub(super) fn placed(path: &Path, text: &str, error: ConfigError) -> ConfigError {
    let source = Source { path, text };
    let ConfigError { place: Place::Passthrough(pattern), problem } = error else { return error };
    let read = source.read_toml::<File>();
    let texts = read.map(|file| file.tls.passthrough).unwrap_or_default();
    let is_it = |text: &&Spanned<String>| {
        Target::parse(text.get_ref()).is_ok_and(|target| target.pattern.to_string() == pattern)
    };
    match texts.iter().find(is_it) {
        Some(text) => source.fault(text.span(), &quoted("[tls] passthrough", text), problem),
        None => ConfigError { place: Place::Passthrough(pattern), problem },
    }
}

pub(super) struct Source<'a> {
    pub(super) path: &'a Path,
    pub(super) text: &'a str,
}

impl Source<'_> {
    pub(super) fn read_toml<T: serde::de::DeserializeOwned>(&self) -> Result<T, ConfigError> {
        toml::from_str(self.text).map_err(|error| {
            let span = error.span().unwrap_or_default();
            let before = self.text.get(..span.start).unwrap_or_default();
            self.fault(span, "", Problem::Toml(shape::told(error.message(), before)))
        })
    }

    fn nameservers(&self, texts: &[Spanned<String>]) -> Result<Vec<Nameserver>, ConfigError> {
        let server = |text: &Spanned<String>| {
            let fault = |error| {
                self.fault(text.span(), &quoted("[net] nameservers", text), Problem::Nameserver(error))
            };
            text.get_ref().parse().map_err(fault)
        };
        texts.iter().map(server).collect()
    }

    fn published(
        &self,
        short: &[Spanned<String>],
        tables: &[Published],
    ) -> Result<Vec<Publish>, ConfigError> {
        let mut all: Vec<Publish> = Vec::new();
        let short = short.iter().map(|text| ("[net] publish", text, None));
        let long = tables.iter().map(|table| ("[[publish]] port", &table.port, table.from.as_ref()));
        for (key, text, from) in short.chain(long) {
            let fault = |problem| self.fault(text.span(), &quoted(key, text), problem);
            let mut publish =
                Publish::parse(text.get_ref()).map_err(|error| fault(Problem::Publish(error)))?;
            if let Some(from) = from {
                publish = publish.only_from(self.subnets(from)?);
            }
            if all.iter().any(|own| own.collides(&publish)) {
                return Err(fault(Problem::PublishTwice { bind: publish.bind() }));
            }
            all.push(publish);
        }
        Ok(all)
    }

    fn subnets(&self, texts: &Spanned<Vec<Spanned<String>>>) -> Result<Vec<Subnet>, ConfigError> {
        const KEY: &str = "[[publish]] from";
        if texts.get_ref().is_empty() {
            return Err(self.fault(texts.span(), KEY, Problem::PublishFromNobody));
        }
        let subnet = |text: &Spanned<String>| {
            let fault = |error| self.fault(text.span(), &quoted(KEY, text), Problem::Subnet(error));
            text.get_ref().parse().map_err(fault)
        };
        texts.get_ref().iter().map(subnet).collect()
    }

    fn passthrough(&self, texts: &[Spanned<String>]) -> Result<Vec<HostPattern>, ConfigError> {
        let pattern = |text: &Spanned<String>| {
            let fault = |problem| self.fault(text.span(), &quoted("[tls] passthrough", text), problem);
            match Target::parse(text.get_ref()) {
                Ok(Target { pattern, port: None }) => Ok(pattern),
                Ok(Target { port: Some(_), .. }) => Err(fault(Problem::PassthroughPort)),
                Err(error) => Err(fault(Problem::Rule(error))),
            }
        };
        texts.iter().map(pattern).collect()
    }

    fn secrets(&self, secrets: &BTreeMap<Spanned<String>, Secret>) -> Result<Vec<SecretEntry>, ConfigError> {
        let mut entries = Vec::new();
        for (name, secret) in secrets {
            match &secret.kind {
                None => entries.push(self.secret(name, secret)?),
                Some(kind) if kind.get_ref() == "aws-sigv4" => entries.extend(self.aws_keys(name, secret)?),
                Some(kind) => {
                    let key = format!("[secrets.{}] type", name.get_ref().escape_debug());
                    return Err(self.fault(kind.span(), &key, Problem::SecretType));
                }
            }
        }
        Ok(entries)
    }

    fn aws_keys(&self, name: &Spanned<String>, secret: &Secret) -> Result<Vec<SecretEntry>, ConfigError> {
        let key = format!("[secrets.{}]", name.get_ref().escape_debug());
        let foreign = [
            secret.from.as_ref().map(Spanned::span),
            secret.swap.as_ref().map(Spanned::span),
            secret.max_per_request.as_ref().map(Spanned::span),
            secret.shape.as_ref().or(secret.alphabet.as_ref()).map(Spanned::span),
            secret.elsewhere.as_ref().map(Spanned::span),
        ];
        if let Some(span) = foreign.into_iter().flatten().next() {
            return Err(self.fault(span, &key, Problem::SecretOfType));
        }
        let hosts: Result<Vec<_>, ConfigError> =
            secret.hosts.iter().map(|text| self.secret_host(&key, text)).collect();
        let from = |part: &Option<Spanned<From>>| part.as_ref().map(|from| self.from(&key, from)).transpose();
        let keys = secret::AwsKeys {
            access_key_id: from(&secret.access_key_id)?,
            secret_access_key: from(&secret.secret_access_key)?,
            session_token: from(&secret.session_token)?,
        };
        keys.entries(name.get_ref(), &hosts?).map_err(|problem| self.fault(name.span(), &key, problem))
    }

    fn secret_host(&self, key: &str, text: &Spanned<String>) -> Result<(HostPattern, u16), ConfigError> {
        let fault = |problem| self.fault(text.span(), &quoted(&format!("{key} hosts"), text), problem);
        secret::host(text.get_ref()).map_err(fault)
    }

    fn secret(&self, name: &Spanned<String>, secret: &Secret) -> Result<SecretEntry, ConfigError> {
        let key = format!("[secrets.{}]", name.get_ref().escape_debug());
        let parts = [&secret.access_key_id, &secret.secret_access_key, &secret.session_token];
        if let Some(part) = parts.into_iter().flatten().next() {
            return Err(self.fault(part.span(), &key, Problem::SecretWithoutType));
        }
        let hosts: Result<Vec<_>, ConfigError> =
            secret.hosts.iter().map(|text| self.secret_host(&key, text)).collect();
        let from = secret.from.as_ref().map(|from| self.from(&key, from)).transpose()?;
        let swap = secret.swap.as_ref().map(|places| self.swap(&key, places)).transpose()?;
        let entry = SecretEntry::new(name.get_ref(), from, hosts?, swap);
        let mut entry = entry.map_err(|problem| self.fault(name.span(), &key, problem))?;
        entry.shape = self.shape(&key, secret)?;
        if let Some(value) = &secret.elsewhere {
            let fault = |problem| self.fault(value.span(), &format!("{key} elsewhere"), problem);
            entry.elsewhere = secret::elsewhere(value.get_ref()).map_err(fault)?;
        }
        if let Some(number) = &secret.max_per_request {
            let fault = |problem| self.fault(number.span(), &format!("{key} max_per_request"), problem);
            entry.max_per_request = Some(secret::max_per_request(*number.get_ref()).map_err(fault)?);
        }
        Ok(entry)
    }

    fn from(&self, key: &str, from: &Spanned<From>) -> Result<secrets::Source, ConfigError> {
        from.get_ref().source().map_err(|cause| self.fault(from.span(), key, Problem::SecretSource(cause)))
    }

    fn shape(&self, key: &str, secret: &Secret) -> Result<Option<Shape>, ConfigError> {
        let (shape, alphabet) = match (&secret.shape, &secret.alphabet) {
            (None, None) => return Ok(None),
            (None, Some(alphabet)) => return Err(self.fault(alphabet.span(), key, Problem::SecretAlphabet)),
            (Some(shape), alphabet) => (shape, alphabet),
        };
        let read = Shape::parse(shape.get_ref(), alphabet.as_ref().map(|text| text.get_ref().as_str()));
        read.map(Some).map_err(|cause| {
            let span = alphabet.as_ref().filter(|_| cause == ShapeError::Alphabet).unwrap_or(shape).span();
            self.fault(span, key, Problem::SecretShape(cause))
        })
    }

    fn swap(&self, key: &str, places: &Spanned<Vec<Spanned<String>>>) -> Result<Vec<String>, ConfigError> {
        if places.get_ref().is_empty() {
            return Err(self.fault(places.span(), &format!("{key} swap"), Problem::SwapEmpty));
        }
        let place = |text: &Spanned<String>| match Location::parse(text.get_ref()) {
            Ok(_) => Ok(text.get_ref().clone()),
            Err(error) => {
                Err(self.fault(text.span(), &format!("{key} swap"), Problem::Swap(error.to_string())))
            }
        };
        places.get_ref().iter().map(place).collect()
    }

    fn limits(&self, table: &BTreeMap<Spanned<String>, Spanned<toml::Value>>) -> Result<Limits, ConfigError> {
        let mut limits = Limits::default();
        for (key, value) in table {
            limits.set(key.get_ref(), &amount(value.get_ref())).map_err(|error| {
                let span =
                    if matches!(error, LimitError::Unknown { .. }) { key.span() } else { value.span() };
                self.fault(
                    span,
                    &format!("[limits] {}", key.get_ref().escape_debug()),
                    Problem::Limit(Box::new(error)),
                )
            })?;
        }
        limits.check().map_err(|error| {
            // The defaults are in order, so one of the two stands here.
            let to_blame = table.iter().find(|(key, _)| error.is_about(key.get_ref()));
            let span = to_blame.map(|(_, value)| value.span()).unwrap_or_default();
            self.fault(span, "[limits]", Problem::Limit(Box::new(error)))
        })?;
        Ok(limits)
    }

    pub(super) fn fault(&self, span: Range<usize>, key: &str, problem: Problem) -> ConfigError {
        let (line, column) = self.line_and_column(span.start);
        let place = Place::Spot { file: self.path.to_owned(), line, column, key: key.to_owned() };
        ConfigError { place, problem }
    }

    /// Both from 1, the column in characters.
    pub(super) fn line_and_column(&self, offset: usize) -> (usize, usize) {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        (before.matches('\n').count() + 1, column)
    }
}

/// A value of `[limits]`; one that is neither a whole number nor text reads as text that means nothing.
fn amount(value: &toml::Value) -> Amount {
    match value {
        toml::Value::Integer(number) => match u64::try_from(*number) {
            Ok(number) => Amount::Number(number),
            Err(_) => Amount::Text(number.to_string()),
        },
        toml::Value::String(text) => Amount::Text(text.clone()),
        toml::Value::Float(_)
        | toml::Value::Boolean(_)
        | toml::Value::Datetime(_)
        | toml::Value::Array(_)
        | toml::Value::Table(_) => Amount::Text(String::new()),
    }
}

pub(super) fn quoted(key: &str, text: &Spanned<String>) -> String {
    format!("{key} \"{}\"", text.get_ref().escape_debug())
}
