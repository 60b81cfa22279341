//! The command's view of the file system: the host's own, without its sockets and with our trust.
//!
//! It confines the network and not the files: what the caller may read and write, the command may. Runs as
//! pid 1 in the new mount namespace. Invariant: what it covers stays covered, because the command lives in a
//! second user namespace, where all these mounts are locked.

mod cover;
mod host;
mod kernel;
mod sockets;

use std::fmt::Write;
use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::mount::MountPropagationFlags;

use crate::namespace::error::{Forbidden, NamespaceError};
use crate::namespace::{Spec, trust};
use crate::sys;

pub(super) use host::Host;

const RUN: &str = "/run";
/// The same place under its old name, where it is no link to `/run`.
const OLD_RUN: &str = "/var/run";
/// Directories kept for sockets, outside `/run`.
const SOCKET_DIRECTORIES: &[&str] = &["/tmp/.X11-unix", "/tmp/.ICE-unix"];
/// Directories a system makes in `/run` that programs expect there, open to all.
const RUN_DIRECTORIES: &[&str] = &["/run/lock", "/run/shm"];
const OPEN_TO_ALL: u32 = 0o1777;
const OPEN_TO_OWNER: u32 = 0o700;

/// Who the command will be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Identity {
    /// Its user.
    pub(super) user: u32,
    /// Its group.
    pub(super) group: u32,
}

/// Files of the sandbox's own, in a directory nobody can write.
struct Own {
    empty_file: PathBuf,
    empty_directory: PathBuf,
    resolver_file: PathBuf,
}

/// Arranges everything, in the order that hides before it shows.
pub(super) fn arrange(spec: &Spec, host: &Host, identity: Identity) -> Result<(), NamespaceError> {
    detach()?;
    let own = run(spec, host)?;
    for directory in SOCKET_DIRECTORIES.iter().map(Path::new).filter(|directory| is_real_directory(directory))
    {
        cover::with_tmpfs(directory)?;
    }
    kernel::proc()?;
    kernel::network_settings(identity.group);
    if identity.user == 0 {
        kernel::lock_proc()?;
    }
    kernel::sys()?;
    trust_and_names(host, &own)?;
    for path in &host.read_only {
        if path.exists() {
            cover::with_read_only_self(path)?;
        }
    }
    for path in &host.hidden {
        // What was in `/run` is hidden with all of it; what has its name now is the sandbox's own.
        if !path.starts_with(RUN) && path.exists() {
            cover::with(if path.is_dir() { &own.empty_directory } else { &own.empty_file }, path)?;
        }
    }
    sockets::hide(&host.sockets, &own.empty_file, &host.keep)?;
    ignore_file_privileges();
    Ok(())
}

/// The command could not use the privileges of a file anyway. But the kernel refuses to execute a program whose
/// capabilities it cannot grant, and `ping` is often one, which would do without them.
fn ignore_file_privileges() {
    // An older kernel leaves it at that.
    let _ = sys::ignore_file_privileges();
}

/// From here on no mount comes from the host and none goes there.
fn detach() -> Result<(), NamespaceError> {
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", private).map_err(|errno| match errno {
        // Namespaces without capabilities: what AppArmor's restriction looks like from inside.
        Errno::PERM | Errno::ACCESS => {
            NamespaceError::UserNamespace { errno: errno.into(), cause: Forbidden::diagnose(errno.into()) }
        }
        errno => NamespaceError::mount("/")(errno),
    })
}

/// A fresh `/run` (and `/var/run`, and runtime directory), with our own files in it.
fn run(spec: &Spec, host: &Host) -> Result<Own, NamespaceError> {
    let open_directories: Vec<_> =
        RUN_DIRECTORIES.iter().map(Path::new).filter(|d| is_real_directory(d)).collect();
    if !is_real_directory(Path::new(RUN)) {
        return Err(NamespaceError::NoRun);
    }
    cover::with_tmpfs(Path::new(RUN))?;
    if is_real_directory(Path::new(OLD_RUN)) {
        cover::with_tmpfs(Path::new(OLD_RUN))?;
    }
    for (link, target) in &host.run_links {
        symlink(target, link).map_err(NamespaceError::mount(link))?;
    }
    for directory in open_directories {
        cover::make_directory(directory, OPEN_TO_ALL)?;
    }
    match &host.runtime_directory {
        Some(directory) if directory.starts_with(RUN) => cover::make_directory(directory, OPEN_TO_OWNER)?,
        Some(directory) if directory.is_dir() => cover::with_tmpfs(directory)?,
        Some(_) | None => {}
    }
    own_files(spec)
}

fn own_files(spec: &Spec) -> Result<Own, NamespaceError> {
    let directory = Path::new(trust::DIRECTORY);
    let own = Own {
        empty_file: directory.join("empty"),
        empty_directory: directory.join("nothing"),
        resolver_file: directory.join("resolv.conf"),
    };
    cover::make_directory(directory, 0o755)?;
    cover::with_own_tmpfs(directory)?;
    cover::make_directory(&own.empty_directory, 0o555)?;
    let resolver = resolver_text(&spec.dns);
    let files = [
        (Path::new(trust::CA), spec.ca_pem.as_str()),
        (Path::new(trust::BUNDLE), spec.bundle.as_str()),
        (&own.resolver_file, &resolver),
        (&own.empty_file, ""),
    ];
    for (path, text) in files {
        fs::write(path, text)
            .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o444)))
            .map_err(NamespaceError::mount(path))?;
    }
    cover::read_only(directory)?;
    Ok(own)
}

/// Puts the merged bundle over the system's, and our nameservers over the system's.
fn trust_and_names(host: &Host, own: &Own) -> Result<(), NamespaceError> {
    for bundle in host.bundles.iter().filter(|bundle| bundle.is_file()) {
        cover::with(Path::new(trust::BUNDLE), bundle)?;
    }
    let resolver = &host.resolver_file;
    if resolver.is_file() {
        return cover::with(&own.resolver_file, resolver);
    }
    if !resolver.starts_with(RUN) {
        return Err(NamespaceError::NoResolverFile);
    }
    let directory = resolver.parent().unwrap_or(Path::new(RUN));
    fs::create_dir_all(directory).map_err(NamespaceError::mount(directory))?;
    symlink(&own.resolver_file, resolver).map_err(NamespaceError::mount(resolver))
}

fn resolver_text(nameservers: &[IpAddr]) -> String {
    nameservers.iter().fold(String::new(), |mut text, nameserver| {
        let _ = writeln!(text, "nameserver {nameserver}"); // writing to a String cannot fail
        text
    })
}

fn is_real_directory(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nameservers_stand_one_a_line() {
        let text = resolver_text(&["172.16.0.1".parse().unwrap(), "fd00::1".parse().unwrap()]);
        assert_eq!(text, "nameserver 172.16.0.1\nnameserver fd00::1\n");
    }
}
