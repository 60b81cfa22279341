//! `--link`: from a text to the guest's cable.
//!
//! Invariant: a descriptor that was passed is taken for what it is, never for what it is hoped to be.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd, RawFd};
use std::path::PathBuf;

use rustix::fs::{FileType, fstat};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketType, getpeername, sockopt};

use crate::link::BindError;
use crate::link::datagram::DatagramLink;
use crate::link::stream::StreamLink;
use crate::link::tap::{self, TapLink};
use crate::sandbox::{Prepared, Sandbox, StartError};
use crate::sys;

/// Why there is no link.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkError {
    #[error("--link {}: write qemu:PATH, krun:PATH, tap:NAME or fd:N", .0.escape_debug())]
    Spelling(String),
    #[error("--link {0}")]
    Bind(#[from] BindError),
    #[error("--link fd:{0}: no such descriptor was passed; pass it open, numbered 3 or higher")]
    NotPassed(RawFd),
    #[error(
        "--link fd:{0}: is {1}; pass a connected Unix socket, or a TAP device with IFF_NO_PI and IFF_VNET_HDR"
    )]
    Unsuitable(RawFd, &'static str),
    #[error("--link fd:{0}: cannot be used: {1}")]
    Descriptor(RawFd, io::Error),
    #[error("--link tap:{0}: there is no /dev/net/tun: `modprobe tun`, or pass the device to this container")]
    NoTun(String),
    #[error(
        "--link tap:{0}: not permitted; as root run `ip tuntap add {0} mode tap user USER vnet_hdr`, or let root open it and pass it as fd:N"
    )]
    Denied(String),
    #[error("--link tap:{0}: another program has it open; end that, or name another device")]
    Busy(String),
    #[error(
        "--link tap:{0}: {1}; name a TAP device of this network namespace, or a new one of 1 to 15 octets"
    )]
    Tap(String, io::Error),
}

/// What is asked for; nothing is opened but what was passed.
#[derive(Debug)]
pub(super) enum Wanted {
    Qemu(PathBuf),
    Krun(PathBuf),
    Tap(String),
    Passed(RawFd, OwnedFd),
}

impl Wanted {
    /// Reads the flag's text, and takes the descriptor it names.
    pub(super) fn take(text: &str) -> Result<Self, LinkError> {
        let spelling = || LinkError::Spelling(text.to_owned());
        match text.split_once(':').ok_or_else(spelling)? {
            (_, "") => Err(spelling()),
            ("qemu", path) => Ok(Self::Qemu(PathBuf::from(path))),
            ("krun", path) => Ok(Self::Krun(PathBuf::from(path))),
            ("tap", name) => Ok(Self::Tap(name.to_owned())),
            ("fd", number) => {
                let number =
                    number.parse::<RawFd>().ok().filter(|number| *number >= 0).ok_or_else(spelling)?;
                // The first three are where we are told and tell things.
                let passed = if number > 2 { sys::inherited(number).ok() } else { None };
                passed.map(|fd| Self::Passed(number, fd)).ok_or(LinkError::NotPassed(number))
            }
            (_, _) => Err(spelling()),
        }
    }

    /// Opens it for a guest with this IP MTU, octets.
    pub(super) fn open(self, mtu: usize) -> Result<Cable, LinkError> {
        match self {
            Self::Qemu(path) => Ok(Cable::Stream(StreamLink::listen(&path, mtu)?)),
            Self::Krun(path) => Ok(Cable::Datagram(DatagramLink::bind(&path, mtu)?)),
            Self::Tap(name) => match tap::open(&name) {
                Ok(tap) => Ok(Cable::Tap(TapLink::new(tap, mtu))),
                Err(error) => Err(refused(name, error)),
            },
            Self::Passed(number, fd) => Cable::of(number, fd, mtu),
        }
    }
}

fn refused(name: String, error: io::Error) -> LinkError {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::NOENT | Errno::NODEV | Errno::NXIO) => LinkError::NoTun(name),
        Some(Errno::PERM | Errno::ACCESS) => LinkError::Denied(name),
        Some(Errno::BUSY) => LinkError::Busy(name),
        Some(_) | None => LinkError::Tap(name, error),
    }
}

/// An open link.
#[derive(Debug)]
pub(super) enum Cable {
    Stream(StreamLink),
    Datagram(DatagramLink),
    Tap(TapLink),
}

impl Cable {
    /// Tells what a descriptor is.
    fn of(number: RawFd, fd: OwnedFd, mtu: usize) -> Result<Self, LinkError> {
        let failed = |error| LinkError::Descriptor(number, error);
        let unsuitable = |what| LinkError::Unsuitable(number, what);
        let mode = fstat(&fd).map_err(|errno| failed(errno.into()))?.st_mode;
        let kind = FileType::from_raw_mode(mode);
        if kind == FileType::CharacterDevice {
            let adopted = tap::adopt(fd).map_err(|error| {
                let another = error.kind() == io::ErrorKind::InvalidInput;
                if another { unsuitable("another device") } else { failed(error) }
            })?;
            return Ok(Self::Tap(TapLink::new(adopted, mtu)));
        }
        if kind != FileType::Socket {
            return Err(unsuitable("neither a socket nor a device"));
        }
        if sockopt::socket_domain(fd.as_fd()).map_err(|errno| failed(errno.into()))? != AddressFamily::UNIX {
            return Err(unsuitable("a socket of another family"));
        }
        if getpeername(&fd).is_err() {
            return Err(unsuitable("a socket that is not connected"));
        }
        match sockopt::socket_type(&fd).map_err(|errno| failed(errno.into()))? {
            SocketType::STREAM => StreamLink::connected(fd.into(), mtu).map(Self::Stream).map_err(failed),
            _ => DatagramLink::connected(fd.into(), mtu).map(Self::Datagram).map_err(failed),
        }
    }

    /// Plugs it into the sandbox.
    pub(super) fn start(self, prepared: Prepared) -> Result<Sandbox, StartError> {
        match self {
            Self::Stream(link) => prepared.start(link),
            Self::Datagram(link) => prepared.start(link),
            Self::Tap(link) => prepared.start(link),
        }
    }
}
