//! What may stand at a socket's path, and what comes of it.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};

use super::*;

/// A directory of one test's own, removed with it.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("portcullis-socket-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        Self(path)
    }

    fn path(&self) -> PathBuf {
        self.0.join("s")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn bound(path: &Path) -> Result<(SocketFile, OwnedFd), BindError> {
    SocketFile::bind(path, SocketType::STREAM)
}

#[test]
fn the_file_is_its_owners_alone_and_goes_with_the_server() {
    let scratch = Scratch::new("mode");
    let (file, _socket) = bound(&scratch.path()).unwrap();
    assert_eq!(fs::metadata(file.path()).unwrap().mode() & 0o7777, 0o600);
    drop(file);
    assert!(!scratch.path().exists());
}

#[test]
fn a_dead_servers_file_is_replaced_and_a_live_ones_is_not() {
    let scratch = Scratch::new("stale");
    drop(UnixListener::bind(scratch.path()).unwrap());
    let (file, socket) = bound(&scratch.path()).unwrap();
    rustix::net::listen(&socket, 1).unwrap();
    assert!(matches!(bound(&scratch.path()), Err(BindError::Live(_))));
    // Nor one of the other kind.
    assert!(matches!(SocketFile::bind(&scratch.path(), SocketType::DGRAM), Err(BindError::Live(_))));
    UnixStream::connect(scratch.path()).unwrap();
    drop((file, socket));

    let live = UnixDatagram::bind(scratch.path()).unwrap();
    assert!(matches!(SocketFile::bind(&scratch.path(), SocketType::DGRAM), Err(BindError::Live(_))));
    drop(live);
    SocketFile::bind(&scratch.path(), SocketType::DGRAM).unwrap();
}

#[test]
fn a_file_that_took_its_place_is_not_removed() {
    let scratch = Scratch::new("place");
    let (file, _socket) = bound(&scratch.path()).unwrap();
    fs::remove_file(scratch.path()).unwrap();
    fs::write(scratch.path(), "another's").unwrap();
    drop(file);
    assert_eq!(fs::read_to_string(scratch.path()).unwrap(), "another's");
    assert!(matches!(bound(&scratch.path()), Err(BindError::Taken(_))));
}

#[test]
fn a_place_that_others_may_write_to_is_refused() {
    let scratch = Scratch::new("shared");
    for (mode, refused) in [(0o777, true), (0o770, true), (0o1777, false), (0o755, false)] {
        fs::set_permissions(&scratch.0, fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(matches!(bound(&scratch.path()), Err(BindError::Shared(_))), refused, "{mode:o}");
    }
}

#[test]
fn a_path_that_can_be_none_is_told() {
    assert!(matches!(bound(Path::new("/")), Err(BindError::Path(_))));
    assert!(matches!(bound(Path::new(&format!("/tmp/{}", "x".repeat(108)))), Err(BindError::Path(_))));
    assert!(matches!(bound(Path::new("/nonexistent/s")), Err(BindError::Parent(..))));
    assert!(matches!(bound(Path::new("/dev/null/s")), Err(BindError::Parent(..))));
}
