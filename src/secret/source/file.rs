//! A file that holds a secret's value.
//!
//! It is looked at from time to time rather than watched: that sees a change through links, over network file systems
//! and when a directory is replaced, where a watch on the file would be lost with the file. Invariant: what is not a
//! plain file is not opened for reading, so that no pipe or device holds anything up.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use zeroize::Zeroizing;

use crate::secret::value::LONGEST;

/// Longest file: the longest secret and a line end of two octets, and one to see that there is more.
const MOST: usize = LONGEST + 3;

/// All that is in the file, without one line end.
pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
    // Not to wait for a pipe's other end before it is known to be one.
    let flags = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    read_whole(file)
}

fn read_whole(file: File) -> io::Result<Vec<u8>> {
    // Of the right size at once: a buffer that grows leaves its bytes behind.
    let mut content = Zeroizing::new(Vec::with_capacity(MOST));
    file.take(MOST as u64).read_to_end(&mut content)?;
    without_line_end(&mut content);
    Ok(std::mem::take(&mut *content))
}

/// Takes one line end from the end.
pub(super) fn without_line_end(content: &mut Vec<u8>) {
    if content.last() == Some(&b'\n') {
        content.pop();
        if content.last() == Some(&b'\r') {
            content.pop();
        }
    }
}

/// By what one state of a file is told from another.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    written: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    /// As of now; `None` where there is no file.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        std::fs::metadata(path).ok().as_ref().map(Self::from_metadata)
    }

    fn from_metadata(data: &Metadata) -> Self {
        Self {
            device: data.dev(),
            inode: data.ino(),
            size: data.size(),
            written: (data.mtime(), data.mtime_nsec()),
            changed: (data.ctime(), data.ctime_nsec()),
        }
    }
}
