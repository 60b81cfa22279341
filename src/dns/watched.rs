//! A file of the host's that is read again when it changes.
//!
//! Shell. One `stat` a use; the files are small and local. Invariant: what is handed out is what the file said
//! when it last looked different; a file that cannot be read says nothing.

use std::cell::RefCell;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::rc::Rc;

/// A parsed file.
#[derive(Debug)]
pub(super) struct Watched<T> {
    path: PathBuf,
    most: u64,
    parse: fn(&str) -> T,
    seen: RefCell<Option<(Option<Stamp>, Rc<T>)>>,
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
    /// Watches `path`, of which at most `most` octets are read.
    pub(super) fn new(path: PathBuf, most: u64, parse: fn(&str) -> T) -> Self {
        Self { path, most, parse, seen: RefCell::new(None) }
    }

    /// What the file says now.
    pub(super) fn read(&self) -> Rc<T> {
        let stamp = self.stamp();
        let mut seen = self.seen.borrow_mut();
        if let Some((last, parsed)) = seen.as_ref()
            && *last == stamp
        {
            return Rc::clone(parsed);
        }
        let parsed = Rc::new((self.parse)(&self.text()));
        *seen = Some((stamp, Rc::clone(&parsed)));
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
