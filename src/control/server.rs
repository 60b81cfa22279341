//! The sandbox's end of its control socket.
//!
//! Runs on the sandbox's own thread and never blocks it. Invariant: a peer that is slow, says nonsense or says too
//! much costs at most one of `Limits::control_connections` for `Limits::control_wait`.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

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
            let talk = converse(stream, limits.control_request, &*answer);
            if timeout(limits.control_wait, talk).await.is_err() {
                tracing::debug!("a request on the control socket took too long");
            }
            drop(place);
        });
    }
}

/// One request and its answer. A peer that says nothing, or does not listen, is let go.
async fn converse(mut stream: UnixStream, most: usize, answer: &impl AsyncFn(Request) -> Answer) {
    let (read, mut write) = stream.split();
    let mut line = Vec::new();
    let bound = u64::try_from(most).unwrap_or(u64::MAX);
    // With the end of the line one octet more.
    let mut bounded = BufReader::new(read.take(bound.saturating_add(1)));
    let told = match bounded.read_until(b'\n', &mut line).await {
        Ok(0) | Err(_) => return,
        Ok(_) if line.last() == Some(&b'\n') => match read_request(&line) {
            Ok(request) => answer(request).await,
            Err(error) => Answer::Refused(error.to_string()),
        },
        Ok(read) if read > most => Answer::Refused(format!("a request has at most {most} octets")),
        Ok(_) => Answer::Refused("a request ends with the end of its line".to_owned()),
    };
    // An error says that nobody listens.
    let _ = write.write_all(&write_answer(&told)).await;
    let _ = write.shutdown().await;
}
