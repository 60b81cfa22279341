//! What the keeper knows of the world: sources, files and the time of day.
//!
//! A test gives it another world. Invariant: nothing here blocks the sandbox's thread.

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::limits::Limits;
use crate::secret::{Loaded, Source, SourceError, Stamp};
use crate::tls;

type Soon<T> = Pin<Box<dyn Future<Output = T>>>;
/// What a source gave.
type Given = Result<Loaded, SourceError>;

pub(super) struct World {
    /// Reads a source; `None` where the sandbox is ending.
    pub(super) load: Box<dyn Fn(Source) -> Soon<Option<Given>>>,
    /// Looks at a file.
    pub(super) stamp: Box<dyn Fn(PathBuf) -> Soon<Option<Stamp>>>,
    pub(super) clock: Box<dyn Fn() -> SystemTime>,
}

impl World {
    /// The one there is. With it end the commands that run.
    pub(super) fn real(limits: Arc<Limits>) -> io::Result<Self> {
        let (stop, running) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        let stop = Arc::new(stop);
        Ok(Self {
            load: Box::new(move |source| {
                // Closed with the world, which every command sees.
                let _running = &running;
                let (limits, stop) = (Arc::clone(&limits), Arc::clone(&stop));
                let load = spawn_blocking(move || source.load_until(&limits, &stop));
                Box::pin(async move { load.await.ok() })
            }),
            stamp: Box::new(|path| {
                let look = spawn_blocking(move || Stamp::of(&path));
                Box::pin(async move { look.await.ok().flatten() })
            }),
            clock: Box::new(tls::wall_clock),
        })
    }

    /// Waits until it is `moment`, which it looks at no later than every `recheck`: the machine may have slept, and its
    /// clock been set.
    pub(super) async fn reach(&self, moment: SystemTime, recheck: Duration) {
        loop {
            match moment.duration_since((self.clock)()) {
                Ok(left) if !left.is_zero() => sleep(left.min(recheck)).await,
                Ok(_) | Err(_) => return,
            }
        }
    }
}
