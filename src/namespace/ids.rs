//! The ids of a user namespace: everyone keeps theirs.
//!
//! Invariant: no id of the guest means another id outside. A caller with the capabilities to map all ids gets
//! all of them (files keep their owners, groups stay what they are); any other gets its own and no other.

use std::fs;
use std::path::PathBuf;

use rustix::process::Pid;
use rustix::thread::CapabilitySet;

use crate::namespace::error::NamespaceError;

/// What a user namespace gets for ids.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Ids {
    /// Every id of the namespace around it.
    All {
        /// The lines of `uid_map`.
        users: String,
        /// The lines of `gid_map`.
        groups: String,
    },
    /// One user and one group.
    One {
        /// The user.
        user: u32,
        /// The group.
        group: u32,
    },
}

impl Ids {
    /// What the caller may give.
    pub(super) fn of_caller() -> Result<Self, NamespaceError> {
        let needed = CapabilitySet::SETUID | CapabilitySet::SETGID | CapabilitySet::SETFCAP;
        let held = rustix::thread::capabilities(None).map_err(NamespaceError::system("capget"))?;
        if held.effective.contains(needed) {
            let read = |path| fs::read_to_string(path).map_err(NamespaceError::system(path));
            let (users, groups) = (read("/proc/self/uid_map")?, read("/proc/self/gid_map")?);
            return Ok(Self::All { users: identity(&users), groups: identity(&groups) });
        }
        let (user, group) = (rustix::process::geteuid(), rustix::process::getegid());
        Ok(Self::One { user: user.as_raw(), group: group.as_raw() })
    }

    /// Writes the maps of process `pid`, which has just entered its user namespace.
    pub(super) fn map(&self, pid: Pid) -> Result<(), NamespaceError> {
        let write = |file: &str, text: &str| {
            let path = PathBuf::from(format!("/proc/{}/{file}", pid.as_raw_nonzero()));
            let failed =
                |error: std::io::Error| NamespaceError::IdMap { file: file.to_owned(), errno: error.into() };
            fs::write(path, text).map_err(failed)
        };
        match self {
            Self::All { users, groups } => {
                write("uid_map", users)?;
                write("gid_map", groups)
            }
            Self::One { user, group } => {
                write("uid_map", &format!("{user} {user} 1\n"))?;
                // Without this a process could drop a group that denies it something; the kernel insists.
                write("setgroups", "deny")?;
                write("gid_map", &format!("{group} {group} 1\n"))
            }
        }
    }
}

/// The map in which every id that `map` has means itself: first column, first column, count.
fn identity(map: &str) -> String {
    let ranges = map.lines().filter_map(|line| {
        let mut columns = line.split_ascii_whitespace();
        let (first, count) = (columns.next()?, columns.nth(1)?);
        Some(format!("{first} {first} {count}\n"))
    });
    ranges.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mapped_id_means_itself() {
        assert_eq!(identity("         0          0 4294967295\n"), "0 0 4294967295\n");
        assert_eq!(identity("0 1000 1\n1 100000 65536\n"), "0 0 1\n1 1 65536\n");
        assert_eq!(identity(""), "");
    }
}
