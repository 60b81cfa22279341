//! The pathname Unix sockets of the host's processes: which there are, and how they are hidden.
//!
//! A network namespace does not hold them; only the file system does. Invariant: what [`named`] and
//! [`listed`] find is gone from the command's view, or nothing starts. What a process of the host binds
//! later, outside the directories hidden whole, is not known here; SECURITY.md says so.

use std::cell::LazyCell;
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::namespace::error::NamespaceError;
use crate::namespace::mounts::cover;

/// Variables that hold the path of a socket, as it is.
const PLAIN_VARIABLES: &[&str] =
    &["CONTAINERD_ADDRESS", "NOTIFY_SOCKET", "SSH_AUTH_SOCK", "VSCODE_GIT_IPC_HANDLE", "VSCODE_IPC_HOOK_CLI"];
/// Variables that hold a URL, whose path is a socket's if its scheme is `unix`.
const URL_VARIABLES: &[&str] = &["CONTAINER_HOST", "DOCKER_HOST"];
/// Variables that hold D-Bus addresses.
const BUS_VARIABLES: &[&str] =
    &["DBUS_SESSION_BUS_ADDRESS", "DBUS_STARTER_ADDRESS", "DBUS_SYSTEM_BUS_ADDRESS"];
/// Sockets in the home directory of programs that may listen in another network namespace.
const HOME_SOCKETS: &[&str] = &[".docker/run/docker.sock", ".docker/desktop/docker.sock"];
/// Where gpg-agent listens when there is no runtime directory.
const GPG_DIRECTORY: &str = ".gnupg";

/// Paths the environment and the usual places name, whether or not a socket is there.
pub(super) fn named(variable: &dyn Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> =
        PLAIN_VARIABLES.iter().filter_map(|name| variable(name)).map(PathBuf::from).collect();
    let urls = URL_VARIABLES.iter().filter_map(|name| variable(name));
    paths.extend(urls.filter_map(|url| Some(path(url.as_bytes().strip_prefix(b"unix://")?))));
    for addresses in BUS_VARIABLES.iter().filter_map(|name| variable(name)) {
        paths.extend(bus_paths(&addresses));
    }
    // GPG_AGENT_INFO is PATH:PID:VERSION.
    let agent = variable("GPG_AGENT_INFO");
    paths.extend(agent.iter().filter_map(|info| info.as_bytes().split(|o| *o == b':').next()).map(path));
    if let Some(home) = variable("HOME").map(PathBuf::from) {
        paths.extend(HOME_SOCKETS.iter().map(|socket| home.join(socket)));
        paths.extend(entries(&home.join(GPG_DIRECTORY)));
    }
    paths
}

/// Paths in the text of `/proc/net/unix`. One that was bound relative to some directory is tried in each of
/// `directories`, which are asked for only then.
pub(super) fn listed(table: &[u8], directories: impl FnOnce() -> Vec<PathBuf>) -> Vec<PathBuf> {
    const COLUMNS_BEFORE_PATH: usize = 7;
    let directories = LazyCell::new(directories);
    let mut paths = BTreeSet::new();
    for line in table.split(|octet| *octet == b'\n').skip(1) {
        let mut rest = line.trim_ascii_start();
        for _ in 0..COLUMNS_BEFORE_PATH {
            let end = rest.iter().position(|octet| *octet == b' ').unwrap_or(rest.len());
            rest = rest.get(end..).unwrap_or_default().trim_ascii_start();
        }
        match rest.first() {
            None | Some(b'@') => {} // unnamed, or of the abstract space, which the network namespace holds
            Some(b'/') => drop(paths.insert(path(rest))),
            Some(_) => paths.extend(directories.iter().map(|directory| directory.join(path(rest)))),
        }
    }
    paths.into_iter().collect()
}

/// Working directories of the processes we may look at, each once.
pub(super) fn working_directories() -> Vec<PathBuf> {
    let processes = entries(Path::new("/proc"));
    let found: BTreeSet<_> =
        processes.iter().filter_map(|process| fs::read_link(process.join("cwd")).ok()).collect();
    found.into_iter().collect()
}

/// The ones of `paths` that are sockets here and now, links resolved, each once.
pub(super) fn existing(paths: impl IntoIterator<Item = PathBuf>) -> Vec<PathBuf> {
    let sockets = paths.into_iter().filter(|path| is_socket(path));
    let found: BTreeSet<_> = sockets.filter_map(|path| path.canonicalize().ok()).collect();
    found.into_iter().collect()
}

/// Covers each socket with `empty`, or its whole directory with a fresh one where nothing else is in it: a
/// socket bound there anew then stays hidden too. `keep` are places whose directories must stay.
pub(super) fn hide(sockets: &[PathBuf], empty: &Path, keep: &[PathBuf]) -> Result<(), NamespaceError> {
    for socket in sockets {
        let Some(directory) = socket.parent() else { continue };
        if !is_socket(socket) {
            continue; // hidden already, with its directory
        }
        if keep.iter().any(|place| place.starts_with(directory)) || !is_for_sockets(directory) {
            cover::with(empty, socket)?;
        } else {
            cover::with_tmpfs(directory)?;
        }
    }
    Ok(())
}

/// Is this a directory that one program keeps for its sockets?
fn is_for_sockets(directory: &Path) -> bool {
    const WRITABLE_BY_OTHERS: u32 = 0o022;
    let private =
        fs::metadata(directory).is_ok_and(|meta| meta.permissions().mode() & WRITABLE_BY_OTHERS == 0);
    private && entries(directory).iter().all(|entry| is_socket(entry))
}

fn is_socket(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket())
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    let listing = fs::read_dir(directory).into_iter().flatten();
    listing.filter_map(Result::ok).map(|entry| entry.path()).collect()
}

/// Paths in a list of D-Bus addresses: `unix:path=/run/bus,guid=…;tcp:…`, values percent-escaped.
fn bus_paths(addresses: &OsStr) -> Vec<PathBuf> {
    let addresses = addresses.as_bytes().split(|octet| *octet == b';');
    let unix = addresses.filter_map(|address| address.strip_prefix(b"unix:"));
    let pairs = unix.flat_map(|address| address.split(|octet| *octet == b','));
    pairs.filter_map(|pair| pair.strip_prefix(b"path=")).map(|value| path(&unpercent(value))).collect()
}

fn unpercent(value: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(value.len());
    let mut rest = value;
    while let Some((&octet, after)) = rest.split_first() {
        let digits = (octet == b'%').then(|| after.get(..2)).flatten();
        let value = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        let value = value.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        plain.push(value.unwrap_or(octet));
        rest = if value.is_some() { after.get(2..).unwrap_or_default() } else { after };
    }
    plain
}

fn path(octets: &[u8]) -> PathBuf {
    PathBuf::from(OsString::from_vec(octets.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pathname_sockets_are_found_in_the_kernels_table() {
        let table = b"Num       RefCount Protocol Flags    Type St Inode Path\n\
            0000000000000000: 00000003 00000000 00000000 0001 03  1062\n\
            0000000000000000: 00000002 00000000 00010000 0001 01 22641 /run/dbus/system bus\n\
            0000000000000000: 00000002 00000000 00010000 0001 01 22641 @/tmp/.X11-unix/X0\n\
            0000000000000000: 00000002 00000000 00010000 0001 01     7 sock/control\n";
        let found = listed(table, || ["/a", "/b"].map(PathBuf::from).to_vec());
        let expected = ["/a/sock/control", "/b/sock/control", "/run/dbus/system bus"];
        assert_eq!(found, expected.map(PathBuf::from));
    }

    #[test]
    fn a_table_cut_anywhere_gives_no_wrong_absolute_path() {
        let table = b"Num Path\n0000: 00000002 00000000 00010000 0001 01 22641 /run/x\n";
        for end in 0..table.len() {
            let found = listed(&table[..end], Vec::new);
            assert!(
                found
                    .iter()
                    .all(|path| Path::new("/run/x").to_string_lossy().starts_with(&*path.to_string_lossy()))
            );
        }
    }

    #[test]
    fn the_environment_names_sockets() {
        let variable = |name: &str| {
            let value = match name {
                "SSH_AUTH_SOCK" => "/tmp/ssh-x/agent.1",
                "DOCKER_HOST" => "unix:///srv/docker.sock",
                "CONTAINER_HOST" => "ssh://host/run/podman.sock",
                "DBUS_SESSION_BUS_ADDRESS" => "tcp:host=x;unix:path=/tmp/a%20b,guid=1",
                "GPG_AGENT_INFO" => "/g/S.gpg-agent:12:1",
                _ => return None,
            };
            Some(OsString::from(value))
        };
        let expected = ["/tmp/ssh-x/agent.1", "/srv/docker.sock", "/tmp/a b", "/g/S.gpg-agent"];
        assert_eq!(named(&variable), expected.map(PathBuf::from));
    }

    #[test]
    fn percent_escapes_are_undone_where_they_are_whole() {
        assert_eq!(unpercent(b"/a%2fb%2"), b"/a/b%2");
        assert_eq!(unpercent(b"%zz%41"), b"%zzA");
    }
}
