//! Keeps the values of secrets as good as their sources are.
//!
//! Each secret that comes from a source has one task, which is the only one ever to read that source: at the end of its
//! value, when its file changes, or when somebody asks. Invariant: a source is read by one at a time, and what goes
//! wrong leaves the last good value in use for as long as it is good, and no longer.

mod tend;
mod world;

use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use self::tend::Tender;
use self::world::World;
use crate::audit::{Audit, Event, SecretChange};
use crate::limits::Limits;
use crate::secret::{Hand, RotateError, Rotation, SecretStatus, SecretValue, Secrets, Source};
use crate::tls;

/// A secret, and where its values come from.
pub(super) struct Kept {
    pub(super) name: String,
    pub(super) source: Source,
}

/// The secrets of a sandbox, and where what becomes of them is recorded.
#[derive(Clone)]
pub(super) struct Keeper {
    pub(super) secrets: Arc<Secrets>,
    pub(super) audit: Rc<Audit>,
}

/// Asks for a source to be read now; answered in one line.
type Ask = oneshot::Sender<Result<Rotation, String>>;

impl Keeper {
    /// Begins to keep these. Their tasks end with the [`Keeping`] and with the runtime, whichever is first.
    pub(super) fn keep(
        self,
        kept: Vec<Kept>,
        notices: mpsc::Receiver<Event>,
        limits: &Arc<Limits>,
    ) -> io::Result<Keeping> {
        if !self.secrets.are_locked() {
            tracing::debug!(
                "the system does not let secrets be locked in memory (ulimit -l); they may be swapped out"
            );
        }
        tokio::task::spawn_local(record(Rc::clone(&self.audit), notices));
        let world = Rc::new(World::real(Arc::clone(limits))?);
        Ok(self.keep_in(&world, kept, limits))
    }

    fn keep_in(self, world: &Rc<World>, kept: Vec<Kept>, limits: &Arc<Limits>) -> Keeping {
        let tend = |Kept { name, source }| {
            let (asks, asked) = mpsc::channel(limits.control_connections);
            let keeper = self.clone();
            let tender = Tender::new(keeper, name.clone(), source.clone(), Arc::clone(limits));
            tokio::task::spawn_local(tender.tend(Rc::clone(world), asked));
            (name, Asked { source, asks })
        };
        let asked = kept.into_iter().map(tend).collect();
        Keeping { keeper: self, asked }
    }

    /// Records and logs what became of a secret.
    fn tell(&self, name: &str, change: SecretChange, reason: String) {
        match change {
            SecretChange::Rotated | SecretChange::Revoked => {
                tracing::info!(secret = name, ?change, reason, "secret")
            }
            SecretChange::Expired | SecretChange::Unavailable => {
                tracing::warn!(secret = name, ?change, reason, "secret");
            }
        }
        self.audit.record(event(name, change, reason));
    }
}

/// The record of what became of a secret.
pub(super) fn event(name: &str, change: SecretChange, reason: String) -> Event {
    Event::Secret { secret: name.to_owned(), change, reason }
}

/// Puts what others did on record.
async fn record(audit: Rc<Audit>, mut notices: mpsc::Receiver<Event>) {
    while let Some(event) = notices.recv().await {
        audit.record(event);
    }
}

/// Secrets that are kept, for whoever asks about them.
pub(super) struct Keeping {
    keeper: Keeper,
    asked: HashMap<String, Asked>,
}

struct Asked {
    source: Source,
    asks: mpsc::Sender<Ask>,
}

impl Keeping {
    pub(super) fn list(&self) -> Vec<SecretStatus> {
        self.keeper.secrets.list()
    }

    /// Gives a secret the value that its source has now.
    pub(super) async fn refresh(&self, name: &str) -> Result<Rotation, String> {
        let Some(Asked { source, asks }) = self.asked.get(name) else {
            return Err(match self.keeper.secrets.status(name) {
                Some(_) => format!("secret {name} has no source to read; give it a value with --stdin"),
                None => RotateError::Unknown.to_string(),
            });
        };
        if let Source::Env(variable) = source {
            return Err(format!(
                "secret {name} comes from {source}, and the environment of a running process does not change: give it \
                 a value with --stdin, or start with from = \"file:///PATH\" in place of variable {variable}"
            ));
        }
        let ending = |()| "the sandbox is ending".to_owned();
        let (ask, answer) = oneshot::channel();
        asks.send(ask).await.map_err(|_| ending(()))?;
        answer.await.map_err(|_| ending(()))?
    }

    pub(super) fn rotate(&self, name: &str, value: SecretValue) -> Result<Rotation, RotateError> {
        let rotation = self.keeper.secrets.rotate(name, value, Hand::Owner, tls::wall_clock())?;
        match rotation {
            Rotation::Replaced => self.keeper.tell(name, SecretChange::Rotated, String::new()),
            Rotation::Same => {}
        }
        Ok(rotation)
    }

    pub(super) fn revoke(&self, name: &str) -> Result<(), RotateError> {
        self.keeper.secrets.revoke(name)?;
        self.keeper.tell(name, SecretChange::Revoked, String::new());
        Ok(())
    }
}

#[cfg(test)]
mod tests;
