//! A name taken: the socket of one sandbox, from the claim to the removal of its file.
//!
//! It accepts nothing; `server` does. Invariant: of two sandboxes that want one name, one gets it, and no claim
//! removes the socket of a sandbox that lives.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::FlockOperation;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use super::directory::{Directory, DirectoryError};
use super::name::SandboxName;

/// What a socket's file is called behind the name.
const SUFFIX: &str = "sock";
/// How often another claim in the same directory is waited for, and how long each time.
const TRIES: u32 = 200;
const PAUSE: Duration = Duration::from_millis(10);

/// The control socket of a sandbox that is about to start. Dropping it gives the name up.
#[derive(Debug)]
pub struct Endpoint {
    name: SandboxName,
    directory: PathBuf,
    // Gone before the listener is: a file that is there and refuses is one that was left.
    pub(super) file: SocketFile,
    pub(super) listener: UnixListener,
}

/// Why a name cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// There is no place for sockets.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// A sandbox of this name runs.
    #[error("a sandbox named {0} is running; choose another --name, or end that one")]
    InUse(SandboxName),
    /// Other claims in the directory do not come to an end.
    #[error("{} is held by another start; see what holds it", .0.display())]
    Busy(PathBuf),
    /// The system said no.
    #[error("{}: {cause}; see that this user can make a socket there", .path.display())]
    System {
        /// The socket's file.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
}

impl Endpoint {
    /// Takes a name in this user's own directory.
    ///
    /// Sockets that ended sandboxes have left there are removed.
    pub fn claim(name: &SandboxName) -> Result<Self, ClaimError> {
        Self::claim_in(Directory::of_user()?, name)
    }

    /// Takes a name in a directory.
    pub fn claim_in(directory: Directory, name: &SandboxName) -> Result<Self, ClaimError> {
        lock(&directory)?;
        for left in directory.sockets().iter().filter(|path| !is_live(path)) {
            // Where it cannot be removed, binding says why.
            let _ = fs::remove_file(left);
        }
        let path = path_of(directory.path(), name);
        if is_live(&path) {
            return Err(ClaimError::InUse(name.clone()));
        }
        let failed = |cause| ClaimError::System { path: path.clone(), cause };
        let listener = UnixListener::bind(&path).map_err(failed)?;
        let file = SocketFile::of(&path).map_err(failed)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        // The lock goes with the directory's descriptor.
        Ok(Self { name: name.clone(), directory: directory.path().to_owned(), file, listener })
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &SandboxName {
        &self.name
    }

    /// The directory its socket is in, which no guest may see.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }
}

/// Where the socket of a sandbox is.
pub(super) fn path_of(directory: &Path, name: &SandboxName) -> PathBuf {
    directory.join(format!("{name}.{SUFFIX}"))
}

/// Whose socket a file is.
pub(super) fn name_of(path: &Path) -> Option<SandboxName> {
    let name = path.file_name()?.to_str()?.strip_suffix(SUFFIX)?.strip_suffix('.')?;
    SandboxName::parse(name).ok()
}

/// Holds off other claims, until the directory's descriptor is closed.
fn lock(directory: &Directory) -> Result<(), ClaimError> {
    for _ in 0..TRIES {
        match rustix::fs::flock(directory, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(()),
            Err(Errno::WOULDBLOCK | Errno::INTR) => std::thread::sleep(PAUSE),
            Err(errno) => {
                return Err(ClaimError::System { path: directory.path().to_owned(), cause: errno.into() });
            }
        }
    }
    Err(ClaimError::Busy(directory.path().to_owned()))
}

/// Whether somebody listens at a socket; never waits.
fn is_live(path: &Path) -> bool {
    match connect(path) {
        Ok(_) => true,
        Err(Errno::CONNREFUSED | Errno::NOENT) => false,
        // Its queue is full, or it is nothing that we could judge.
        Err(_) => true,
    }
}

/// A connection to a socket; never waits.
pub(super) fn connect(path: &Path) -> Result<OwnedFd, Errno> {
    let address = SocketAddrUnix::new(path)?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::connect(&socket, &address)?;
    Ok(socket)
}

/// A socket's file, removed when this is dropped, unless another one has taken its place.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl SocketFile {
    fn of(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), identity: identity(path)? })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|identity| identity == self.identity) {
            // Where it stays, the next start removes it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::DirBuilderExt as _;

    use super::*;

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(test: &str) -> Self {
            let path = std::env::temp_dir().join(format!("portcullis-{test}-{}", std::process::id()));
            fs::DirBuilder::new().mode(0o700).create(&path).unwrap();
            Self(path)
        }

        fn claim(&self, name: &str) -> Result<Endpoint, ClaimError> {
            Endpoint::claim_in(Directory::open(&self.0).unwrap(), &SandboxName::parse(name).unwrap())
        }

        fn files(&self) -> Vec<String> {
            let entries = fs::read_dir(&self.0).unwrap();
            let mut names: Vec<String> =
                entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    #[test]
    fn a_name_is_taken_once_and_free_again_when_dropped() {
        let scratch = Scratch::new("claim");
        let first = scratch.claim("one").unwrap();
        let mode = fs::metadata(scratch.0.join("one.sock")).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
        assert!(matches!(scratch.claim("one"), Err(ClaimError::InUse(_))));
        let second = scratch.claim("two").unwrap();
        assert_eq!(scratch.files(), ["one.sock", "two.sock"]);
        drop((first, second));
        assert_eq!(scratch.files(), Vec::<String>::new());
        scratch.claim("one").unwrap();
    }

    #[test]
    fn a_full_queue_is_a_live_sandbox() {
        let scratch = Scratch::new("full");
        let first = scratch.claim("one").unwrap();
        let mut waiting = Vec::new();
        loop {
            match connect(&scratch.0.join("one.sock")) {
                Ok(connection) => waiting.push(connection),
                Err(errno) => break assert_eq!(errno, Errno::AGAIN),
            }
        }
        assert!(matches!(scratch.claim("one"), Err(ClaimError::InUse(_))));
        drop(first);
    }

    #[test]
    fn what_a_killed_sandbox_left_is_removed_and_nothing_else() {
        let scratch = Scratch::new("stale");
        let live = scratch.claim("live").unwrap();
        for name in ["left.sock", "again.sock"] {
            drop(UnixListener::bind(scratch.0.join(name)).unwrap());
        }
        fs::write(scratch.0.join("notes"), "").unwrap();
        let again = scratch.claim("again").unwrap();
        assert_eq!(scratch.files(), ["again.sock", "live.sock", "notes"]);
        // One that lost its file to somebody else leaves that one's alone.
        fs::remove_file(scratch.0.join("again.sock")).unwrap();
        let other = UnixListener::bind(scratch.0.join("again.sock")).unwrap();
        drop(again);
        assert_eq!(scratch.files(), ["again.sock", "live.sock", "notes"]);
        drop((other, live));
    }
}
