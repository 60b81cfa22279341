//! The rules of a file: `[[rule]]` tables, the list `[net] allow`, and what holds where none is about it.
//!
//! It reads texts at their place; what they may be together is [`crate::policy::RuleBuilder`]'s. Invariant: a rule
//! remembers its file, line and column.

use std::path::Path;

use serde::Deserialize;
use toml::Spanned;

use super::error::{ConfigError, Place, Problem};
use super::file::{Net, Source, quoted};
use crate::policy::{
    Action, Destination, Direction, Group, Ports, Protocol, Rule, RuleBuilder, RuleError, RuleSource, Spot,
};

/// One `[[rule]]`.
#[derive(Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a table with action, one of host, address and group, and direction, protocols, ports, methods and paths where they are meant"
)]
pub(super) struct Table {
    action: Option<Spanned<String>>,
    direction: Option<Spanned<String>>,
    host: Option<Spanned<String>>,
    address: Option<Spanned<String>>,
    group: Option<Spanned<String>>,
    protocols: Option<Spanned<Vec<Spanned<String>>>>,
    ports: Option<Spanned<Vec<Spanned<toml::Value>>>>,
    methods: Option<Spanned<Vec<Spanned<String>>>>,
    paths: Option<Spanned<Vec<Spanned<String>>>>,
}

/// A file with rules and nothing else: those of a platform.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Floor {
    #[serde(default)]
    net: FloorNet,
    #[serde(default)]
    rule: Vec<Spanned<Table>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct FloorNet {
    #[serde(default)]
    allow: Vec<Spanned<String>>,
    default: Option<Spanned<String>>,
}

/// Reads the rules of a platform from the text of `path`.
pub(super) fn parse_floor(path: &Path, text: &str) -> Result<Vec<Rule>, ConfigError> {
    let source = Source { path, text };
    let file: Floor = source.read_toml()?;
    let mut rules = source.rules(&file.rule)?;
    rules.extend(source.allowed(&file.net.allow)?);
    rules.extend(source.default_rule(file.net.default.as_ref())?);
    Ok(rules)
}

impl Source<'_> {
    /// The list `[net] allow`.
    pub(super) fn allowed(&self, texts: &[Spanned<String>]) -> Result<Vec<Rule>, ConfigError> {
        let rule = |(index, text): (usize, &Spanned<String>)| {
            let source =
                RuleSource::File { spot: self.spot(text.span().start), index, text: text.get_ref().clone() };
            Rule::allowing(text.get_ref(), source)
                .map_err(|error| self.fault(text.span(), &quoted("[net] allow", text), Problem::Rule(error)))
        };
        texts.iter().enumerate().map(rule).collect()
    }

    /// What holds where no rule is about it: the file's own word, where it has one.
    pub(super) fn default_of(&self, net: &Net) -> Result<Option<Rule>, ConfigError> {
        self.default_rule(net.default.as_ref())
    }

    fn default_rule(&self, text: Option<&Spanned<String>>) -> Result<Option<Rule>, ConfigError> {
        let Some(text) = text else { return Ok(None) };
        let fault = |error| self.fault(text.span(), &quoted("[net] default", text), Problem::Rule(error));
        let action: Action = text.get_ref().parse().map_err(fault)?;
        let source = RuleSource::Default(self.spot(text.span().start));
        match action {
            // What no rule is about is denied anyway, with a word of explanation.
            Action::Deny => Ok(None),
            Action::Allow => Rule::builder(action, Destination::Any).build(source).map(Some).map_err(fault),
        }
    }

    /// The `[[rule]]` tables, in order.
    pub(super) fn rules(&self, tables: &[Spanned<Table>]) -> Result<Vec<Rule>, ConfigError> {
        tables.iter().map(|table| self.rule(table)).collect()
    }

    fn rule(&self, spanned: &Spanned<Table>) -> Result<Rule, ConfigError> {
        let table = spanned.get_ref();
        let start = spanned.span().start;
        let missing = || self.fault(start..start, "[[rule]]", Problem::RuleAction);
        let action = self.word("action", table.action.as_ref().ok_or_else(missing)?)?;
        let mut builder = Rule::builder(action, self.destination(spanned)?);
        if let Some(text) = &table.direction {
            builder = builder.direction(self.word::<Direction>("direction", text)?);
        }
        for text in self.list("protocols", table.protocols.as_ref())? {
            let fault =
                || self.fault(text.span(), &quoted("[[rule]] protocols", text), Problem::RuleProtocol);
            builder = builder.protocol(Protocol::parse(text.get_ref()).ok_or_else(fault)?);
        }
        for port in self.list("ports", table.ports.as_ref())? {
            builder = builder.ports(self.ports(port)?);
        }
        for method in self.list("methods", table.methods.as_ref())? {
            builder = self.requests("methods", method, |any| any.method(method.get_ref()), builder)?;
        }
        for path in self.list("paths", table.paths.as_ref())? {
            builder = self.requests("paths", path, |any| any.path(path.get_ref()), builder)?;
        }
        let fault = |error| self.fault(start..start, "[[rule]]", Problem::Rule(error));
        builder.build(RuleSource::Table(self.spot(start))).map_err(fault)
    }

    /// A port as a number, or ports as text.
    fn ports(&self, value: &Spanned<toml::Value>) -> Result<Ports, ConfigError> {
        let (text, shown) = match value.get_ref() {
            toml::Value::Integer(port) => (port.to_string(), port.to_string()),
            toml::Value::String(text) => (text.clone(), format!("\"{}\"", text.escape_debug())),
            other @ (toml::Value::Float(_)
            | toml::Value::Boolean(_)
            | toml::Value::Datetime(_)
            | toml::Value::Array(_)
            | toml::Value::Table(_)) => (String::new(), other.type_str().to_owned()),
        };
        let fault =
            |error| self.fault(value.span(), &format!("[[rule]] ports {shown}"), Problem::Rule(error));
        Ports::parse(&text).map_err(fault)
    }

    /// Adds a method or a path, which is read by itself first: a fault of it is told where it stands.
    fn requests(
        &self,
        key: &str,
        text: &Spanned<String>,
        add: impl Fn(RuleBuilder) -> RuleBuilder,
        builder: RuleBuilder,
    ) -> Result<RuleBuilder, ConfigError> {
        let alone = add(Rule::builder(Action::Deny, Destination::Any)).build(RuleSource::Owner);
        let fault =
            |error| self.fault(text.span(), &quoted(&format!("[[rule]] {key}"), text), Problem::Rule(error));
        alone.map_err(fault)?;
        Ok(add(builder))
    }

    fn word<T: std::str::FromStr<Err = RuleError>>(
        &self,
        key: &str,
        text: &Spanned<String>,
    ) -> Result<T, ConfigError> {
        let fault =
            |error| self.fault(text.span(), &quoted(&format!("[[rule]] {key}"), text), Problem::Rule(error));
        text.get_ref().parse().map_err(fault)
    }

    /// The items of a list that may be left out, and may not be empty.
    fn list<'a, T>(
        &self,
        key: &str,
        list: Option<&'a Spanned<Vec<Spanned<T>>>>,
    ) -> Result<&'a [Spanned<T>], ConfigError> {
        match list {
            None => Ok(&[]),
            Some(list) if list.get_ref().is_empty() => {
                Err(self.fault(list.span(), &format!("[[rule]] {key}"), Problem::Rule(RuleError::Empty)))
            }
            Some(list) => Ok(list.get_ref()),
        }
    }

    fn destination(&self, spanned: &Spanned<Table>) -> Result<Destination, ConfigError> {
        let table = spanned.get_ref();
        let start = spanned.span().start;
        let fault = |key: &str, text: &Spanned<String>, error| {
            self.fault(text.span(), &quoted(&format!("[[rule]] {key}"), text), Problem::Rule(error))
        };
        match (&table.host, &table.address, &table.group) {
            (None, None, None) => Ok(Destination::Any),
            (Some(text), None, None) => {
                Destination::host(text.get_ref()).map_err(|error| fault("host", text, error))
            }
            (None, Some(text), None) => {
                let subnet = text.get_ref().parse().map_err(RuleError::Subnet);
                subnet.map(Destination::Subnet).map_err(|error| fault("address", text, error))
            }
            (None, None, Some(text)) => match text.get_ref().as_str() {
                "any" => Ok(Destination::Any),
                name => {
                    Group::parse(name).map(Destination::Group).map_err(|error| fault("group", text, error))
                }
            },
            (_, _, _) => Err(self.fault(start..start, "[[rule]]", Problem::Rule(RuleError::Destination))),
        }
    }

    fn spot(&self, offset: usize) -> Spot {
        let (line, column) = self.line_and_column(offset);
        Spot { file: self.path.to_owned(), line, column }
    }
}

/// Where errors say that a rule stands.
pub(super) fn place(source: &RuleSource) -> Place {
    let spot = |spot: &Spot, key: &str| {
        let Spot { file, line, column } = spot.clone();
        Place::Spot { file, line, column, key: key.to_owned() }
    };
    match source {
        RuleSource::Flag(text) => Place::Flag { flag: "--allow", text: text.clone() },
        RuleSource::RuleFlag(text) => Place::Flag { flag: "--rule", text: text.clone() },
        RuleSource::File { spot: at, .. } => spot(at, "[net] allow"),
        RuleSource::Table(at) => spot(at, "[[rule]]"),
        RuleSource::Default(at) => spot(at, "[net] default"),
        RuleSource::Secret { name } => Place::Secret(name.clone()),
        RuleSource::Observe | RuleSource::Owner => Place::Rule(source.to_string()),
    }
}

#[cfg(test)]
mod tests;
