//! The sandbox's end of its control socket.
//!
//! Runs on the sandbox's own thread and never blocks it. Invariant: a peer that is slow, says nonsense or says too
//! much costs at most one of `Limits::control_connections` for `Limits::control_wait`, and for as long as a source may take where
//! it asks for one to be read.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use zeroize::Zeroizing;

use super::endpoint::Endpoint;
use super::peer;
use super::protocol::{Answer, Request, read_request, write_answer};
use crate::limits::Limits;

/// How long no connection is accepted after one could not be: most often descriptors have run out.
const REST: Duration = Duration::from_millis(100);

/// Answers requests until it is dropped; the socket's file goes with it.
pub(crate) async fn serve(
    endpoint: Endpoint,
    limits: Arc<Limits>,
    answer: impl AsyncFn(Request) -> Answer + 'static,
) {
    let name = endpoint.name().clone();
    let Endpoint { file, listener, .. } = endpoint;
    let listener = match UnixListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%name, %error, "no control socket"),
    };
    let _removed_before_the_listener_closes = file;
    let answer = Rc::new(answer);
    let places = Arc::new(Semaphore::new(limits.control_connections));
    let mut conversations = JoinSet::new();
    loop {
        while conversations.try_join_next().is_some() {}
        // The semaphore is never closed.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%name, %error, "control socket");
                sleep(REST).await;
                continue;
            }
        };
        if let Err(stranger) = peer::admit(&stream) {
            tracing::warn!(%name, %stranger, "control socket");
            continue;
        }
        let (answer, limits) = (Rc::clone(&answer), Arc::clone(&limits));
        conversations.spawn_local(async move {
            converse(stream, &limits, &*answer).await;
            drop(place);
        });
    }
}

/// One request and its answer. A peer that says nothing, or does not listen, is let go.
async fn converse(mut stream: UnixStream, limits: &Limits, answer: &impl AsyncFn(Request) -> Answer) {
    let wait = limits.control_wait;
    let talk = async {
        let request = match timeout(wait, hear(&mut stream, limits.control_request)).await? {
            Heard::Request(request) => request,
            Heard::Nonsense(why) => return timeout(wait, say(&mut stream, &Answer::Refused(why))).await,
            Heard::Nothing => return Ok(()),
        };
        let patience = request.patience(limits);
        let told = timeout(patience, answer(request)).await?;
        timeout(wait, say(&mut stream, &told)).await
    };
    if talk.await.is_err() {
        tracing::debug!("a request on the control socket took too long");
    }
}

enum Heard {
    Request(Request),
    Nonsense(String),
    Nothing,
}

async fn hear(stream: &mut UnixStream, most: usize) -> Heard {
    // All that it may be, at once: a buffer that grows leaves its bytes behind, and a value may be among them. With the
    // end of the line one octet more.
    let mut line = Zeroizing::new(vec![0; most.saturating_add(1)]);
    let mut length = 0;
    loop {
        let Some(room) = line.get_mut(length..).filter(|room| !room.is_empty()) else {
            return Heard::Nonsense(format!("a request has at most {most} octets"));
        };
        let read = match stream.read(room).await {
            Ok(0) if length > 0 => {
                return Heard::Nonsense("a request ends with the end of its line".to_owned());
            }
            Ok(0) | Err(_) => return Heard::Nothing,
            Ok(read) => read,
        };
        let new = room.get(..read).unwrap_or_default();
        if let Some(end) = new.iter().position(|octet| *octet == b'\n') {
            let line = line.get(..=length + end).unwrap_or_default();
            return match read_request(line) {
                Ok(request) => Heard::Request(request),
                Err(error) => Heard::Nonsense(error.to_string()),
            };
        }
        length += read;
    }
}

/// An error would say that nobody listens.
async fn say(stream: &mut UnixStream, answer: &Answer) {
    let _ = stream.write_all(&write_answer(answer)).await;
    let _ = stream.shutdown().await;
}
