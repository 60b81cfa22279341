//! A Unix socket that has a file: made for its owner alone, and removed with its server.
//!
//! Not what is said over it. Invariant: a file that another server answers at is never touched.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, socket_with};

/// Mode bits that let anybody but the owner write.
const WRITABLE_BY_OTHERS: u32 = 0o022;
/// In a sticky directory nobody replaces what is another's.
const STICKY: u32 = 0o1000;
/// Who may talk to the server: its own user.
const OWNER_ONLY: Mode = Mode::RUSR.union(Mode::WUSR);

/// Why there is no socket at a path.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The path does not fit `sun_path`, or is none.
    #[error("{0}: is no path of a socket; name a file with at most 107 octets")]
    Path(PathBuf),
    /// There is no such directory.
    #[error("{0}: cannot be looked into: {1}; make the directory that the socket is to be in")]
    Parent(PathBuf, io::Error),
    /// Others could put a socket of theirs in its place.
    #[error("{0}: other users may write to this directory; use one of your own, as $XDG_RUNTIME_DIR is")]
    Shared(PathBuf),
    /// The file is something else.
    #[error("{0}: is there already and is no socket; name another path")]
    Taken(PathBuf),
    /// A server answers there.
    #[error("{0}: another server listens there; end it, or name another path")]
    Live(PathBuf),
    /// What the system says.
    #[error("{0}: no socket can be made there: {1}; name a path that this user can write to")]
    System(PathBuf, io::Error),
}

/// The file of a bound socket; dropping it removes the file.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    /// Device and inode, to tell ours from one that took its place.
    identity: (u64, u64),
}

impl SocketFile {
    /// Makes a nonblocking socket at `path`, in place of one whose server is dead.
    ///
    /// # Errors
    /// A [`BindError`] that says what to do.
    pub(super) fn bind(path: &Path, kind: SocketType) -> Result<(Self, OwnedFd), BindError> {
        let address = SocketAddrUnix::new(path).map_err(|_| BindError::Path(path.to_owned()))?;
        if path.file_name().is_none() {
            return Err(BindError::Path(path.to_owned()));
        }
        own_directory(path)?;
        clear(path, &address, kind)?;
        let system = |errno: Errno| BindError::System(path.to_owned(), errno.into());
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, kind, flags, None).map_err(system)?;
        // Linux gives the file the mode of the socket, so there is no moment when others may connect.
        rustix::fs::fchmod(&socket, OWNER_ONLY).map_err(system)?;
        bind(&socket, &address).map_err(|errno| match errno {
            Errno::ADDRINUSE => BindError::Live(path.to_owned()),
            other => system(other),
        })?;
        let identity = identity(path).map_err(|error| BindError::System(path.to_owned(), error))?;
        Ok((Self { path: path.to_owned(), identity }, socket))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the file, if it is still this one's.
    pub(super) fn remove(&self) {
        if identity(&self.path).is_ok_and(|there| there == self.identity) {
            // What cannot be removed is found dead by the next server.
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        self.remove();
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|file| (file.dev(), file.ino()))
}

/// Refuses a directory in which others could replace the socket.
fn own_directory(path: &Path) -> Result<(), BindError> {
    let parent = match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => Path::new("/"),
    };
    let found = fs::metadata(parent).map_err(|error| BindError::Parent(parent.to_owned(), error))?;
    if !found.is_dir() {
        return Err(BindError::Parent(parent.to_owned(), io::ErrorKind::NotADirectory.into()));
    }
    let trusted = [0, rustix::process::geteuid().as_raw()].contains(&found.uid());
    if !trusted || (found.mode() & WRITABLE_BY_OTHERS != 0 && found.mode() & STICKY == 0) {
        return Err(BindError::Shared(parent.to_owned()));
    }
    Ok(())
}

/// Removes the file of a server that is dead.
fn clear(path: &Path, address: &SocketAddrUnix, kind: SocketType) -> Result<(), BindError> {
    let system = |error: io::Error| BindError::System(path.to_owned(), error);
    let found = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(system(error)),
        Ok(found) => found,
    };
    if !found.file_type().is_socket() {
        return Err(BindError::Taken(path.to_owned()));
    }
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let probe = socket_with(AddressFamily::UNIX, kind, flags, None).map_err(|errno| system(errno.into()))?;
    match connect(&probe, address) {
        Err(Errno::CONNREFUSED) => fs::remove_file(path).map_err(system),
        Err(Errno::ACCESS) => Err(system(Errno::ACCESS.into())),
        Ok(()) | Err(_) => Err(BindError::Live(path.to_owned())),
    }
}

#[cfg(test)]
mod tests;
