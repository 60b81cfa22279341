//! Where a sandbox answers what comes over its control socket.
//!
//! It asks the sandbox as any other handle does, by commands, and holds nothing that is secret. Invariant: it keeps no
//! sandbox alive whose owner has let it go.

use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::{Command, GuestEnv};
use crate::control::{self, Answer, Endpoint, Request, SandboxName, Status};
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
    pub(super) async fn serve(self, limits: Arc<Limits>) {
        let (knowledge, started) = (Rc::new(self.knowledge), Instant::now());
        let answer = async move |request| knowledge.answer(request, started).await;
        control::serve(self.endpoint, limits, answer).await;
    }
}

impl Knowledge {
    async fn answer(&self, request: Request, started: Instant) -> Answer {
        match request {
            Request::Status => self.status(started).await,
            Request::Env => Answer::Env(self.variables.clone()),
            Request::Ca => Answer::Ca(self.ca_pem.clone()),
        }
    }

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
