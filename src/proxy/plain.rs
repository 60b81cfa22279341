//! A flow that speaks HTTP without TLS: the rules are the same, and a secret never goes there.

use std::io;

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncReadExt as _;
use tokio::time::timeout;

use super::flow::{Flow, Served, Told};
use crate::audit::FlowKind;
use crate::http::{self, Refusal, Upstream};
use crate::name::{Authority, Host, HostName, Origin, Scheme};
use crate::net;
use crate::policy::{Denial, Verdict};
use crate::sniff::{Protocol, Rewind, Sniffed};
use crate::tls::Alpn;
use crate::upstream::Stream;

/// Fields that are looked through for `Host`; the gate refuses more than its own bound later.
const FIELDS: usize = 128;

/// Serves one plain HTTP flow to its end.
pub(super) async fn serve(flow: &Flow, mut stream: net::TcpStream, sniffed: Sniffed) -> Option<Served> {
    let alpn = match sniffed.protocol {
        Protocol::Http2PriorKnowledge => Alpn::H2,
        Protocol::Http1 | Protocol::Tls | Protocol::Unknown | Protocol::Silent | Protocol::Eof => Alpn::Http1,
    };
    let (asked, bytes) = match alpn {
        Alpn::Http1 => read_host(flow, &mut stream, sniffed.bytes).await.ok()?,
        // Its authority is in HPACK, so the name that DNS gave for the address must do; the gate compares.
        Alpn::H2 => (flow.bound_host().map_or(Asked::Nothing, Asked::Name), sniffed.bytes),
    };
    let port = flow.destination.port();
    let nobody = Origin { scheme: Scheme::Http, host: HostName::nobody(), port };
    let (origin, upstream, served) = match asked {
        Asked::Name(host) => {
            let origin = Origin { scheme: Scheme::Http, host, port };
            let (upstream, served) = reach(flow, &origin).await;
            (origin, upstream, served)
        }
        Asked::Address(host) => {
            let denial = Denial::addressed(&host, port);
            flow.deny(&denial);
            (nobody, Upstream::Refused(Refusal::denied(denial.to_string())), None)
        }
        Asked::Nothing => {
            flow.deny(&Denial::nameless(flow.destination));
            let refusal = Refusal::bad_request("a request needs exactly one Host field that names a host");
            (nobody, Upstream::Refused(refusal), None)
        }
    };
    let told = if served.is_some() { Told::Nothing } else { Told::Denial };
    Box::pin(http::serve(Rewind::new(stream, bytes), alpn, upstream, flow.mirror(origin, told))).await;
    served
}

/// Whom a plain request is for.
enum Asked {
    Name(HostName),
    Address(Host),
    Nothing,
}

async fn reach(flow: &Flow, origin: &Origin) -> (Upstream<Stream>, Option<Served>) {
    let permit = match flow.context.policy.current().at_name(origin) {
        Verdict::Allow(permit) => permit,
        Verdict::Deny(denial) => {
            flow.deny(&denial);
            return (Upstream::Refused(Refusal::denied(denial.to_string())), None);
        }
    };
    match flow.dial(&permit).await {
        Ok(connection) => {
            let served = Served {
                kind: FlowKind::Http,
                host: Some(origin.host.clone()),
                upstream: connection.destination().addr(),
                rule: Some(permit.rule().to_string()),
            };
            (Upstream::Plain(connection.stream), Some(served))
        }
        Err(refusal) => (Upstream::Refused(refusal), None),
    }
}

/// Reads until the first request's head is whole, for its `Host`; the bytes are to be read again.
///
/// A head that is too long, too slow or broken is left for the HTTP server to refuse.
async fn read_host(flow: &Flow, stream: &mut net::TcpStream, sniffed: Bytes) -> io::Result<(Asked, Bytes)> {
    let limits = &flow.context.limits;
    let mut head = BytesMut::from(sniffed.as_ref());
    let read = timeout(limits.request_head, async {
        while !is_whole(&head) && head.len() < limits.header_bytes {
            if stream.read_buf(&mut head).await? == 0 {
                break;
            }
        }
        io::Result::Ok(())
    });
    read.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
    let head = head.freeze();
    Ok((host_of(&head), head))
}

fn is_whole(head: &[u8]) -> bool {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS];
    !matches!(httparse::Request::new(&mut fields).parse(head), Ok(httparse::Status::Partial))
}

fn host_of(head: &[u8]) -> Asked {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    if request.parse(head).is_err() {
        return Asked::Nothing;
    }
    let mut hosts = request.headers.iter().filter(|field| field.name.eq_ignore_ascii_case("host"));
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return Asked::Nothing };
    match std::str::from_utf8(host.value).map(Authority::parse) {
        Ok(Ok(Authority { host: Host::Name(name), .. })) => Asked::Name(name),
        Ok(Ok(Authority { host, .. })) => Asked::Address(host),
        Ok(Err(_)) | Err(_) => Asked::Nothing,
    }
}
