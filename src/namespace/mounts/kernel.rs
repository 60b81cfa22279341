//! `/proc` and `/sys`, fresh, and read-only where the kernel itself could be changed through them.
//!
//! Invariant: the command never sees the host's `/proc`; where no fresh one can be had, nothing starts.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, StatVfsMountFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MoveMountFlags, OpenTreeFlags};

use crate::namespace::error::NamespaceError;
use crate::namespace::mounts::cover;

const INERT: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV).union(MountFlags::NOEXEC);
const CGROUPS: &str = "/sys/fs/cgroup";

/// What root may change in `/proc` without any capability, because its files belong to root.
const ROOTS_OWN: &[&str] =
    &["/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus", "/proc/fs", "/proc/acpi"];

/// Mounts a `/proc` of the new pid namespace.
pub(super) fn proc() -> Result<(), NamespaceError> {
    rustix::mount::mount("proc", "/proc", "proc", INERT, None).map_err(|errno| match errno {
        Errno::PERM => NamespaceError::ProcMasked,
        errno => NamespaceError::mount("/proc")(errno),
    })
}

/// Settings of the guest's own network namespace, which an unprivileged guest needs: to listen on low ports
/// and to ping, for both of which it lacks the capability. A kernel that has them not does without.
pub(super) fn network_settings(group: u32) {
    let settings = [
        ("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0".to_owned()),
        ("/proc/sys/net/ipv4/ping_group_range", format!("{group} {group}")),
    ];
    for (path, value) in settings {
        let _ = fs::write(path, value);
    }
}

/// Makes the kernel's settings in `/proc` read-only.
///
/// Only for a caller who is root. To anyone else the files' own modes forbid the same, and a `/proc` with
/// mounts in it would keep a sandbox inside this one (bubblewrap, a build's own) from mounting its fresh
/// `/proc`.
pub(super) fn lock_proc() -> Result<(), NamespaceError> {
    for path in ROOTS_OWN.iter().map(Path::new).filter(|path| path.exists()) {
        cover::with_read_only_self(path)?;
    }
    Ok(())
}

/// Mounts a `/sys` that shows the new network namespace, with the host's cgroups in it, all read-only. Where
/// a container allows none, the host's becomes read-only instead.
pub(super) fn sys() -> Result<(), NamespaceError> {
    if !Path::new("/sys/kernel").is_dir() {
        return Ok(());
    }
    let tree =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::AT_RECURSIVE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let cgroups = rustix::mount::open_tree(CWD, CGROUPS, tree);
    let fresh = rustix::mount::mount("sysfs", "/sys", "sysfs", INERT | MountFlags::RDONLY, None);
    if let (Ok(()), Ok(cgroups), true) = (fresh, cgroups, Path::new(CGROUPS).is_dir()) {
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        rustix::mount::move_mount(&cgroups, "", CWD, CGROUPS, flags)
            .map_err(NamespaceError::mount(CGROUPS))?;
    }
    for path in mount_points()?.iter().filter(|path| path.starts_with("/sys") && path.exists()) {
        // A mount hidden under the fresh /sys is still listed; its path is then no mount point.
        let remounted = cover::read_only(path);
        let flags = rustix::fs::statvfs(path).map_err(NamespaceError::mount(path))?.f_flag;
        if !flags.contains(StatVfsMountFlags::RDONLY) {
            return remounted.and(Err(NamespaceError::mount(path)(Errno::ROFS)));
        }
    }
    Ok(())
}

/// Every place something is mounted on, in this mount namespace.
pub(super) fn mount_points() -> Result<Vec<PathBuf>, NamespaceError> {
    let table = fs::read("/proc/self/mountinfo").map_err(NamespaceError::system("/proc/self/mountinfo"))?;
    Ok(parse_mount_points(&table))
}

/// Fifth field of each line of `mountinfo` (proc(5)), its octal escapes undone.
fn parse_mount_points(table: &[u8]) -> Vec<PathBuf> {
    let lines = table.split(|octet| *octet == b'\n');
    lines.filter_map(|line| line.split(|octet| *octet == b' ').nth(4)).map(unescape).collect()
}

fn unescape(field: &[u8]) -> PathBuf {
    let mut path = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&octet, after)) = rest.split_first() {
        let escaped = (octet == b'\\').then(|| after.get(..3)).flatten();
        let value = escaped.and_then(|digits| std::str::from_utf8(digits).ok());
        match value.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(value) => {
                path.push(value);
                rest = after.get(3..).unwrap_or_default();
            }
            None => {
                path.push(octet);
                rest = after;
            }
        }
    }
    PathBuf::from(OsString::from_vec(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_read_with_their_escapes() {
        let table = b"22 27 0:21 / /proc rw,relatime - proc proc rw\n\
            28 27 0:25 / /mnt/a\\040b\\134c rw shared:1 - tmpfs none rw\n";
        let points = parse_mount_points(table);
        assert_eq!(points, [Path::new("/proc"), Path::new("/mnt/a b\\c")]);
    }

    #[test]
    fn a_torn_escape_is_taken_as_it_is() {
        assert_eq!(unescape(b"/a\\04"), Path::new("/a\\04"));
        assert_eq!(unescape(b"/a\\"), Path::new("/a\\"));
        assert_eq!(unescape(b"/a\\9zz"), Path::new("/a\\9zz"));
    }
}
