//! What of the host the mounts depend on, looked at before anything is hidden.
//!
//! Runs in the parent, in the host's namespaces, and changes nothing. Invariant: every path is absolute, and
//! every link in it is resolved.

use std::env;
use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::namespace::error::NamespaceError;
use crate::namespace::mounts::{kernel, sockets};
use crate::namespace::{Spec, trust};

/// Links followed by hand for a file that need not exist; the kernel follows as many.
const LINKS: usize = 40;

/// The host as the mounts need to know it.
#[derive(Debug)]
pub(in crate::namespace) struct Host {
    /// Where the command starts.
    pub(in crate::namespace) working_directory: PathBuf,
    /// Links directly in `/run`, and where they point: programs and drivers on NixOS.
    pub(super) run_links: Vec<(PathBuf, PathBuf)>,
    /// `XDG_RUNTIME_DIR`, if it is there.
    pub(super) runtime_directory: Option<PathBuf>,
    /// What `/etc/resolv.conf` leads to; it need not exist.
    pub(super) resolver_file: PathBuf,
    /// Files with the system's certificate authorities.
    pub(super) bundles: Vec<PathBuf>,
    /// Our own files the command must not see.
    pub(super) hidden: Vec<PathBuf>,
    /// Our own files the command must not change.
    pub(super) read_only: Vec<PathBuf>,
    /// Sockets of the host's processes.
    pub(super) sockets: Vec<PathBuf>,
    /// Places whose directories must not be hidden whole.
    pub(super) keep: Vec<PathBuf>,
}

impl Host {
    /// Looks around.
    pub(in crate::namespace) fn look(spec: &Spec) -> Result<Self, NamespaceError> {
        let working_directory =
            env::current_dir().map_err(NamespaceError::system("the working directory"))?;
        let home = env::var_os("HOME").map(PathBuf::from);
        let runtime = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        let keep: Vec<PathBuf> = [Some(working_directory.clone()), home].into_iter().flatten().collect();
        let mut hidden = coverable(&spec.hidden)?;
        hidden.extend(private_directories(&spec.private, &keep)?);
        Ok(Self {
            keep,
            working_directory,
            run_links: links_in(Path::new("/run")),
            runtime_directory: runtime.and_then(|directory| directory.canonicalize().ok()),
            resolver_file: follow(Path::new("/etc/resolv.conf")),
            bundles: trust::system_bundles(),
            hidden,
            read_only: coverable(&spec.read_only)?,
            sockets: host_sockets()?,
        })
    }
}

/// Every socket the environment, the usual places, the kernel's table and the mounts name.
fn host_sockets() -> Result<Vec<PathBuf>, NamespaceError> {
    let table = fs::read("/proc/net/unix").map_err(NamespaceError::system("/proc/net/unix"))?;
    let named = sockets::named(&|name| env::var_os(name));
    let listed = sockets::listed(&table, sockets::working_directories);
    let mounted = kernel::mount_points()?;
    Ok(sockets::existing(named.into_iter().chain(listed).chain(mounted)))
}

fn links_in(directory: &Path) -> Vec<(PathBuf, PathBuf)> {
    let entries =
        fs::read_dir(directory).into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path());
    entries.filter_map(|link| fs::read_link(&link).ok().map(|target| (link, target))).collect()
}

/// Resolves links by hand, so that the last one may lead nowhere.
fn follow(path: &Path) -> PathBuf {
    let mut path = path.to_owned();
    for _ in 0..LINKS {
        if let Some(parent) = path.parent().and_then(|parent| parent.canonicalize().ok()) {
            path = path.file_name().map(|name| parent.join(name)).unwrap_or(parent);
        }
        let Ok(target) = fs::read_link(&path) else { break };
        path = path.parent().map(|parent| parent.join(&target)).unwrap_or(target);
    }
    path
}

/// The real places of our own files. A terminal or a pipe (`--log /dev/stderr`) is left out: it is nothing
/// that a name leads to again.
fn coverable(paths: &[PathBuf]) -> Result<Vec<PathBuf>, NamespaceError> {
    let mut places = Vec::new();
    for path in paths {
        let kind = fs::metadata(path).map_err(NamespaceError::mount(path))?.file_type();
        match path.canonicalize() {
            Ok(place) if !kind.is_char_device() => places.push(place),
            Err(error) if !kind.is_fifo() && !kind.is_socket() => {
                return Err(NamespaceError::mount(path)(error));
            }
            Ok(_) | Err(_) => {}
        }
    }
    Ok(places)
}

/// The directories to hide so that nobody inside ever sees one of these files.
///
/// A mount over the file itself would not last: the kernel takes it away when the host renames another file to that
/// name, which is how a secret is replaced. It stays on a directory whatever happens in it.
fn private_directories(files: &[PathBuf], keep: &[PathBuf]) -> Result<Vec<PathBuf>, NamespaceError> {
    let mut directories = Vec::new();
    for file in files {
        let failed = || NamespaceError::mount::<std::io::Error>(file);
        // Where the name is, and where a link leads to.
        let named = file.parent().unwrap_or(Path::new("/")).canonicalize().map_err(failed())?;
        let place = file.canonicalize().map_err(failed())?;
        for directory in [Some(named.as_path()), place.parent()].into_iter().flatten() {
            if !can_be_hidden(directory, keep) {
                let (file, directory) = (file.clone(), directory.to_owned());
                return Err(NamespaceError::Private { file, directory });
            }
            directories.push(directory.to_owned());
        }
    }
    directories.sort();
    directories.dedup();
    Ok(directories)
}

/// Whether a command could do without this directory: not one of the system's, nor one that is open to all, nor where
/// the command is at home.
fn can_be_hidden(directory: &Path, keep: &[PathBuf]) -> bool {
    const STICKY: u32 = 0o1000;
    /// The root is one of them.
    const LEAST_COMPONENTS: usize = 3;
    let is_shared = fs::metadata(directory).is_ok_and(|data| data.permissions().mode() & STICKY != 0);
    let resolved = keep.iter().map(|place| place.canonicalize().unwrap_or_else(|_| place.clone()));
    let mut kept = keep.iter().cloned().chain(resolved);
    directory.components().count() >= LEAST_COMPONENTS
        && !is_shared
        && !kept.any(|place| place.starts_with(directory))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_file_of_ours_is_an_error() {
        let error = coverable(&[PathBuf::from("/nonexistent/audit.jsonl")]).unwrap_err();
        assert!(matches!(error, NamespaceError::Mount { .. }), "{error}");
    }

    #[test]
    fn only_a_directory_of_its_own_is_hidden_for_a_file() {
        let keep = ["/home/user/project/src", "/home/user"].map(PathBuf::from);
        for directory in ["/home/user/keys", "/home/user/project/keys", "/etc/keys", "/home/users"] {
            assert!(can_be_hidden(Path::new(directory), &keep), "{directory}");
        }
        for directory in ["/", "/etc", "/home", "/home/user", "/home/user/project", "/home/user/project/src"]
        {
            assert!(!can_be_hidden(Path::new(directory), &keep), "{directory}");
        }
        assert!(!can_be_hidden(&std::env::temp_dir(), &keep));
    }

    #[test]
    fn a_device_is_not_covered() {
        assert_eq!(coverable(&[PathBuf::from("/dev/null")]).unwrap(), Vec::<PathBuf>::new());
    }

    #[test]
    fn a_path_without_links_stays() {
        assert_eq!(follow(Path::new("/proc/nothing/here")), Path::new("/proc/nothing/here"));
    }
}
