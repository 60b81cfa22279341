//! Where control sockets are: a directory of the user's own that nobody else can enter.
//!
//! It makes the directory and looks at it; what is in it is the business of `endpoint` and `client`. Invariant: a
//! [`Directory`] is no link, belongs to this user, and has mode 0700 or less.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

/// The directory in a runtime directory.
const OWN: &str = "portcullis";
/// What others may do in it: nothing.
const OTHERS: u32 = 0o077;

/// A directory for control sockets, opened.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    fd: OwnedFd,
}

/// Why there is no directory for control sockets.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// It is somebody else's, or open to others, or no directory.
    #[error("{} must be a directory of this user's with mode 0700, and no link; remove it, or set XDG_RUNTIME_DIR", .0.display())]
    Unsafe(PathBuf),
    /// None of the places for it is there and can be written.
    #[error("no place for a control socket among {}; set XDG_RUNTIME_DIR to a directory of this user's", list(.0))]
    Nowhere(Vec<PathBuf>),
    /// The system said no.
    #[error("{}: {cause}; see that this user can use it", .path.display())]
    System {
        /// The directory.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
}

fn list(paths: &[PathBuf]) -> String {
    let shown: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    shown.join(", ")
}

/// Where this user's control sockets can be, the best place first: in the runtime directory, else in `/tmp`.
///
/// For root the runtime directory is `/run`, whatever a variable left over from another user says.
#[must_use]
pub fn places() -> Vec<PathBuf> {
    let user = rustix::process::geteuid();
    let fallback = PathBuf::from(format!("/tmp/{OWN}-{}", user.as_raw()));
    if user.is_root() {
        return vec![Path::new("/run").join(OWN), fallback];
    }
    let named = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute());
    let usual = PathBuf::from(format!("/run/user/{}", user.as_raw()));
    let runtime = named.into_iter().chain([usual]).map(|path| path.join(OWN));
    let mut places: Vec<PathBuf> = runtime.chain([fallback]).collect();
    places.dedup();
    places
}

impl Directory {
    /// The first of [`places`] that there is or that can be made.
    pub fn of_user() -> Result<Self, DirectoryError> {
        let places = places();
        let mut unusable = None;
        for path in &places {
            match rustix::fs::mkdir(path, Mode::RWXU) {
                Ok(()) | Err(Errno::EXIST) => match Self::open(path) {
                    Ok(directory) => return Ok(directory),
                    Err(error) => unusable = Some(error),
                },
                // There is no such runtime directory, or it is not ours.
                Err(_) => {}
            }
        }
        Err(unusable.unwrap_or(DirectoryError::Nowhere(places)))
    }

    /// Opens a directory that there is.
    pub fn open(path: &Path) -> Result<Self, DirectoryError> {
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY;
        let fd = rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| match errno {
            Errno::NOTDIR | Errno::LOOP | Errno::ACCESS => DirectoryError::Unsafe(path.to_owned()),
            errno => DirectoryError::System { path: path.to_owned(), cause: errno.into() },
        })?;
        let stat = rustix::fs::fstat(&fd)
            .map_err(|errno| DirectoryError::System { path: path.to_owned(), cause: errno.into() })?;
        if stat.st_uid != rustix::process::geteuid().as_raw() || stat.st_mode & OTHERS != 0 {
            return Err(DirectoryError::Unsafe(path.to_owned()));
        }
        Ok(Self { path: path.to_owned(), fd })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The sockets in it, live or not, with the names their files have.
    pub(super) fn sockets(&self) -> Vec<PathBuf> {
        use std::os::unix::fs::FileTypeExt as _;
        let entries = fs::read_dir(&self.path).into_iter().flatten().filter_map(Result::ok);
        let sockets = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_socket()));
        let mut paths: Vec<PathBuf> = sockets.map(|entry| entry.path()).collect();
        paths.sort();
        paths
    }
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn only_a_private_directory_of_this_users_will_do() {
        let root = std::env::temp_dir().join(format!("portcullis-directory-{}", std::process::id()));
        fs::create_dir(&root).unwrap();
        let own = root.join("own");
        fs::DirBuilder::new().mode(0o700).create(&own).unwrap();
        assert_eq!(Directory::open(&own).unwrap().path(), own);
        symlink(&own, root.join("link")).unwrap();
        fs::write(root.join("file"), "").unwrap();
        for other in ["link", "file"] {
            let refused = Directory::open(&root.join(other));
            assert!(matches!(refused, Err(DirectoryError::Unsafe(_))), "{other}: {refused:?}");
        }
        for mode in [0o701, 0o710, 0o755, 0o1777] {
            fs::set_permissions(&own, fs::Permissions::from_mode(mode)).unwrap();
            assert!(matches!(Directory::open(&own), Err(DirectoryError::Unsafe(_))), "{mode:o}");
        }
        fs::set_permissions(&own, fs::Permissions::from_mode(0o700)).unwrap();
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(&own, Some(1), Some(1)).unwrap();
            assert!(matches!(Directory::open(&own), Err(DirectoryError::Unsafe(_))));
        }
        fs::remove_dir_all(root).unwrap();
    }
}
