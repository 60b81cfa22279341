//! A flow that speaks HTTP without TLS: the rules are the same, and a secret never goes there.

use std::io;

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncReadExt as _;
use tokio::time::timeout;

use super::address::{self, ByAddress};
use super::flow::{Flow, Served, Told, explained};
use super::ground::Ground;
use crate::audit::FlowKind;
use crate::http::{self, Refusal, Upstream};
use crate::name::{Authority, Host, HostName, Origin, Scheme};
use crate::net;
use crate::policy::{Denial, NamePermit, Verdict};
use crate::sniff::{Protocol, Rewind, Sniffed};
use crate::tls::Alpn;
use crate::upstream::Connection;

/// Fields that are looked through for `Host`; the gate refuses more than its own bound later.
const FIELDS: usize = 128;

/// Serves one plain HTTP flow to its end.
pub(super) async fn serve(flow: &Flow, mut stream: net::TcpStream, sniffed: Sniffed) {
    let alpn = match sniffed.protocol {
        Protocol::Http2PriorKnowledge => Alpn::H2,
        Protocol::Http1 | Protocol::Tls | Protocol::Unknown | Protocol::Silent | Protocol::Eof => Alpn::Http1,
    };
    let (asked, bytes) = match alpn {
        Alpn::Http1 => match read_host(flow, &mut stream, sniffed.bytes).await {
            Ok(read) => read,
            Err(error) => return tracing::debug!(flow = flow.id, %error, "no request"),
        },
        // Its authority is in HPACK, so the name that DNS gave for the address must do; the gate compares.
        Alpn::H2 => (flow.bound_host().map_or(Asked::Nothing, Asked::Name), sniffed.bytes),
    };
    let port = flow.destination.port();
    let reached = match asked {
        Asked::Name(host) => reach(flow, Origin { scheme: Scheme::Http, host, port }).await,
        Asked::Address(host) => {
            let own = address::is_elsewhere(flow).then(|| flow.destination.ip());
            let denial = Denial::addressed(&host, port, own);
            let refusal = explained(&denial);
            by_address(flow, None, denial, refusal)
        }
        Asked::Nothing => {
            let text = "a request needs exactly one Host field that names a host";
            by_address(flow, None, Denial::nameless(flow.destination), Refusal::bad_request(text))
        }
    };
    let (origin, upstream, addr, told) = match reached {
        Reached::Read(origin, connection, rule) => {
            let (host, addr) = (Some(origin.host.clone()), connection.leave().addr());
            flow.serves(Served { kind: FlowKind::Http, host, upstream: addr, rule: Some(rule) });
            (origin, Upstream::Plain(connection.stream), addr, Told::Nothing)
        }
        Reached::Unread(by) => return address::relay(flow, by, (bytes, stream)).await,
        Reached::Nobody(host, refusal) => {
            flow.serves(Served { kind: FlowKind::Http, host: host.clone(), upstream: None, rule: None });
            let origin = Origin { scheme: Scheme::Http, host: host.unwrap_or_else(HostName::nobody), port };
            let _ = flow.stand.on(Ground::Refused { origin: origin.clone() });
            (origin, Upstream::Refused(refusal), None, Told::Denial)
        }
    };
    let mirror = flow.mirror(origin, addr, told);
    Box::pin(http::serve(Rewind::new(stream, bytes), alpn, upstream, mirror)).await;
}

/// Whom a plain request is for.
enum Asked {
    Name(HostName),
    Address(Host),
    Nothing,
}

/// What becomes of a plain request.
enum Reached {
    /// It is read and passed on, by this rule.
    Read(Origin, Connection, String),
    /// It is relayed by its address.
    Unread(ByAddress),
    /// It is answered with this, under the name it is for.
    Nobody(Option<HostName>, Refusal),
}

async fn reach(flow: &Flow, origin: Origin) -> Reached {
    let permit = match flow.context.policy.current().at_name(&origin) {
        Verdict::Allow(permit) => permit,
        Verdict::Deny(denial) => {
            let refusal = explained(&denial);
            return by_address(flow, Some(&origin.host), denial, refusal);
        }
    };
    flow.observe(|enforced| enforced.at_name(&origin).into_result().err());
    match dial(flow, &origin, &permit).await {
        Ok(connection) => Reached::Read(origin, connection, permit.rule().to_string()),
        Err(refusal) => Reached::Nobody(Some(origin.host), refusal),
    }
}

async fn dial(flow: &Flow, origin: &Origin, permit: &NamePermit) -> Result<Connection, Refusal> {
    flow.stand_on(Ground::Read { origin: origin.clone(), addr: None })?;
    let connection = flow.dial(permit).await?;
    flow.stand_on(Ground::Read { origin: origin.clone(), addr: connection.leave().addr() })?;
    Ok(connection)
}

/// What no name opens, a rule about its address may.
fn by_address(flow: &Flow, host: Option<&HostName>, denial: Denial, refusal: Refusal) -> Reached {
    match address::judge(flow, host, denial.clone()) {
        Ok(by) => Reached::Unread(by),
        Err(own) => {
            let refusal = if own == denial { refusal } else { explained(&own) };
            Reached::Nobody(host.cloned(), flow.refuse(refusal, &own))
        }
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
