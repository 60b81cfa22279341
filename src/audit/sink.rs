//! The audit file: one JSON object a line, written by a thread of its own.
//!
//! The sandbox's thread never waits for the disk, a flow may ([`Sink::written`]). When a line cannot be written,
//! or the bounded queue is full, the sink says so for good or for the moment, and injection stops with it.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use super::Record;
use crate::limits::Limits;

/// A file that records are appended to.
pub struct Sink {
    queue: Option<SyncSender<Item>>,
    state: Arc<State>,
    writer: Option<JoinHandle<()>>,
    capacity: usize,
}

/// What the writer is handed.
enum Item {
    Line(String),
    /// Answered when everything before it is written.
    Barrier(oneshot::Sender<()>),
}

struct State {
    failed: AtomicBool,
    queued: AtomicUsize,
}

/// Why the audit file cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot open the audit file {}: {source}; give --audit a file that can be appended to", path.display())]
pub struct SinkError {
    path: PathBuf,
    source: std::io::Error,
}

impl Sink {
    /// Opens `path` for appending, mode 0600 where it is new. [`Sink::start`] makes it a sink.
    pub fn open(path: &Path) -> Result<File, SinkError> {
        OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path)
            .map_err(|source| SinkError { path: path.to_owned(), source })
    }

    /// Starts the thread that writes to `file`.
    pub fn start(file: File, limits: &Limits) -> std::io::Result<Self> {
        let (queue, lines) = sync_channel(limits.audit_queue);
        let state = Arc::new(State { failed: AtomicBool::new(false), queued: AtomicUsize::new(0) });
        let for_writer = Arc::clone(&state);
        let writer = std::thread::Builder::new()
            .name("portcullis-audit".into())
            .spawn(move || write_lines(file, &lines, &for_writer))?;
        Ok(Self { queue: Some(queue), state, writer: Some(writer), capacity: limits.audit_queue })
    }

    /// Whether the next record has a place.
    #[must_use]
    pub fn can_write(&self) -> bool {
        !self.state.failed.load(Ordering::Acquire)
            && self.state.queued.load(Ordering::Acquire) < self.capacity
    }

    /// Queues a record; a full queue drops it, and a dropped record is a failure that lasts.
    pub fn write(&self, record: &Record) {
        let (Some(queue), Ok(line)) = (&self.queue, serde_json::to_string(record)) else { return };
        self.state.queued.fetch_add(1, Ordering::AcqRel);
        if queue.try_send(Item::Line(line)).is_err() {
            self.state.queued.fetch_sub(1, Ordering::AcqRel);
            if !self.state.failed.swap(true, Ordering::AcqRel) {
                tracing::error!("an audit record was lost: nothing is injected from now on");
            }
        }
    }

    /// Resolves to true once every record so far is with the operating system, to false if that fails.
    pub fn written(&self) -> impl Future<Output = bool> + use<> {
        let (done, written) = oneshot::channel();
        let queued = self.can_write()
            && self.queue.as_ref().is_some_and(|queue| queue.try_send(Item::Barrier(done)).is_ok());
        async move { queued && written.await.is_ok() }
    }
}

impl Drop for Sink {
    /// Waits until every queued record is written.
    fn drop(&mut self) {
        self.queue = None;
        if let Some(writer) = self.writer.take() {
            // The writer does not panic; if it did there is nothing left to write with.
            let _ = writer.join();
        }
    }
}

fn write_lines(file: File, items: &Receiver<Item>, state: &State) {
    let mut out = BufWriter::new(file);
    while let Ok(first) = items.recv() {
        if let Err(error) = write_batch(&mut out, first, items, state) {
            tracing::error!(%error, "the audit file cannot be written: nothing is injected from now on");
            state.failed.store(true, Ordering::Release);
            return;
        }
    }
}

/// Writes `first` and what else is queued; a barrier that is dropped for an error says so.
fn write_batch(
    out: &mut BufWriter<File>,
    first: Item,
    items: &Receiver<Item>,
    state: &State,
) -> std::io::Result<()> {
    let mut next = Some(first);
    while let Some(item) = next {
        match item {
            Item::Line(line) => {
                state.queued.fetch_sub(1, Ordering::AcqRel);
                out.write_all(line.as_bytes())?;
                out.write_all(b"\n")?;
            }
            Item::Barrier(done) => {
                out.flush()?;
                // Whoever waited may be gone.
                let _ = done.send(());
            }
        }
        next = items.try_recv().ok();
    }
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Event;

    fn record(target: &str) -> Record {
        Record::now(Event::Denial {
            id: "k3f9-1".into(),
            flow: None,
            target: target.into(),
            reason: "r".into(),
            rule: "d".into(),
            hint: String::new(),
            observed: false,
        })
    }

    #[test]
    fn every_record_is_in_the_file_when_the_sink_is_dropped() {
        let path = std::env::temp_dir().join(format!("portcullis-audit-{}", std::process::id()));
        let sink = Sink::start(Sink::open(&path).unwrap(), &Limits::default()).unwrap();
        for n in 0..1000 {
            sink.write(&record(&n.to_string()));
        }
        assert!(sink.can_write());
        drop(sink);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(text.lines().count(), 1000);
        assert!(text.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()));
    }

    #[test]
    fn a_full_disk_is_told() {
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let sink = Sink::start(full, &Limits::default()).unwrap();
        sink.write(&record("a"));
        // The writer ends by itself on the first error; joining it needs no clock.
        let Sink { queue, state, writer, .. } = &mut { sink };
        *queue = None;
        writer.take().unwrap().join().unwrap();
        assert!(state.failed.load(Ordering::Acquire));
    }

    #[tokio::test]
    async fn what_is_awaited_is_written_or_told_not_to_be() {
        let path = std::env::temp_dir().join(format!("portcullis-barrier-{}", std::process::id()));
        let sink = Sink::start(Sink::open(&path).unwrap(), &Limits::default()).unwrap();
        sink.write(&record("a"));
        assert!(sink.written().await);
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 1);
        std::fs::remove_file(&path).unwrap();

        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let sink = Sink::start(full, &Limits::default()).unwrap();
        sink.write(&record("a"));
        assert!(!sink.written().await);
        assert!(!sink.written().await && !sink.can_write());
    }

    #[test]
    fn an_unwritable_path_is_an_error_that_names_it() {
        let error = Sink::open(Path::new("/nonexistent/audit.jsonl")).err().unwrap();
        assert!(error.to_string().contains("/nonexistent/audit.jsonl"));
    }
}
