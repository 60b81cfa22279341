//! DNS over a guest's connection: TCP, or TLS in it.
//!
//! Shell: messages with their length in front, many in flight, each answered when its answer is there
//! ([RFC 7766 §6.2.1.1](https://www.rfc-editor.org/rfc/rfc7766#section-6.2.1.1),
//! [RFC 7858 §3.3](https://www.rfc-editor.org/rfc/rfc7858#section-3.3)). Invariant: at most [`Limits::dns_pipelined`]
//! questions of a connection are in flight, a guest that sends without reading is held back by its own window, and all
//! connections together hold no more than [`Limits::dns_stream_memory`].

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::Poll;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, WriteHalf};
use tokio::time::{Instant, sleep_until};

#[cfg(doc)]
use crate::limits::Limits;

use super::framing::{Buffer, Framing};
use super::room::Full;
use super::{Resolver, Transport};

impl Resolver {
    /// Serves a connection until the guest ends it, is idle for too long, or sends what has no answer.
    pub async fn serve<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S) -> io::Result<()> {
        let limits = self.limits();
        let (mut reader, writer) = tokio::io::split(stream);
        let mut sending = Sending { writer, out: Buffer::default(), unflushed: false };
        let mut framing = Framing::new(limits.dns_query);
        let mut part = self.streams.part();
        let mut answers = Answers(Vec::new());
        let mut open = true;
        let mut last = Instant::now();
        loop {
            while answers.0.len() < limits.dns_pipelined && sending.out.len() < limits.dns_message {
                let Ok(taken) = framing.take() else {
                    open = false;
                    break;
                };
                let Some(query) = taken else { break };
                last = Instant::now();
                answers.0.push(Box::pin(async move { self.answer(&query, Transport::Tcp).await }));
            }
            if let Err(Full) = part.hold(framing.held() + sending.out.held()) {
                self.count(|counts| counts.crowded += 1);
                return Err(io::ErrorKind::OutOfMemory.into());
            }
            let waiting = !answers.0.is_empty();
            if !open && !waiting && !sending.is_due() {
                return sending.writer.shutdown().await;
            }
            let room = answers.0.len() < limits.dns_pipelined && sending.out.len() < limits.dns_message;
            tokio::select! {
                biased;
                answer = answers.next(), if waiting => {
                    last = Instant::now();
                    if answer.is_empty() {
                        open = false;
                        framing.buffer().clear();
                    } else {
                        sending.out.put(&answer);
                    }
                }
                sent = sending.go_on(), if sending.is_due() => {
                    sent?;
                    last = Instant::now();
                }
                read = reader.read_buf(framing.buffer()), if open && room => open = read? > 0,
                () = sleep_until(last + limits.dns_tcp_idle) => match (waiting, sending.is_due()) {
                    (true, _) => last = Instant::now(),
                    (false, true) => return Err(io::ErrorKind::TimedOut.into()),
                    (false, false) => open = false,
                },
            }
        }
    }
}

/// Answers that are not there yet; each waits for a bounded time only.
struct Answers<'a>(Vec<Pin<Box<dyn Future<Output = Vec<u8>> + 'a>>>);

impl Answers<'_> {
    /// The first to be there.
    async fn next(&mut self) -> Vec<u8> {
        poll_fn(|cx| {
            let there =
                self.0.iter_mut().enumerate().find_map(|(at, answer)| match answer.as_mut().poll(cx) {
                    Poll::Ready(answer) => Some((at, answer)),
                    Poll::Pending => None,
                });
            let Some((at, answer)) = there else { return Poll::Pending };
            drop(self.0.remove(at));
            Poll::Ready(answer)
        })
        .await
    }
}

/// What goes to the guest.
struct Sending<S> {
    writer: WriteHalf<S>,
    out: Buffer,
    unflushed: bool,
}

impl<S: AsyncWrite + Unpin> Sending<S> {
    fn is_due(&self) -> bool {
        self.unflushed || !self.out.is_empty()
    }

    /// One step; it may be given up and begun again.
    async fn go_on(&mut self) -> io::Result<()> {
        if self.out.is_empty() {
            self.writer.flush().await?;
            self.unflushed = false;
            return Ok(());
        }
        self.unflushed = true;
        if self.writer.write_buf(self.out.octets()).await? == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.out.release();
        Ok(())
    }
}
