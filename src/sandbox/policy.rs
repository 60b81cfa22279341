//! What a running sandbox lets its owner do with its policy.
//!
//! Each change is made whole on the sandbox's thread, or not at all. Invariant: when a call has returned, new flows are
//! judged by the new policy, and those that it does not allow are served no longer.

use tokio::sync::oneshot;

use super::governor::Change;
use super::rules::{Edit, PolicyChanged, PolicyError, PolicyRule, Rules};
use super::{Command, Sandbox};
use crate::config::Config;

impl Sandbox {
    /// The rules that hold now: the platform's, then the others in their order.
    #[must_use]
    pub fn policy(&self) -> Vec<PolicyRule> {
        Rules::list(&self.policy.current())
    }

    /// Exchanges the policy for that of `config`: its rules, its default, `--connect-to` and the hosts passed through.
    /// Rules that were put before the others since are gone. The sandbox's secrets stay, with the leave that comes with
    /// them; a floor is added to the one that it was started with, which no change lifts.
    ///
    /// # Errors
    /// It contradicts itself, or passes a host of a secret through; nothing has changed then.
    pub async fn set_policy(&self, config: &Config) -> Result<PolicyChanged, PolicyError> {
        self.change(Change::Replace(Box::new(config.clone()))).await
    }

    /// Puts a rule before all others, which allows what `rule` says:
    /// `[DIRECTION] [METHOD,METHOD] DESTINATION[:PORTS][/PROTOCOL] [PATH]...`, as in [`Rule::parse`].
    ///
    /// # Errors
    /// The text is no rule, or there are `Limits::live_rules` already.
    ///
    /// [`Rule::parse`]: crate::policy::Rule::parse
    pub async fn allow(&self, rule: &str) -> Result<PolicyChanged, PolicyError> {
        self.change(Change::Edit(Edit::Allow(rule.to_owned()))).await
    }

    /// The same for a rule that denies. Flows that it is about end.
    ///
    /// # Errors
    /// As for [`Sandbox::allow`].
    pub async fn deny(&self, rule: &str) -> Result<PolicyChanged, PolicyError> {
        self.change(Change::Edit(Edit::Deny(rule.to_owned()))).await
    }

    /// Reads the configuration again by [`Builder::reload`](super::Builder::reload), and takes its policy as
    /// [`Sandbox::set_policy`] does. What else differs needs a restart, and is told among the warnings.
    ///
    /// # Errors
    /// It cannot be read or contradicts itself, or nobody said where it comes from; nothing has changed then.
    pub async fn reload(&self) -> Result<PolicyChanged, PolicyError> {
        self.change(Change::Edit(Edit::Reload)).await
    }

    async fn change(&self, change: Change) -> Result<PolicyChanged, PolicyError> {
        let (reply, changed) = oneshot::channel();
        self.commands.send(Command::Policy(change, reply)).await.map_err(|_| PolicyError::Ended)?;
        changed.await.map_err(|_| PolicyError::Ended)?
    }
}
