//! What parent, pid 1 and command say to each other while a sandbox starts and ends.
//!
//! A socket pair that keeps messages whole, so none is ever half read. A closed end means that the process at
//! it is gone (or, for the command, that it is now the program it was to become).

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use serde::{Deserialize, Serialize};

use crate::namespace::error::NamespaceError;

/// Octets of the longest message: a path of PATH_MAX, escaped, in a text.
const LONGEST: usize = 32 << 10;

/// One step of the conversation.
#[derive(Debug, Deserialize, Serialize)]
pub(super) enum Message {
    /// Parent to pid 1, pid 1 to the command: your ids are mapped, go on.
    Mapped,
    /// Pid 1 to parent, with the TAP's descriptor: everything but the command is in place.
    Ready,
    /// Parent to pid 1: I am alive after you asked to die with me.
    Alive,
    /// The command to pid 1: I am in my own user namespace, map my ids.
    Unshared,
    /// Pid 1 to parent, with a pidfd of the command: it runs.
    Started,
    /// The sender gives up, and why.
    Failed(NamespaceError),
    /// Pid 1 to parent: the command was stopped.
    Stopped,
    /// Pid 1 to parent: the command ended by itself.
    Exited(u8),
    /// Pid 1 to parent: a signal ended the command.
    Killed(i32),
}

/// One end of a conversation.
#[derive(Debug)]
pub(super) struct Channel(OwnedFd);

impl Channel {
    /// Two connected ends, both close-on-exec.
    pub(super) fn pair() -> Result<(Self, Self), Errno> {
        let (one, other) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        Ok((Self(one), Self(other)))
    }

    /// Says something.
    pub(super) fn send(&self, message: &Message) -> Result<(), Errno> {
        self.send_all(message, &[])
    }

    /// Says something and hands over a descriptor.
    pub(super) fn send_with(&self, message: &Message, fd: BorrowedFd<'_>) -> Result<(), Errno> {
        self.send_all(message, &[fd])
    }

    fn send_all(&self, message: &Message, fds: &[BorrowedFd<'_>]) -> Result<(), Errno> {
        let text = serde_json::to_vec(message).map_err(|_| Errno::INVAL)?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
            return Err(Errno::NOBUFS);
        }
        let flags = SendFlags::NOSIGNAL;
        rustix::io::retry_on_intr(|| {
            rustix::net::sendmsg(&self.0, &[IoSlice::new(&text)], &mut control, flags)
        })?;
        Ok(())
    }

    /// Waits for the next message; none when the other end is closed.
    pub(super) fn receive(&self) -> Result<Option<(Message, Option<OwnedFd>)>, Errno> {
        self.receive_with(RecvFlags::CMSG_CLOEXEC)
    }

    /// Like [`Self::receive`], but `EAGAIN` when there is none yet.
    pub(super) fn try_receive(&self) -> Result<Option<(Message, Option<OwnedFd>)>, Errno> {
        self.receive_with(RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT)
    }

    fn receive_with(&self, flags: RecvFlags) -> Result<Option<(Message, Option<OwnedFd>)>, Errno> {
        let mut text = vec![0_u8; LONGEST];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = rustix::io::retry_on_intr(|| {
            rustix::net::recvmsg(&self.0, &mut [IoSliceMut::new(&mut text)], &mut control, flags)
        })?;
        let fd = control.drain().find_map(|message| {
            if let RecvAncillaryMessage::ScmRights(mut fds) = message { fds.next() } else { None }
        });
        if received.bytes == 0 {
            return Ok(None);
        }
        let message = text.get(..received.bytes).ok_or(Errno::MSGSIZE)?;
        Ok(Some((serde_json::from_slice(message).map_err(|_| Errno::BADMSG)?, fd)))
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn a_failure_crosses_whole() {
        let (one, other) = Channel::pair().unwrap();
        let path = PathBuf::from("x".repeat(4095));
        let failure = NamespaceError::mount(&path)(Errno::ACCESS);
        one.send(&Message::Failed(failure.clone())).unwrap();
        let Some((Message::Failed(received), None)) = other.receive().unwrap() else { panic!("no failure") };
        assert_eq!(received, failure);
    }

    #[test]
    fn a_descriptor_crosses_with_its_message() {
        let (one, other) = Channel::pair().unwrap();
        let (mine, theirs) = Channel::pair().unwrap();
        one.send_with(&Message::Ready, theirs.as_fd()).unwrap();
        let Some((Message::Ready, Some(fd))) = other.receive().unwrap() else { panic!("no descriptor") };
        Channel(fd).send(&Message::Alive).unwrap();
        assert!(matches!(mine.receive().unwrap(), Some((Message::Alive, None))));
    }

    #[test]
    fn a_closed_end_is_told_apart_from_silence() {
        let (one, other) = Channel::pair().unwrap();
        assert_eq!(other.try_receive().unwrap_err(), Errno::AGAIN);
        drop(one);
        assert!(other.receive().unwrap().is_none());
    }
}
