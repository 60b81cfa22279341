//! Changes of the policy on the sandbox's thread: made, followed up in live flows, and recorded.
//!
//! What the rules come to is [`super::rules`]'s. Invariant: whoever asked is answered when the flows that are no longer
//! allowed have been ended.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use tokio::task::spawn_blocking;

use super::rules::{Done, Edit, PolicyChanged, PolicyError, PolicyRule, Reload, Rules};
use crate::audit::{Event, PolicyChange, clip};
use crate::config::Config;
use crate::policy::Action;
use crate::proxy::Context;

/// The policy of one sandbox.
pub(super) struct Governor {
    rules: RefCell<Rules>,
    reload: Option<Arc<Reload>>,
    context: Rc<Context>,
}

/// What a handle wants done.
pub(super) enum Change {
    Edit(Edit),
    Replace(Box<Config>),
}

impl Governor {
    pub(super) fn new(rules: Rules, reload: Option<Arc<Reload>>, context: Rc<Context>) -> Self {
        Self { rules: RefCell::new(rules), reload, context }
    }

    pub(super) fn list(&self) -> Vec<PolicyRule> {
        Rules::list(&self.context.policy.current())
    }

    /// Does it whole, or not at all.
    pub(super) async fn change(&self, change: Change) -> Result<PolicyChanged, PolicyError> {
        let is_reload = matches!(change, Change::Edit(Edit::Reload));
        match self.make(change).await {
            Ok(done) => Ok(self.follow_up(done)),
            Err(error) => {
                let reason = error.to_string();
                if is_reload {
                    tracing::error!(reason, "the policy is not reloaded and stays as it was");
                } else {
                    tracing::warn!(reason, "the policy stays as it was");
                }
                let rules = self.context.policy.current().rules().count();
                let change = PolicyChange::Rejected;
                self.context.audit.record(Event::Policy { change, reason: clip(&reason), rules, ended: 0 });
                Err(error)
            }
        }
    }

    async fn make(&self, change: Change) -> Result<Done, PolicyError> {
        match change {
            Change::Replace(config) => self.rules.borrow_mut().replace(*config, PolicyChange::Replaced),
            Change::Edit(Edit::Allow(text)) => self.rules.borrow_mut().add(Action::Allow, &text),
            Change::Edit(Edit::Deny(text)) => self.rules.borrow_mut().add(Action::Deny, &text),
            Change::Edit(Edit::Remove(number)) => self.rules.borrow_mut().remove(number),
            Change::Edit(Edit::Reload) => {
                let reload = self.reload.clone().ok_or(PolicyError::NoFile)?;
                let config = spawn_blocking(move || reload()).await.map_err(|_| PolicyError::Ended)??;
                self.rules.borrow_mut().replace(config, PolicyChange::Reloaded)
            }
        }
    }

    /// Ends what is no longer allowed, and tells of it.
    fn follow_up(&self, done: Done) -> PolicyChanged {
        let ended = self.context.policy_changed();
        let Done { change, what, rules, warnings } = done;
        for warning in &warnings {
            tracing::warn!(warning, "policy");
        }
        tracing::info!(?change, what, rules, ended, "policy");
        self.context.audit.record(Event::Policy { change, reason: clip(&what), rules, ended });
        PolicyChanged { change, what, rules, ended, warnings }
    }
}
