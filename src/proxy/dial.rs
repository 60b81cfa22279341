//! Reaches an upstream over the addresses that policy permitted.
//!
//! It never resolves and never judges: it spends [`Permit`]s. A later address is tried while an earlier one
//! is slow ([RFC 8305 §5](https://www.rfc-editor.org/rfc/rfc8305#section-5)); the first to connect wins.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::machine;
use crate::policy::{Dial, Dialled, Dialling, Permit};

/// The "Connection Attempt Delay" of RFC 8305 §5.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Dials by the host's own TCP.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct HostDial;

impl Dial for HostDial {
    fn dial(&self, permit: Permit) -> Dialling<'_> {
        Box::pin(async move {
            machine::refuse_own(permit.addr().ip(), permit.machine())?;
            let stream = TcpStream::connect(permit.addr()).await?;
            stream.set_nodelay(true)?;
            rustix::net::sockopt::set_socket_keepalive(&stream, true)?;
            Ok(Dialled::new(stream, permit))
        })
    }
}

/// Connects to the first of `permits` that answers, all of them together within `limit`.
pub(super) async fn dial_any(
    dial: &Rc<dyn Dial>,
    permits: Vec<Permit>,
    limit: Duration,
) -> io::Result<Dialled> {
    let attempts = permits.into_iter().map(|permit| dial.dial(permit));
    let race = race(attempts, io::ErrorKind::AddrNotAvailable.into(), |_| true);
    timeout(limit, race).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// One way to connect, under way.
pub(super) type Attempt<'a, T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + 'a>>;

/// The first of `attempts` to succeed. After a failure that `goes_on` the next one is begun at once; the last failure
/// is told, or `nothing` where there was no attempt.
pub(super) async fn race<'a, T, E>(
    mut attempts: impl ExactSizeIterator<Item = Attempt<'a, T, E>>,
    nothing: E,
    goes_on: impl Fn(&E) -> bool,
) -> Result<T, E> {
    let mut last = nothing;
    let mut running: Vec<Attempt<'_, T, E>> = Vec::new();
    loop {
        match attempts.next() {
            Some(attempt) => running.push(attempt),
            None if running.is_empty() => return Err(last),
            None => {}
        }
        let more = attempts.len() > 0;
        tokio::select! {
            ended = first(&mut running), if !running.is_empty() => match ended {
                Ok(connected) => return Ok(connected),
                Err(error) if !goes_on(&error) => return Err(error),
                Err(error) => last = error,
            },
            () = sleep(ATTEMPT_DELAY), if more => {}
        }
    }
}

/// The result of the first attempt to end, which is one of them no longer.
///
/// All of them are polled by the task that waits: an attempt is no more than a socket, and no task is spawned
/// and no waker made for a connection that needs only one.
async fn first<T, E>(running: &mut Vec<Attempt<'_, T, E>>) -> Result<T, E> {
    poll_fn(|cx| {
        let ended =
            running.iter_mut().enumerate().find_map(|(at, attempt)| match attempt.as_mut().poll(cx) {
                Poll::Ready(result) => Some((at, result)),
                Poll::Pending => None,
            });
        let Some((at, result)) = ended else { return Poll::Pending };
        drop(running.swap_remove(at));
        Poll::Ready(result)
    })
    .await
}

#[cfg(test)]
mod tests;
