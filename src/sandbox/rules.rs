//! The rules of a running sandbox, and how they become others.
//!
//! It makes policies and puts them in place; flows are the proxy's. Invariant: a new policy is whole and holds together
//! before it counts, and no change lifts the floor, takes a secret or lets one be passed by.

mod told;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::load;
use crate::audit::PolicyChange;
use crate::config::{Config, ConfigError};
use crate::policy::{Action, Live, Policy, Rule, RuleError, RuleSource};
use crate::secret::SecretHost;

/// Gives the configuration as its files have it now. It may block, and is called on a thread of its own.
pub type Reload = dyn Fn() -> Result<Config, ConfigError> + Send + Sync;

/// What is to be done with the rules of a running sandbox.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Edit {
    /// To allow what this says, before all other rules.
    Allow(String),
    /// To deny it.
    Deny(String),
    /// To drop the rule of this number, from 1.
    Remove(usize),
    /// To read the files again.
    Reload,
}

/// What a change came to.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct PolicyChanged {
    /// What was done.
    pub change: PolicyChange,
    /// In one line.
    pub what: String,
    /// How many rules hold now, the platform's aside.
    pub rules: usize,
    /// How many flows it ended.
    pub ended: usize,
    /// What is to be known about it, a line each.
    pub warnings: Vec<String>,
}

/// A rule of a running sandbox.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct PolicyRule {
    /// Its place, from 1; none where it is the platform's and nobody's to change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<usize>,
    /// In one line, as [`Rule::parse`] reads it.
    pub rule: String,
    /// Where it was written.
    pub source: String,
}

/// Why the policy stays as it is.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// It does not hold together, or cannot be read.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The text is no rule.
    #[error("'{}': {cause}", .text.escape_debug())]
    Rule {
        /// The text.
        text: String,
        /// Why not.
        cause: RuleError,
    },
    /// There are fewer rules.
    #[error("there is no rule {0}; `portcullis policy NAME` shows those there are")]
    NoSuchRule(usize),
    /// It comes with a secret.
    #[error(
        "rule {number} comes with secret {secret}; deny its host, or take the secret back with `portcullis secrets`"
    )]
    OfSecret {
        /// The rule.
        number: usize,
        /// The secret.
        secret: String,
    },
    /// It comes with `--observe`.
    #[error(
        "rule {0} comes with --observe; start without --observe to have denied what no rule allows, or deny what is not to be let by"
    )]
    OfObserve(usize),
    /// There are too many.
    #[error("{0} rules were added already (limit live_rules); remove some, or write them into the file")]
    Full(usize),
    /// Nobody said where the configuration comes from.
    #[error("it was started without a file that could be read again")]
    NoFile,
    /// The sandbox has ended.
    #[error("the sandbox has ended")]
    Ended,
}

/// The rules of one sandbox.
pub(super) struct Rules {
    live: Arc<Live>,
    /// What it was started with: its secrets and its floor stay.
    start: Config,
    /// The secrets that the embedder added, and their hosts.
    own: Vec<(String, Vec<SecretHost>)>,
    /// What counts beside [`Rules::front`].
    config: Config,
    /// Put before the others since, the latest first.
    front: Vec<Rule>,
    most: usize,
}

/// What was done, for whoever tells of it.
pub(super) struct Done {
    pub(super) change: PolicyChange,
    pub(super) what: String,
    pub(super) rules: usize,
    pub(super) warnings: Vec<String>,
}

impl Rules {
    pub(super) fn new(
        live: Arc<Live>,
        start: Config,
        own: Vec<(String, Vec<SecretHost>)>,
        most: usize,
    ) -> Self {
        Self { live, config: start.clone(), start, own, front: Vec::new(), most }
    }

    /// All rules: the platform's, then the others in their order.
    pub(super) fn list(policy: &Policy) -> Vec<PolicyRule> {
        let shown = |number, rule: &Rule| PolicyRule {
            number,
            rule: rule.to_string(),
            source: rule.source().to_string(),
        };
        let floors = policy.floors().flatten().map(|rule| {
            let PolicyRule { number, rule, source } = shown(None, rule);
            PolicyRule { number, rule, source: format!("floor, {source}") }
        });
        floors.chain(policy.rules().zip(1..).map(|(rule, number)| shown(Some(number), rule))).collect()
    }

    /// Takes the rules, addresses and hosts passed through of another configuration, and drops what was put before.
    pub(super) fn replace(&mut self, config: Config, change: PolicyChange) -> Result<Done, PolicyError> {
        let mut warnings = match change {
            PolicyChange::Reloaded => restart_needed(&self.start, &config),
            PolicyChange::Replaced | PolicyChange::Rejected => Vec::new(),
        };
        let secrets = self.start.secrets.clone();
        let (upstreams, observe) = (self.start.upstreams.clone(), self.start.observe);
        let config = Config { secrets, upstreams, observe, ..config };
        let dropped = self.front.len();
        let rules = self.put(config, Vec::new())?.rules().count();
        if dropped > 0 {
            warnings.push(format!("{dropped} rules that were put before the others since are gone"));
        }
        warnings.extend(told::lines(&self.config.findings()));
        let what = match change {
            PolicyChange::Reloaded => "the files were read again",
            PolicyChange::Replaced | PolicyChange::Rejected => "the whole policy",
        };
        Ok(Done { change, what: what.to_owned(), rules, warnings })
    }

    /// Puts a rule before all others.
    pub(super) fn add(&mut self, action: Action, text: &str) -> Result<Done, PolicyError> {
        let line = format!("{action} {text}");
        let rule = Rule::parse(&line, RuleSource::Owner);
        let rule = rule.map_err(|cause| PolicyError::Rule { text: line, cause })?;
        let line = rule.to_string();
        let others = self.front.iter().filter(|own| own.to_string() != line).cloned();
        let front: Vec<Rule> = std::iter::once(rule.clone()).chain(others).collect();
        if front.len() > self.most {
            return Err(PolicyError::Full(self.most));
        }
        let old = self.live.current();
        let new = self.put(self.config.clone(), front)?;
        let warnings = told::of_floor(&new, &rule).into_iter().chain(told::since(&old, &new)).collect();
        let (change, what) = (PolicyChange::Replaced, format!("1: {line}"));
        Ok(Done { change, what, rules: new.rules().count(), warnings })
    }

    /// Drops the rule of this number, from 1.
    pub(super) fn remove(&mut self, number: usize) -> Result<Done, PolicyError> {
        let policy = self.live.current();
        let place = number.checked_sub(1).ok_or(PolicyError::NoSuchRule(number))?;
        let rule = policy.rules().nth(place).ok_or(PolicyError::NoSuchRule(number))?;
        let (mut config, mut front) = (self.config.clone(), self.front.clone());
        // In the order in which they make a policy; what is behind the lists, somebody else put there.
        let mut place = place;
        let lists = [&mut front, &mut config.rules, &mut config.allow];
        let list = lists.into_iter().find_map(|list| match place.checked_sub(list.len()) {
            None => Some(list),
            Some(rest) => {
                place = rest;
                None
            }
        });
        match (list, rule.source()) {
            (Some(list), _) => drop(list.remove(place)),
            (None, RuleSource::Secret { name }) => {
                return Err(PolicyError::OfSecret { number, secret: name.clone() });
            }
            (None, RuleSource::Observe) => return Err(PolicyError::OfObserve(number)),
            (
                None,
                RuleSource::Default(_)
                | RuleSource::Owner
                | RuleSource::Flag(_)
                | RuleSource::RuleFlag(_)
                | RuleSource::File { .. }
                | RuleSource::Table(_),
            ) => config.default = None,
        }
        let what = format!("without {rule}");
        let new = self.put(config, front)?;
        let warnings = told::since(&policy, &new);
        Ok(Done { change: PolicyChange::Replaced, what, rules: new.rules().count(), warnings })
    }

    /// Checks all of it, then puts it in place; what holds then.
    ///
    /// A rule that was put first may well contradict those behind it: that is what it is for.
    fn put(&mut self, config: Config, front: Vec<Rule>) -> Result<Arc<Policy>, PolicyError> {
        config.check()?;
        for (name, hosts) in &self.own {
            config.not_passed_through(name, hosts.iter().map(|host| &host.pattern))?;
        }
        self.live.replace(self.policy(&config, &front));
        (self.config, self.front) = (config, front);
        Ok(self.live.current())
    }

    fn policy(&self, config: &Config, front: &[Rule]) -> Policy {
        let mut whole = config.clone();
        whole.rules.splice(..0, front.iter().cloned());
        // Floors are compared by what they say: the same one twice would only cost time.
        let lines = |floor: &[Rule]| floor.iter().map(Rule::to_string).collect::<Vec<_>>();
        let start = self.start.floor.as_deref().map(lines);
        if start.is_some() && whole.floor.as_deref().map(lines) == start {
            whole.floor = None;
        }
        whole.policy_over(self.start.floor.as_deref(), load::implied(&self.own))
    }
}

/// What differs and cannot change while the sandbox runs, a line each.
fn restart_needed(start: &Config, new: &Config) -> Vec<String> {
    // Without a rest: whoever adds a part has to say here which kind it is.
    let Config {
        floor,
        rules: _,
        allow: _,
        default: _,
        secrets,
        connect_to: _,
        upstream_ca,
        passthrough: _,
        nameservers,
        publish,
        upstreams,
        addressing,
        limits,
        observe: _,
    } = new;
    let lines =
        |floor: &Option<Vec<Rule>>| floor.as_deref().map(|rules| rules.iter().map(Rule::to_string).collect());
    let own: Option<Vec<String>> = lines(&start.floor);
    let differing = [
        ("[secrets]", *secrets != start.secrets),
        ("[tls] upstream_ca", *upstream_ca != start.upstream_ca),
        ("[net] nameservers", *nameservers != start.nameservers),
        ("[[upstream]] and proxies", *upstreams != start.upstreams),
        ("published ports", *publish != start.publish),
        ("[net] addresses", *addressing != start.addressing),
        ("[limits]", *limits != start.limits),
    ];
    let differing = differing.into_iter().filter(|(_, differs)| *differs);
    let mut told: Vec<String> =
        differing.map(|(part, _)| format!("{part} changed, which needs a restart")).collect();
    if lines(floor) != own {
        told.push("the floor changed: both hold, and what it allows more needs a restart".to_owned());
    }
    told
}

#[cfg(test)]
mod tests;
