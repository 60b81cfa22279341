//! Looks for a secret's value wherever a guest, or whoever reads the logs, could see it.
//!
//! Every integration test carries a canary, a random secret, and its harness has [`over`] run it: what goes to the
//! guest and every log line is looked through for the canary and its encodings, and the test fails where one was.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, Once};
use std::task::{Context, Poll, ready};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use memchr::memmem;
use portcullis::link::{Frame, Link, Offload};
use portcullis::secret::{SecretSpec, SecretValue};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tracing::Level;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::dynamic_filter_fn;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// The name of the secret that a canary is where a test has no other use for it.
pub(crate) const NAME: &str = "CANARY";
/// The one host that may have it, to which nobody goes.
pub(crate) const HOST: &str = "canary.example";
/// Threads whose log lines are a sandbox's begin so.
const THREADS: &str = "portcullis";

/// A value that nothing else is.
pub(crate) fn value() -> String {
    format!("canary-{:016x}{:016x}", getrandom::u64().unwrap(), getrandom::u64().unwrap())
}

/// Whether a secret is in there, as it is, in base64 or in hexadecimal.
pub(crate) fn is_in(value: &str, bytes: &[u8]) -> bool {
    needles(value).iter().any(|needle| memmem::find(bytes, needle).is_some())
}

/// Fails where a secret is in what was written somewhere.
pub(crate) fn assert_not_in(value: &str, place: &str, bytes: &[u8]) {
    assert!(!is_in(value, bytes), "the secret is in {place}:\n{}", String::from_utf8_lossy(bytes));
}

/// The texts that would give a secret away.
fn needles(value: &str) -> Vec<Vec<u8>> {
    let mut needles = vec![value.as_bytes().to_vec()];
    // The digits that do not depend on what stands around.
    needles.extend((0..3).map(|shift| {
        let coded = STANDARD.encode([&b"xxx"[..shift], value.as_bytes()].concat());
        coded.as_bytes()[4..coded.len() - 4].to_vec()
    }));
    needles.push(value.bytes().flat_map(|octet| format!("{octet:02x}").into_bytes()).collect());
    needles
}

/// Runs a test, whose canary it makes, and fails where this or any other that the test made was seen.
pub(crate) fn over<T>(test: impl FnOnce() -> T) -> T {
    MADE.take();
    Canary::of_test();
    let outcome = test();
    for canary in MADE.take() {
        canary.assert_unseen();
        NEEDLES.lock().unwrap().retain(|sought| sought.value != *canary.value);
    }
    outcome
}

thread_local! {
    /// The canaries of the test that this thread runs, its own first.
    static MADE: RefCell<Vec<Canary>> = const { RefCell::new(Vec::new()) };
}

/// A random secret, and where it was seen; clones are the same canary.
#[derive(Clone)]
pub(crate) struct Canary {
    value: Arc<str>,
    needles: Arc<[Vec<u8>]>,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Canary {
    /// One of a sandbox's, of which the test's own threads may speak.
    pub(crate) fn new() -> Self {
        Self::sought(Whose::Sandboxes)
    }

    /// That of the test which runs on this thread, of which nobody may speak.
    pub(crate) fn of_test() -> Self {
        let first = MADE.with_borrow(|made| made.first().cloned());
        first.unwrap_or_else(|| Self::sought(Whose::Anybodys))
    }

    fn sought(whose: Whose) -> Self {
        let value = value();
        let needles: Arc<[Vec<u8>]> = needles(&value).into();
        listen();
        NEEDLES.lock().unwrap().push(Sought { value: value.clone(), needles: Arc::clone(&needles), whose });
        let canary = Self { value: value.into(), needles, seen: Arc::default() };
        MADE.with_borrow_mut(|made| made.push(canary.clone()));
        canary
    }

    pub(crate) fn value(&self) -> &str {
        &self.value
    }

    /// The canary as a secret of [`HOST`].
    pub(crate) fn secret(&self) -> SecretSpec {
        let value = SecretValue::new(self.value.as_bytes().to_vec()).unwrap();
        SecretSpec::new(NAME, value, &[HOST]).unwrap()
    }

    /// Looks through one thing that is seen whole.
    pub(crate) fn check(&self, place: &str, bytes: &[u8]) {
        if self.needles.iter().any(|needle| memmem::find(bytes, needle).is_some()) {
            self.seen.lock().unwrap().push(place.to_owned());
        }
    }

    /// Looks through something that comes in pieces.
    pub(crate) fn scan(&self, place: &'static str) -> Scan {
        Scan { canary: self.clone(), place, tail: Vec::new() }
    }

    /// Either end of a cable, the guest's or the sandbox's; each frame to the guest is looked through.
    pub(crate) fn watched<L: Link>(&self, end: End, link: L) -> Watched<L> {
        Watched { end, link, canary: self.clone() }
    }

    /// A guest's end of a stream, of which all that it reads is looked through.
    pub(crate) fn tapped<S>(&self, place: &'static str, inner: S) -> Tapped<S> {
        Tapped { inner, scan: self.scan(place) }
    }

    /// The places and the log lines where it was seen.
    pub(crate) fn sightings(&self) -> Vec<String> {
        let mut sightings = self.seen.lock().unwrap().clone();
        let lines = LINES.lock().unwrap();
        sightings
            .extend(lines.iter().filter(|(value, _)| **value == *self.value).map(|(_, line)| line.clone()));
        sightings
    }

    /// The same, where a test means it to be seen; from now on it was not.
    pub(crate) fn caught(&self) -> Vec<String> {
        let sightings = self.sightings();
        self.seen.lock().unwrap().clear();
        LINES.lock().unwrap().retain(|(value, _)| **value != *self.value);
        sightings
    }

    pub(crate) fn assert_unseen(&self) {
        assert_eq!(self.sightings(), [""; 0], "the secret was seen");
    }
}

/// Looks through a stream.
pub(crate) struct Scan {
    canary: Canary,
    place: &'static str,
    tail: Vec<u8>,
}

impl Scan {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.tail.extend_from_slice(bytes);
        self.canary.check(self.place, &self.tail);
        let longest = self.canary.needles.iter().map(Vec::len).max().unwrap_or_default();
        let keep = self.tail.len().min(longest - 1);
        self.tail.drain(..self.tail.len() - keep);
    }
}

/// A guest's end of a stream, looked through for the canary.
pub(crate) struct Tapped<S> {
    pub(crate) inner: S,
    scan: Scan,
}

impl<S: AsyncRead + Unpin> AsyncRead for Tapped<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        self.scan.push(&buf.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Tapped<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// Whose end of a cable.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) enum End {
    Guests,
    Sandboxs,
}

/// An end of a cable, of which the frames to the guest are looked through.
pub(crate) struct Watched<L> {
    end: End,
    link: L,
    canary: Canary,
}

impl<L: Link> Link for Watched<L> {
    fn offload(&self) -> Offload {
        self.link.offload()
    }

    fn mtu(&self) -> usize {
        self.link.mtu()
    }

    fn try_receive(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let length = self.link.try_receive(buf)?;
        if self.end == End::Guests {
            self.canary.check("a frame", &buf[..length]);
        }
        Ok(length)
    }

    fn try_send(&mut self, frame: Frame<'_>) -> io::Result<()> {
        if self.end == End::Sandboxs {
            self.canary.check("a frame", frame.bytes);
        }
        self.link.try_send(frame)
    }

    fn poll_receive_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.link.poll_receive_ready(cx)
    }

    fn poll_send_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.link.poll_send_ready(cx)
    }
}

/// A canary that log lines are looked through for.
struct Sought {
    value: String,
    needles: Arc<[Vec<u8>]>,
    whose: Whose,
}

/// Whose log lines.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Whose {
    /// Of the threads of sandboxes: the upstream is the test's and gets the secret.
    Sandboxes,
    Anybodys,
}

/// Every canary of the tests that run in this process.
static NEEDLES: Mutex<Vec<Sought>> = Mutex::new(Vec::new());
/// Canaries that were logged, and the lines.
static LINES: Mutex<Vec<(String, String)>> = Mutex::new(Vec::new());

/// Has every log line of ours and, at every level and of every crate, of the threads of sandboxes looked through.
///
/// What other crates trace on a test's own thread, they trace for each octet of its peers as well: too much to write.
fn listen() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let looked_at = dynamic_filter_fn(|line, _| {
            *line.level() <= Level::DEBUG || line.target().starts_with(THREADS) || is_a_sandboxs()
        });
        let log = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(|| Log);
        tracing_subscriber::registry().with(log.with_filter(looked_at)).init();
    });
}

/// Whether this thread is one of a sandbox.
fn is_a_sandboxs() -> bool {
    std::thread::current().name().is_some_and(|name| name.starts_with(THREADS))
}

/// Keeps the lines that have a canary, and no other.
struct Log;

impl io::Write for Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let is_sandboxes = is_a_sandboxs();
        for Sought { value, needles, whose } in NEEDLES.lock().unwrap().iter() {
            let is_in = || needles.iter().any(|needle| memmem::find(line, needle).is_some());
            if (is_sandboxes || *whose == Whose::Anybodys) && is_in() {
                LINES.lock().unwrap().push((value.clone(), String::from_utf8_lossy(line).into_owned()));
            }
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
