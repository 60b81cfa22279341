//! Looks for a secret's value wherever a guest, or whoever reads the logs, could see it.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::{Mutex, Once};
use std::task::{Context, Poll};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use portcullis::link::{Frame, Link, Offload};
use tracing_subscriber::filter::LevelFilter;

/// Threads whose log lines are a sandbox's begin so.
const THREADS: &str = "portcullis";

/// A random secret, and where it was seen; clones are the same canary.
#[derive(Clone)]
pub(crate) struct Canary {
    value: Rc<str>,
    seen: Rc<RefCell<Vec<String>>>,
}

impl Canary {
    pub(crate) fn new() -> Self {
        let value = format!("canary-{:016x}{:016x}", getrandom::u64().unwrap(), getrandom::u64().unwrap());
        listen_for(&value);
        Self { value: value.into(), seen: Rc::default() }
    }

    pub(crate) fn value(&self) -> &str {
        &self.value
    }

    /// Looks through one thing that is seen whole.
    pub(crate) fn check(&self, place: &str, bytes: &[u8]) {
        if bytes.windows(self.value.len()).any(|window| window == self.value.as_bytes()) {
            self.seen.borrow_mut().push(place.to_owned());
        }
    }

    /// Looks through something that comes in pieces.
    pub(crate) fn scan(&self, place: &'static str) -> Scan {
        Scan { canary: self.clone(), place, tail: Vec::new() }
    }

    /// The guest's end of a cable, each of whose frames is looked through.
    pub(crate) fn watched<L: Link>(&self, link: L) -> Watched<L> {
        Watched { link, canary: self.clone() }
    }

    /// The places and the log lines where it was seen.
    pub(crate) fn sightings(&self) -> Vec<String> {
        let mut sightings = self.seen.borrow().clone();
        let lines = LINES.lock().unwrap();
        sightings
            .extend(lines.iter().filter(|(value, _)| **value == *self.value).map(|(_, line)| line.clone()));
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
        let keep = self.tail.len().min(self.canary.value.len() - 1);
        self.tail.drain(..self.tail.len() - keep);
    }
}

/// A link whose received frames are looked through.
pub(crate) struct Watched<L> {
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
        self.canary.check("a frame", &buf[..length]);
        Ok(length)
    }

    fn try_send(&mut self, frame: Frame<'_>) -> io::Result<()> {
        self.link.try_send(frame)
    }

    fn poll_receive_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.link.poll_receive_ready(cx)
    }

    fn poll_send_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.link.poll_send_ready(cx)
    }
}

/// Every canary of this process, each with the texts that would give it away.
static NEEDLES: Mutex<Vec<(String, Vec<String>)>> = Mutex::new(Vec::new());
/// Canaries that were logged, and the lines.
static LINES: Mutex<Vec<(String, String)>> = Mutex::new(Vec::new());

/// Has every log line of a sandbox's threads, at every level and of every crate, looked through for `value`.
fn listen_for(value: &str) {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        tracing_subscriber::fmt()
            .with_max_level(LevelFilter::TRACE)
            .with_ansi(false)
            .with_writer(|| Log)
            .init();
    });
    let mut needles = vec![value.to_owned()];
    needles.extend((0..3).map(|shift| {
        // The digits that do not depend on what stands around.
        let coded = STANDARD.encode([&b"xxx"[..shift], value.as_bytes()].concat());
        coded[4..coded.len() - 4].to_owned()
    }));
    NEEDLES.lock().unwrap().push((value.to_owned(), needles));
}

/// Keeps the lines that have a canary, and no other.
struct Log;

impl io::Write for Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if std::thread::current().name().is_some_and(|name| name.starts_with(THREADS)) {
            let text = String::from_utf8_lossy(line);
            for (value, needles) in NEEDLES.lock().unwrap().iter() {
                if needles.iter().any(|needle| text.contains(needle)) {
                    LINES.lock().unwrap().push((value.clone(), text.clone().into_owned()));
                }
            }
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
