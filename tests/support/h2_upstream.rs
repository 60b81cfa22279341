//! An h2 upstream that records what it is asked.

use std::cell::RefCell;
use std::rc::Rc;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use tokio::io::DuplexStream;
use tokio::task::spawn_local;

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) head: http::request::Parts,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: HeaderMap,
    /// Whether it came to its end.
    pub(crate) is_whole: bool,
}

/// What came.
pub(crate) type Record = Rc<RefCell<Vec<Seen>>>;

/// Answers each whole request with 200 and `ok` until the connection ends.
pub(crate) async fn serve(stream: DuplexStream, record: Record) {
    let Ok(mut conn) = h2::server::handshake(stream).await else { return };
    while let Some(Ok((request, mut respond))) = conn.accept().await {
        let record = Rc::clone(&record);
        spawn_local(async move {
            if receive(request, &record).await.is_some() {
                let response = Response::new(());
                let mut body = respond.send_response(response, false).unwrap();
                body.send_data(Bytes::from_static(b"ok"), true).unwrap();
            }
        });
    }
}

async fn receive(request: Request<h2::RecvStream>, record: &Record) -> Option<()> {
    let (head, mut body) = request.into_parts();
    let at = record.borrow().len();
    record.borrow_mut().push(Seen { head, body: Vec::new(), trailers: HeaderMap::new(), is_whole: false });
    while let Some(data) = body.data().await {
        let data = data.ok()?;
        let _ = body.flow_control().release_capacity(data.len());
        record.borrow_mut()[at].body.extend_from_slice(&data);
    }
    let trailers = body.trailers().await.ok()?;
    let seen = &mut record.borrow_mut()[at];
    seen.trailers = trailers.unwrap_or_default();
    seen.is_whole = true;
    Some(())
}
