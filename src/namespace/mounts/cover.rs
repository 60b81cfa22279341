//! The mounts everything here is made of: a fresh tmpfs, an empty thing over a full one, a read-only view.
//!
//! Nothing is ever created on a disk of the host: what is mounted over must exist, and what is created lies
//! in a tmpfs of this mount namespace.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use rustix::io::Errno;
use rustix::mount::MountFlags;

use crate::namespace::error::NamespaceError;

/// Size and files of one tmpfs: enough for lock and pid files and sockets, not a way to fill the memory.
const TMPFS_BOUNDS: &str = "size=64m,nr_inodes=16k";
/// Nothing in a directory of the sandbox's own is a device or a program with its owner's rights.
const PLAIN: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV);

/// Mounts an empty, writable tmpfs over a directory, with the mode and, where it can be, the owner that it
/// has.
pub(super) fn with_tmpfs(directory: &Path) -> Result<(), NamespaceError> {
    let failed = || NamespaceError::mount::<std::io::Error>(directory);
    let metadata = fs::metadata(directory).map_err(failed())?;
    let options = format!("mode={:o},{TMPFS_BOUNDS}", metadata.mode() & 0o7777);
    rustix::mount::mount("tmpfs", directory, "tmpfs", PLAIN, options_text(&options)?.as_c_str())
        .map_err(NamespaceError::mount(directory))?;
    // An owner outside our user namespace cannot be given; the directory is then the caller's.
    let owned = chown(directory, Some(metadata.uid()), Some(metadata.gid()));
    if owned.is_err_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied) {
        return Err(NamespaceError::mount(directory)(Errno::PERM));
    }
    Ok(())
}

/// Mounts an empty tmpfs of the sandbox's own.
pub(super) fn with_own_tmpfs(directory: &Path) -> Result<(), NamespaceError> {
    let options = format!("mode=0755,{TMPFS_BOUNDS}");
    let flags = PLAIN | MountFlags::NOEXEC;
    rustix::mount::mount("tmpfs", directory, "tmpfs", flags, options_text(&options)?.as_c_str())
        .map_err(NamespaceError::mount(directory))
}

/// Mounts `source` over `target`, with the flags of the mount that `source` lies in.
pub(super) fn with(source: &Path, target: &Path) -> Result<(), NamespaceError> {
    rustix::mount::mount_bind(source, target).map_err(NamespaceError::mount(target))
}

/// Makes what is at `path` read-only, by a mount of itself.
pub(super) fn with_read_only_self(path: &Path) -> Result<(), NamespaceError> {
    with(path, path)?;
    read_only(path)
}

/// Makes the mount at `path` read-only and keeps its other flags, which may be locked.
pub(super) fn read_only(path: &Path) -> Result<(), NamespaceError> {
    let now = rustix::fs::statvfs(path).map_err(NamespaceError::mount(path))?.f_flag;
    let mut flags = MountFlags::BIND | MountFlags::RDONLY;
    for (has, keep) in [
        (rustix::fs::StatVfsMountFlags::NOSUID, MountFlags::NOSUID),
        (rustix::fs::StatVfsMountFlags::NODEV, MountFlags::NODEV),
        (rustix::fs::StatVfsMountFlags::NOEXEC, MountFlags::NOEXEC),
    ] {
        if now.contains(has) {
            flags |= keep;
        }
    }
    rustix::mount::mount_remount(path, flags, c"").map_err(NamespaceError::mount(path))
}

/// Creates a directory of the sandbox's own with exactly this mode.
pub(super) fn make_directory(path: &Path, mode: u32) -> Result<(), NamespaceError> {
    fs::create_dir_all(path)
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(mode)))
        .map_err(NamespaceError::mount(path))
}

fn options_text(options: &str) -> Result<std::ffi::CString, NamespaceError> {
    std::ffi::CString::new(options).map_err(|_| NamespaceError::mount("tmpfs")(Errno::INVAL))
}
