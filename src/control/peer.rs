//! Who is at the other end of a control socket.
//!
//! Both ends ask: a sandbox tells nothing to a stranger, and a client believes none. Invariant: a process of
//! another user but root is a stranger, and so is one inside a sandbox, which has the same user but is deeper in pid
//! namespaces.

use std::fs;
use std::io;
use std::os::fd::AsFd;

use crate::sys;

/// Why the other end is not talked to.
#[derive(Debug, thiserror::Error)]
pub enum Stranger {
    /// Another user's process.
    #[error("the other end is a process of user {0}; only this user and root may use it")]
    User(u32),
    /// A process in other namespaces.
    #[error("the other end is a process in other namespaces, as inside a sandbox; use it from outside")]
    Inside,
    /// The system does not say.
    #[error("cannot tell who is at the other end: {0}; see that /proc is mounted")]
    Unknown(#[from] io::Error),
}

/// Makes sure that the other end of a connected socket is this user's or root, and not inside a sandbox.
pub(super) fn admit(socket: impl AsFd) -> Result<(), Stranger> {
    let peer = sys::peer_of(socket.as_fd())?;
    if peer.user != rustix::process::geteuid().as_raw() {
        return if peer.user == 0 { Ok(()) } else { Err(Stranger::User(peer.user)) };
    }
    // Not to be seen from here: beside or above us.
    if peer.process <= 0 {
        return Err(Stranger::Inside);
    }
    if depth(&peer.process.to_string())? == depth("self")? { Ok(()) } else { Err(Stranger::Inside) }
}

/// How many pid namespaces a process is in, counted from that of `/proc`.
fn depth(process: &str) -> io::Result<usize> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    // A kernel that has no such line has no such namespaces.
    Ok(numbers.map_or(1, |numbers| numbers.split_ascii_whitespace().count()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn this_process_is_no_stranger() {
        let (one, other) = UnixStream::pair().unwrap();
        admit(&one).unwrap();
        admit(&other).unwrap();
        assert!(depth("self").unwrap() >= 1);
    }

    #[test]
    fn nothing_is_said_to_what_is_no_socket() {
        assert!(matches!(admit(fs::File::open("/dev/null").unwrap()), Err(Stranger::Unknown(_))));
    }
}
