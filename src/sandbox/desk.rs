//! Where a sandbox answers what comes over its control socket.
//!
//! It asks the sandbox as any other handle does, by commands, and keeps nothing that is secret. Invariant: it keeps no
//! sandbox alive whose owner has let it go.

use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::governor::{Change, Governor};
use super::keeper::Keeping;
use super::{Command, GuestEnv};
use crate::audit::Audit;
use crate::control::{self, Answer, Endpoint, NewValue, Request, SandboxName, Status};
use crate::limits::Limits;

/// A control socket, and what is known without asking.
pub(super) struct Desk {
    endpoint: Endpoint,
    knowledge: Knowledge,
}

struct Knowledge {
    name: SandboxName,
    commands: mpsc::WeakSender<Command>,
    variables: Vec<(String, String)>,
    ca_pem: String,
}

impl Desk {
    pub(super) fn new(
        endpoint: Endpoint,
        commands: mpsc::WeakSender<Command>,
        env: &GuestEnv,
        ca_pem: &str,
    ) -> Self {
        let name = endpoint.name().clone();
        let (variables, ca_pem) = (env.variables(), ca_pem.to_owned());
        Self { endpoint, knowledge: Knowledge { name, commands, variables, ca_pem } }
    }

    /// Answers until it is dropped.
    pub(super) async fn serve(self, limits: Arc<Limits>, parts: (Rc<Keeping>, Rc<Governor>, Rc<Audit>)) {
        let (keeping, governor, audit) = parts;
        let (knowledge, started) = (Rc::new(self.knowledge), Instant::now());
        let answer = async move |request| match request {
            Request::Status => knowledge.status(started).await,
            Request::Env => Answer::Env(knowledge.variables.clone()),
            Request::Ca => Answer::Ca(knowledge.ca_pem.clone()),
            Request::Explain { id } => Answer::Denial(audit.denial(&id).map(Box::new)),
            Request::Secrets => Answer::Secrets(keeping.list()),
            Request::Rotate { secret, value } => rotate(&keeping, &secret, value).await,
            Request::Policy => Answer::Policy(governor.list()),
            Request::ChangePolicy(edit) => match governor.change(Change::Edit(edit)).await {
                Ok(changed) => Answer::PolicyChanged(changed),
                Err(error) => Answer::Refused(error.to_string()),
            },
            Request::Revoke { secret } => match keeping.revoke(&secret) {
                Ok(()) => Answer::Revoked,
                Err(error) => Answer::Refused(error.to_string()),
            },
        };
        control::serve(self.endpoint, limits, answer).await;
    }
}

/// Gives a secret the value that was sent, or else the one that its source has now.
async fn rotate(keeping: &Keeping, secret: &str, value: Option<NewValue>) -> Answer {
    let rotation = match value.map(NewValue::into_value) {
        Some(Ok(value)) => keeping.rotate(secret, value).map_err(|error| error.to_string()),
        Some(Err(error)) => Err(format!("the new value {error}")),
        None => keeping.refresh(secret).await,
    };
    match rotation {
        Ok(rotation) => Answer::Rotated(rotation),
        Err(why) => Answer::Refused(why),
    }
}

impl Knowledge {
    async fn status(&self, started: Instant) -> Answer {
        let ending = || Answer::Refused("it is ending".to_owned());
        let Some(commands) = self.commands.upgrade() else { return ending() };
        let (reply, stats) = oneshot::channel();
        if commands.send(Command::Stats(reply)).await.is_err() {
            return ending();
        }
        drop(commands);
        let Ok(stats) = stats.await else { return ending() };
        Answer::Status(Box::new(Status {
            name: self.name.clone(),
            pid: std::process::id(),
            program: env!("CARGO_PKG_VERSION").to_owned(),
            up_seconds: started.elapsed().as_secs(),
            stats,
        }))
    }
}
