//! A guest and an upstream that agreed on a WebSocket, and what is between them.

use std::cell::RefCell;
use std::num::NonZeroU32;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::sync::Notify;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::timeout;

use crate::http::{Event, Mirror, Upstream, serve};
use crate::limits::Limits;
use crate::name::{HostName, HostPattern, Origin, Scheme};
use crate::secret::{Location, SecretHost, SecretSpec, SecretValue, Secrets};
use crate::tls::{Alpn, VerifiedPeer};
use crate::websocket::Speaker;
use crate::websocket::testing::{Frame, decoded, encoded};

/// So short that its placeholder is longer.
pub(super) const SHORT: &str = "seven-seas";
/// As long as its placeholder.
pub(super) const EQUAL: &str = "sk-proj-Tcanary0123456789abcdefghijklmnop";

pub(super) const TEXT: u8 = 1;
pub(super) const BINARY: u8 = 2;
pub(super) const CLOSE: u8 = 8;
pub(super) const PING: u8 = 9;
pub(super) const PONG: u8 = 10;

/// What recording an injection comes to.
#[derive(Clone)]
pub(super) enum Recording {
    Done,
    Never,
    /// When it is said.
    Later(Rc<Notify>),
}

pub(super) struct Plan {
    pub(super) secret: &'static str,
    pub(super) swap: Location,
    pub(super) recording: Recording,
    pub(super) verified: bool,
    pub(super) most: Option<NonZeroU32>,
}

impl Plan {
    pub(super) fn new(secret: &'static str) -> Self {
        Self { secret, swap: Location::WebSocket, recording: Recording::Done, verified: true, most: None }
    }

    /// Has a guest and an upstream agree on a WebSocket.
    pub(super) async fn start(self) -> Bed {
        let secrets = Secrets::new(vec![SecretSpec {
            name: "TOKEN".into(),
            value: SecretValue::new(self.secret.into()).unwrap(),
            hosts: vec![SecretHost { pattern: HostPattern::parse("a.example").unwrap(), port: 443 }],
            shape: None,
            elsewhere: crate::secret::Elsewhere::default(),
            max_per_request: self.most,
            swap: vec![self.swap, Location::parse("header:x-key").unwrap()],
        }])
        .unwrap();
        let placeholder = secrets.placeholders()[0].1.to_string();
        let host = HostName::parse("a.example").unwrap();
        let events: Rc<RefCell<Vec<Event>>> = Rc::default();
        let (told, recording) = (Rc::clone(&events), self.recording);
        let mirror = Mirror {
            origin: Origin { scheme: Scheme::Https, host: host.clone(), port: 443 },
            secrets: Arc::clone(&secrets),
            limits: Arc::new(Limits::default()),
            can_record: Rc::new(|| true),
            denial_id: Rc::new(|| None),
            judge: Rc::new(|_, _| Ok(crate::http::Leave::default())),
            response_timeout: None,
            events: Rc::new(move |event| {
                if let Event::Injected { hold, .. } = &event {
                    let recording = recording.clone();
                    hold.until(async move {
                        match recording {
                            Recording::Done => true,
                            Recording::Never => false,
                            Recording::Later(said) => {
                                said.notified().await;
                                true
                            }
                        }
                    });
                }
                told.borrow_mut().push(event);
            }),
        };
        let (guest, guest_end) = duplex(1 << 16);
        let (upstream_end, upstream) = duplex(1 << 16);
        let way = if self.verified {
            Upstream::Verified { stream: upstream_end, peer: VerifiedPeer::new(host, 443) }
        } else {
            Upstream::Plain(upstream_end)
        };
        spawn_local(serve(guest_end, Alpn::Http1, way, mirror));
        let mut guest = End { stream: guest, writes: Speaker::Client };
        let mut upstream = End { stream: upstream, writes: Speaker::Server };
        let key = if self.most.is_some() { &*placeholder } else { "none" };
        let request = format!(
            "GET /chat?room=1 HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\nX-Key: {key}\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        guest.write(request.as_bytes()).await;
        assert!(upstream.octets().await.ends_with(b"\r\n\r\n"));
        upstream
            .write(
                b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                  Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
            )
            .await;
        assert!(guest.octets().await.starts_with(b"HTTP/1.1 101 "));
        events.borrow_mut().clear();
        Bed { guest, upstream, placeholder, events, secrets }
    }
}

pub(super) struct Bed {
    pub(super) guest: End,
    pub(super) upstream: End,
    pub(super) placeholder: String,
    pub(super) events: Rc<RefCell<Vec<Event>>>,
    pub(super) secrets: Arc<Secrets>,
}

impl Bed {
    pub(super) fn injections(&self) -> usize {
        let events = self.events.borrow();
        events.iter().filter(|event| matches!(event, Event::Injected { .. })).count()
    }
}

/// One end of a connection.
pub(super) struct End {
    pub(super) stream: DuplexStream,
    pub(super) writes: Speaker,
}

impl End {
    pub(super) async fn write(&mut self, octets: &[u8]) {
        self.stream.write_all(octets).await.unwrap();
    }

    /// Sends frames in pieces of so many octets, each of which is heard before the next.
    pub(super) async fn send_in(&mut self, frames: &[Frame], size: usize) {
        let octets: Vec<u8> = frames.iter().flat_map(|frame| encoded(self.writes, frame)).collect();
        for piece in octets.chunks(size) {
            self.write(piece).await;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    pub(super) async fn send(&mut self, opcode: u8, payload: &[u8]) {
        self.send_in(&[(opcode, true, payload.to_vec())], usize::MAX).await;
    }

    /// What comes until nothing more does.
    pub(super) async fn octets(&mut self) -> Vec<u8> {
        let mut octets = Vec::new();
        while let Ok(Ok(1..)) = timeout(Duration::from_secs(1), self.stream.read_buf(&mut octets)).await {}
        octets
    }

    /// The same, as frames.
    pub(super) async fn frames(&mut self) -> Vec<Frame> {
        let octets = self.octets().await;
        let (frames, rest) = decoded(self.hears(), &octets);
        assert_eq!(rest, 0, "half a frame after {frames:?}");
        frames
    }

    pub(super) async fn is_over(&mut self) -> bool {
        self.stream.read(&mut [0]).await.unwrap() == 0
    }

    pub(super) fn hears(&self) -> Speaker {
        match self.writes {
            Speaker::Client => Speaker::Server,
            Speaker::Server => Speaker::Client,
        }
    }
}

pub(super) fn frame(opcode: u8, payload: &str) -> Frame {
    (opcode, true, payload.as_bytes().to_vec())
}

/// One message in these fragments.
pub(super) fn fragments(opcode: u8, parts: &[&str]) -> Vec<Frame> {
    let last = parts.len() - 1;
    let fragment = |(index, part): (usize, &&str)| {
        (if index == 0 { opcode } else { 0 }, index == last, part.as_bytes().to_vec())
    };
    parts.iter().enumerate().map(fragment).collect()
}

/// The payload of the one message that these fragments are.
pub(super) fn whole(opcode: u8, frames: &[Frame]) -> String {
    for (index, (number, fin, _)) in frames.iter().enumerate() {
        assert_eq!((*number, *fin), (if index == 0 { opcode } else { 0 }, index + 1 == frames.len()));
    }
    String::from_utf8(frames.iter().flat_map(|frame| frame.2.clone()).collect()).unwrap()
}

pub(super) fn run(test: impl Future<Output = ()>) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    LocalSet::new().block_on(&runtime, test);
}
