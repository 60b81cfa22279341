//! The task of one secret: when its source is read, and what comes of it.
//!
//! It injects nothing and knows no request. Invariant: a value is live only until its end, also while its source is
//! being read.

use std::path::PathBuf;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use super::world::World;
use super::{Ask, Keeper};
use crate::audit::SecretChange;
use crate::limits::Limits;
use crate::secret::{Hand, Loaded, RotateError, Rotation, SecretState, Source, SourceError, Stamp};

/// One secret on the sandbox's thread.
pub(super) struct Tender {
    keeper: Keeper,
    name: String,
    source: Source,
    limits: Arc<Limits>,
    /// When the source is to be read next, by itself.
    next: Option<Instant>,
    /// Tries that failed since the last one that did not.
    failures: u32,
    /// What was last wrong: it is told once.
    told: Option<String>,
}

impl Tender {
    pub(super) fn new(keeper: Keeper, name: String, source: Source, limits: Arc<Limits>) -> Self {
        Self { keeper, name, source, limits, next: None, failures: 0, told: None }
    }

    /// Tends it for as long as somebody could ask for it.
    pub(super) async fn tend(mut self, world: Rc<World>, mut asked: mpsc::Receiver<Ask>) {
        let mut file = self.source.file().map(|path| Watched::new(path.to_owned()));
        self.next = self.life(&world).map(|life| self.before_the_end(life));
        loop {
            let (end, next) = (self.end(), self.next);
            let mut waiting = Vec::new();
            tokio::select! {
                ask = asked.recv() => match ask {
                    Some(ask) => waiting.push(ask),
                    None => return,
                },
                () = reach(&world, end, &self.limits) => {
                    self.expire(&world);
                    // Where tries have failed already, or one was just now, the next has its time.
                    let soon = Instant::now() + self.limits.source_retry;
                    if self.failures > 0 || self.next.is_some_and(|next| next <= soon) {
                        continue;
                    }
                }
                () = until(next) => {}
                () = changed(&mut file, &world, &self.limits) => {}
            }
            // What was asked for while it was read before is answered by one more reading, for all.
            while let Ok(ask) = asked.try_recv() {
                waiting.push(ask);
            }
            let hand = if waiting.is_empty() { Hand::Source } else { Hand::Owner };
            if hand == Hand::Source && self.is_revoked() {
                self.next = None;
                continue;
            }
            let Some(outcome) = self.load(&world).await else { return };
            let answer = self.take(outcome, hand, &world);
            for ask in waiting {
                // Who asked may have gone.
                let _ = ask.send(answer.clone());
            }
        }
    }

    /// Reads the source, and sees the value's end come meanwhile.
    async fn load(&self, world: &World) -> Option<Result<Loaded, SourceError>> {
        let mut loading = pin!((world.load)(self.source.clone()));
        loop {
            let end = self.end();
            tokio::select! {
                outcome = &mut loading => return outcome,
                () = reach(world, end, &self.limits) => self.expire(world),
            }
        }
    }

    /// Takes what a source gave.
    fn take(
        &mut self,
        outcome: Result<Loaded, SourceError>,
        hand: Hand,
        world: &World,
    ) -> Result<Rotation, String> {
        let given = outcome.map_err(|error| error.to_string()).and_then(|loaded| {
            let rotated = self.keeper.secrets.rotate(&self.name, loaded, hand, (world.clock)());
            match rotated {
                // Revoked in the meantime: nothing is wrong with the source.
                Err(RotateError::Revoked { .. }) => Ok(Rotation::Same),
                rotated => rotated.map_err(|error| error.to_string()),
            }
        });
        match given {
            Ok(rotation) => {
                self.failures = 0;
                self.told = None;
                self.next = self.life(world).map(|life| self.before_the_end(life));
                match rotation {
                    Rotation::Replaced => {
                        self.keeper.tell(&self.name, SecretChange::Rotated, format!("by {}", self.source));
                    }
                    Rotation::Same => {
                        tracing::debug!(secret = self.name, "its source gives the value it has")
                    }
                }
                Ok(rotation)
            }
            Err(why) => {
                self.failures = self.failures.saturating_add(1);
                // A file is read again when it has changed, and not before it is whole.
                self.next = self.source.file().is_none().then(|| Instant::now() + self.rest());
                if self.told.as_ref() != Some(&why) {
                    self.keeper.tell(&self.name, SecretChange::Unavailable, why.clone());
                    self.told = Some(why.clone());
                }
                Err(why)
            }
        }
    }

    fn expire(&self, world: &World) {
        if self.keeper.secrets.expire(&self.name, (world.clock)()) {
            let reason = format!("{} gave no other value in time", self.source);
            self.keeper.tell(&self.name, SecretChange::Expired, reason);
        }
    }

    /// When a value that is live is so no longer.
    fn end(&self) -> Option<SystemTime> {
        let status = self.keeper.secrets.status(&self.name)?;
        status.expires.filter(|_| status.state == SecretState::Live)
    }

    /// How long that is from now.
    fn life(&self, world: &World) -> Option<Duration> {
        self.end().map(|end| end.duration_since((world.clock)()).unwrap_or_default())
    }

    fn is_revoked(&self) -> bool {
        self.keeper.secrets.status(&self.name).is_none_or(|status| status.state == SecretState::Revoked)
    }

    /// When to read the source again, for a value that lives so long.
    fn before_the_end(&self, life: Duration) -> Instant {
        let margin = self.limits.source_margin.min(life / 2);
        Instant::now() + life.saturating_sub(margin).max(self.limits.source_retry)
    }

    /// How long not to try again.
    fn rest(&self) -> Duration {
        let doubled = 1_u32.checked_shl(self.failures.saturating_sub(1)).unwrap_or(u32::MAX);
        self.limits.source_retry.saturating_mul(doubled).min(self.limits.source_rest)
    }
}

async fn reach(world: &World, moment: Option<SystemTime>, limits: &Limits) {
    match moment {
        Some(moment) => world.reach(moment, limits.source_recheck).await,
        None => std::future::pending().await,
    }
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

async fn changed(file: &mut Option<Watched>, world: &World, limits: &Limits) {
    match file {
        Some(file) => file.changed(world, limits.source_poll).await,
        None => std::future::pending().await,
    }
}

/// A file as it was when it was last read.
struct Watched {
    path: PathBuf,
    /// `None` before it was read by this task, so that what was written while the sandbox started is not missed.
    read: Option<Option<Stamp>>,
}

impl Watched {
    fn new(path: PathBuf) -> Self {
        Self { path, read: None }
    }

    /// Waits until the file is another than it was, and has been left alone from one look to the next: half of it is
    /// not read, and no later change bears the same time.
    async fn changed(&mut self, world: &World, poll: Duration) {
        let mut last = None;
        loop {
            sleep(poll).await;
            let now = Some((world.stamp)(self.path.clone()).await);
            if now == self.read {
                last = None;
            } else if now == last {
                self.read = now;
                return;
            } else {
                last = now;
            }
        }
    }
}
