//! A file of the host's that is read again when it changes.
//!
//! Shell. One `stat` now and then; the files are small and local. Invariant: what is handed out is what the file said
//! when it was last looked at, which is no longer ago than [`Limits::dns_host_file_rest`]; a file that cannot be read
//! says nothing.

use std::cell::RefCell;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;

use crate::limits::Limits;

/// A parsed file.
#[derive(Debug)]
pub(super) struct Watched<T> {
    path: PathBuf,
    most: u64,
    rest: Duration,
    parse: fn(&str) -> T,
    seen: RefCell<Option<Seen<T>>>,
}

#[derive(Debug)]
struct Seen<T> {
    stamp: Option<Stamp>,
    parsed: Rc<T>,
    /// When it was looked at last.
    at: Instant,
}

/// What tells one state of a file from another.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Stamp {
    inode: u64,
    length: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl<T> Watched<T> {
    /// Watches `path`, of which not all is read where it is long.
    pub(super) fn new(path: PathBuf, limits: &Limits, parse: fn(&str) -> T) -> Self {
        let Limits { dns_host_file: most, dns_host_file_rest: rest, .. } = *limits;
        Self { path, most, rest, parse, seen: RefCell::new(None) }
    }

    /// What the file says.
    pub(super) fn read(&self) -> Rc<T> {
        let (mut seen, now) = (self.seen.borrow_mut(), Instant::now());
        if let Some(seen) = seen.as_ref()
            && now.duration_since(seen.at) < self.rest
        {
            return Rc::clone(&seen.parsed);
        }
        let stamp = self.stamp();
        let parsed = match seen.as_ref().filter(|seen| seen.stamp == stamp) {
            Some(seen) => Rc::clone(&seen.parsed),
            None => Rc::new((self.parse)(&self.text())),
        };
        *seen = Some(Seen { stamp, parsed: Rc::clone(&parsed), at: now });
        parsed
    }

    fn stamp(&self) -> Option<Stamp> {
        let data = fs::metadata(&self.path).ok()?;
        Some(Stamp {
            inode: data.ino(),
            length: data.len(),
            modified: (data.mtime(), data.mtime_nsec()),
            changed: (data.ctime(), data.ctime_nsec()),
        })
    }

    fn text(&self) -> String {
        let mut bytes = Vec::new();
        let read = File::open(&self.path).and_then(|file| file.take(self.most).read_to_end(&mut bytes));
        match read {
            Ok(_) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(_) => String::new(),
        }
    }
}
