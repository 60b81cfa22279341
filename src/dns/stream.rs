//! DNS over a guest's TCP connection.
//!
//! Shell: messages with their length in front ([RFC 7766]), any number, answered in order. Invariant: at most one
//! message of a connection is held at a time, so a guest that sends without reading is held back by its own window.
//!
//! [RFC 7766]: https://www.rfc-editor.org/rfc/rfc7766

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::{Resolver, Transport};

impl Resolver {
    /// Serves a connection until the guest ends it, is idle for too long, or sends what has no answer.
    pub async fn serve<S: AsyncRead + AsyncWrite + Unpin>(&self, mut stream: S) -> io::Result<()> {
        let idle = self.limits().dns_tcp_idle;
        while let Ok(Ok(query)) = timeout(idle, read_message(&mut stream)).await {
            let answer = self.answer(&query, Transport::Tcp).await;
            let Some(length) = u16::try_from(answer.len()).ok().filter(|length| *length > 0) else {
                break;
            };
            let message = [&length.to_be_bytes(), answer.as_slice()].concat();
            let Ok(sent) = timeout(idle, stream.write_all(&message)).await else {
                return Err(io::ErrorKind::TimedOut.into());
            };
            sent?;
        }
        stream.shutdown().await
    }
}

async fn read_message(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let length = stream.read_u16().await?;
    let mut message = vec![0; usize::from(length)];
    stream.read_exact(&mut message).await?;
    Ok(message)
}
