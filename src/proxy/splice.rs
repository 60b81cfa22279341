//! Relays bytes without looking inside, both ways at once.
//!
//! The guest's rings are lent to the kernel's `read` and `write`, so that no byte is copied in between.
//! Invariant: neither direction ever waits for the other.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;

use crate::net;
use crate::upstream::Stream;

/// Relays until both directions have ended, or either side fails.
///
/// A clean end is passed on as a half-close. An error ends both, with a reset: the guest's side by its
/// drop, the upstream's by a close that does not linger.
/// `budget` is how many bytes one direction moves before others get their turn.
pub(super) async fn splice(
    mut guest: net::TcpStream,
    upstream: &mut Stream,
    budget: usize,
) -> io::Result<()> {
    let (mut up, mut down) = (Direction::Open, Direction::Open);
    let ended = poll_fn(|cx| {
        let up_result = up.poll(cx, |cx| poll_up(cx, &mut guest, upstream, budget));
        if let Poll::Ready(Err(error)) = up_result {
            return Poll::Ready(Err(error));
        }
        ready!(down.poll(cx, |cx| poll_down(cx, &mut guest, upstream, budget)))?;
        up_result
    })
    .await;
    if ended.is_err() {
        // A socket that is broken already can refuse this.
        let _ = upstream.reset_on_drop();
    }
    ended
}

enum Direction {
    Open,
    Ended,
}

impl Direction {
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        relay: impl FnOnce(&mut Context<'_>) -> Poll<io::Result<()>>,
    ) -> Poll<io::Result<()>> {
        match self {
            Self::Ended => Poll::Ready(Ok(())),
            Self::Open => {
                ready!(relay(cx))?;
                *self = Self::Ended;
                Poll::Ready(Ok(()))
            }
        }
    }
}

/// Guest to upstream, until the guest's FIN.
fn poll_up(
    cx: &mut Context<'_>,
    guest: &mut net::TcpStream,
    upstream: &mut Stream,
    budget: usize,
) -> Poll<io::Result<()>> {
    let (mut moved, waker) = (0, cx.waker());
    while moved < budget {
        let write = |ring: &[u8]| upstream.try_write(&mut Context::from_waker(waker), ring);
        let Poll::Ready(drained) = guest.poll_drain(cx, write) else {
            // Inside of a proxy's TLS, what was written may not be on its way yet.
            ready!(Pin::new(upstream).poll_flush(cx))?;
            return Poll::Pending;
        };
        match drained {
            Ok(0) => return Pin::new(upstream).poll_shutdown(cx),
            Ok(count) => moved += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
            Err(error) => return Poll::Ready(Err(error)),
        }
    }
    cx.waker().wake_by_ref();
    Poll::Pending
}

/// Upstream to guest, until the upstream's FIN.
fn poll_down(
    cx: &mut Context<'_>,
    guest: &mut net::TcpStream,
    upstream: &mut Stream,
    budget: usize,
) -> Poll<io::Result<()>> {
    let (mut moved, waker) = (0, cx.waker());
    while moved < budget {
        let read = |ring: &mut [u8]| upstream.try_read(&mut Context::from_waker(waker), ring);
        match ready!(guest.poll_fill(cx, read)) {
            Ok(0) => return Pin::new(guest).poll_shutdown(cx),
            Ok(count) => moved += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
            Err(error) => return Poll::Ready(Err(error)),
        }
    }
    cx.waker().wake_by_ref();
    Poll::Pending
}
