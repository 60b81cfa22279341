//! `portcullis log`: an audit file for people, one line an event.
//!
//! Following looks at the file again and again; a file that was cut or replaced is read from its beginning. Invariant:
//! whatever texts are in the file, a line here is one line, and does nothing to a terminal.

use std::fs::{self, File, Metadata};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::learn::tell_unread;
use super::{OWN_FAILURE, shown};
use crate::audit::{Line, Reader};
use crate::limits::Limits;

mod line;

/// Command line of `log`.
#[derive(clap::Args, Clone, Debug)]
pub struct LogArgs {
    /// Go on with what is appended
    #[arg(short, long)]
    pub follow: bool,
    /// The file that `run --audit FILE` writes; without, standard input
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
}

/// How often a followed file is looked at: a person sees no difference.
const LOOK: Duration = Duration::from_millis(200);

/// Prints the events; the exit code.
pub fn log(args: &LogArgs, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<u8> {
    let read = match &args.file {
        Some(path) if args.follow => follow(path, out),
        Some(path) => File::open(path).and_then(|file| print(file, out, err)),
        None if args.follow => Err(io::Error::other("-f needs a file to follow")),
        None => print(io::stdin().lock(), out, err),
    };
    match read {
        Ok(()) => Ok(0),
        // Whoever read it has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(0),
        Err(error) => {
            let name = args.file.as_deref().map_or("standard input".into(), Path::to_string_lossy);
            writeln!(err, "portcullis: {}: {error}; name a file that `run --audit` writes", shown(&name))?;
            Ok(OWN_FAILURE)
        }
    }
}

fn print(from: impl Read, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<()> {
    let mut reader = Reader::new(BufReader::new(from), &Limits::default());
    while let Some(line) = reader.next_line()? {
        writeln!(out, "{}", line::told(&line))?;
    }
    out.flush()?;
    tell_unread(reader.unread(), err)
}

/// A file that others append to.
struct Followed {
    file: File,
    /// Which file it is.
    identity: (u64, u64),
    read: u64,
    /// The beginning of a line whose end is not there yet.
    begun: Vec<u8>,
    longest: usize,
}

impl Followed {
    fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let identity = identity(&file.metadata()?);
        Ok(Self { file, identity, read: 0, begun: Vec::new(), longest: Limits::default().audit_line })
    }

    /// Prints the lines that are whole by now.
    fn go_on(&mut self, out: &mut dyn Write) -> io::Result<()> {
        if self.file.metadata()?.len() < self.read {
            self.file.seek(SeekFrom::Start(0))?;
            (self.read, self.begun) = (0, Vec::new());
        }
        let mut piece = vec![0; self.longest];
        loop {
            let count = self.file.read(&mut piece)?;
            if count == 0 {
                return out.flush();
            }
            self.read += count as u64;
            for part in piece.get(..count).unwrap_or_default().split_inclusive(|octet| *octet == b'\n') {
                // One that is too long is spoilt, and the rest of it with it.
                let room = (self.longest + 1).saturating_sub(self.begun.len());
                self.begun.extend_from_slice(part.get(..room.min(part.len())).unwrap_or_default());
                if part.last() == Some(&b'\n') {
                    if let Some(line) = Line::parse(&self.begun) {
                        writeln!(out, "{}", line::told(&line))?;
                    }
                    self.begun.clear();
                }
            }
        }
    }

    /// Whether `path` leads to another file by now.
    fn is_replaced(&self, path: &Path) -> bool {
        fs::metadata(path).is_ok_and(|metadata| identity(&metadata) != self.identity)
    }
}

fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// Until the reader of `out` is gone.
fn follow(path: &Path, out: &mut dyn Write) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let mut followed = Followed::open(path)?;
    runtime.block_on(async {
        let mut ticks = interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let is_replaced = followed.is_replaced(path);
            // What was written before it was replaced comes first.
            followed.go_on(out)?;
            if is_replaced {
                followed = Followed::open(path)?;
                followed.go_on(out)?;
            }
        }
    })
}

#[cfg(test)]
mod tests;
