//! The system calls no safe crate offers; the one module that may hold `unsafe`.
//!
//! Each function is safe to call: what its call needs is checked or arranged inside. The allocator is below it,
//! because it can be written no other way.

#![expect(
    unsafe_code,
    reason = "the one place for system calls that neither std nor rustix makes safe, and for the allocator"
)]

use std::ffi::c_ulong;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::mem::MaybeUninit;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::panic::{self, AssertUnwindSafe};

use rustix::process::Pid;
use rustix::thread::UnshareFlags;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

mod allocator;
mod pages;

pub use allocator::Allocator;
pub(crate) use pages::Pages;

/// Exit status of a forked process whose body panicked.
const PANICKED: u8 = 125;
/// Octets of a `struct signalfd_siginfo`.
const SIGNAL_RECORD: usize = 128;

/// Opens a TAP device in the caller's network namespace with a `virtio_net_hdr` of `header` octets and
/// checksum and TCP segmentation offload.
///
/// # Errors
/// `InvalidInput` for a name that does not fit `IFNAMSIZ`; else what the kernel says.
pub(crate) fn open_tap(name: &str, header: usize) -> io::Result<OwnedFd> {
    let file =
        OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open("/dev/net/tun")?;
    let tap = OwnedFd::from(file);
    let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
    let mut request = interface_request(name, flags)?;
    // SAFETY: TUNSETIFF reads and writes one `ifreq`, which `request` is, and keeps no pointer to it.
    check(unsafe { libc::ioctl(tap.as_raw_fd(), libc::TUNSETIFF, &raw mut request) })?;
    agree_on_offloads(&tap, header)?;
    Ok(tap)
}

/// Agrees with the kernel on the offloads of [`open_tap`] for a TAP device that somebody else opened.
///
/// # Errors
/// `InvalidInput` if it is no TAP device with a `virtio_net_hdr` and without packet information.
pub(crate) fn adopt_tap(tap: &OwnedFd, header: usize) -> io::Result<()> {
    // SAFETY: `ifreq` is plain data for which all zeroes is a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // SAFETY: TUNGETIFF writes one `ifreq`, which `request` is.
    check(unsafe { libc::ioctl(tap.as_raw_fd(), libc::TUNGETIFF, &raw mut request) })
        .map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    // SAFETY: TUNGETIFF has set the flags.
    let flags = libc::c_int::from(unsafe { request.ifr_ifru.ifru_flags });
    let wanted = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
    if flags & wanted != wanted {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    agree_on_offloads(tap, header)
}

fn agree_on_offloads(tap: &OwnedFd, header: usize) -> io::Result<()> {
    let header = libc::c_int::try_from(header).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: TUNSETVNETHDRSZ reads one int.
    check(unsafe { libc::ioctl(tap.as_raw_fd(), libc::TUNSETVNETHDRSZ, &raw const header) })?;

    let offload = libc::c_ulong::from(libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6);
    // SAFETY: TUNSETOFFLOAD takes its argument by value.
    check(unsafe { libc::ioctl(tap.as_raw_fd(), libc::TUNSETOFFLOAD, offload) })?;
    Ok(())
}

/// A descriptor of its own for what this process was started with under `number`; neither is passed on.
///
/// # Errors
/// `fcntl`'s: nothing is open under that number.
pub(crate) fn inherited(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: F_DUPFD_CLOEXEC takes any number and answers EBADF for one that is not open.
    let own = check(unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 3) })?;
    // SAFETY: the descriptor is new and nobody else's.
    let own = unsafe { OwnedFd::from_raw_fd(own) };
    // SAFETY: the flag says only what becomes of the descriptor when another program is executed.
    check(unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) })?;
    Ok(own)
}

/// Registers a descriptor with the tokio runtime of the calling thread.
///
/// # Errors
/// The descriptor cannot be polled.
pub(crate) fn register(file: File) -> io::Result<AsyncFd<File>> {
    // SAFETY: a `File` owns its descriptor, which stays open and the same until the `AsyncFd` drops it.
    unsafe { AsyncFd::register(file) }.map_err(io::Error::from)
}

/// Whether an error of a TAP descriptor means that its device, or the namespace with it, is gone.
pub(crate) fn device_is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EBADFD | libc::ENODEV))
}

fn interface_request(name: &str, flags: libc::c_int) -> io::Result<libc::ifreq> {
    if name.is_empty() || name.len() >= libc::IFNAMSIZ {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "interface name must have 1 to 15 octets"));
    }
    // SAFETY: `ifreq` is plain data for which all zeroes is a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = libc::c_char::from_ne_bytes([from]);
    }
    request.ifr_ifru.ifru_flags =
        libc::c_short::try_from(flags).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    Ok(request)
}

/// Forks with `CLONE_NEW*` flags, runs `body` in the child and ends the child with what it returns.
///
/// # Errors
/// What `clone` said; `Deadlock` when the process has more than one thread: the child would own a copy of locks
/// whose holders it has not.
pub(crate) fn fork_into(flags: libc::c_int, body: impl FnOnce() -> u8) -> io::Result<Pid> {
    if fs::read_dir("/proc/self/task")?.count() != 1 {
        return Err(io::ErrorKind::Deadlock.into());
    }
    let flags = c_ulong::try_from(flags | libc::SIGCHLD).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: no CLONE_VM, no CLONE_THREAD and no stack of its own: this is fork(2) with namespaces. There is
    // one thread, so no lock is held by a thread that the child lacks.
    let pid = check(unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) })?;
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        return Ok(pid);
    }
    let status = panic::catch_unwind(AssertUnwindSafe(body)).unwrap_or(PANICKED);
    // SAFETY: _exit has no precondition; it skips the exit handlers, which are the parent's.
    unsafe { libc::_exit(libc::c_int::from(status)) }
}

/// Moves this process into a new user namespace and a new mount namespace.
///
/// # Errors
/// What `unshare` said.
pub(crate) fn unshare_user_and_mounts() -> io::Result<()> {
    // SAFETY: only CLONE_FILES can hurt other threads, and it is not among the flags.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWUSER | UnshareFlags::NEWNS) }?;
    Ok(())
}

/// Takes the set-user-ID bit and file capabilities from every program under `/`, in all its mounts.
///
/// # Errors
/// What `mount_setattr` said; it is in Linux 5.12 and later.
pub(crate) fn ignore_file_privileges() -> io::Result<()> {
    let attributes =
        libc::mount_attr { attr_set: libc::MOUNT_ATTR_NOSUID, attr_clr: 0, propagation: 0, userns_fd: 0 };
    // SAFETY: the kernel reads the path up to its end and one `mount_attr` of the size given.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            c"/".as_ptr(),
            libc::AT_RECURSIVE,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    })?;
    Ok(())
}

/// Has a datagram socket of the family of `peer` told of every ICMP error about what it sent, passing ones too.
///
/// # Errors
/// What `setsockopt` said.
pub(crate) fn receive_errors(socket: &OwnedFd, peer: IpAddr) -> io::Result<()> {
    let (level, option) = match peer {
        IpAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_RECVERR),
        IpAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_RECVERR),
    };
    let on: libc::c_int = 1;
    let size = libc::socklen_t::try_from(size_of_val(&on)).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: the kernel reads one int of the size given.
    check(unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const on).cast(), size) })?;
    Ok(())
}

/// Blocks `signals` and gives a descriptor that reads them.
///
/// # Errors
/// What `sigprocmask` or `signalfd` said.
pub(crate) fn divert_signals(signals: &[libc::c_int]) -> io::Result<OwnedFd> {
    let set = block_signals(signals)?;
    // SAFETY: the set is initialized; -1 asks for a new descriptor.
    let fd = check(unsafe { libc::signalfd(-1, &raw const set, libc::SFD_NONBLOCK | libc::SFD_CLOEXEC) })?;
    // SAFETY: the descriptor is new and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Blocks `signals` in this thread and gives the set back.
///
/// # Errors
/// What `sigprocmask` said.
pub(crate) fn block_signals(signals: &[libc::c_int]) -> io::Result<libc::sigset_t> {
    let mut set = MaybeUninit::uninit();
    // SAFETY: sigemptyset initializes the set, sigaddset changes an initialized one, pthread_sigmask reads
    // it.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for &signal in signals {
            check(libc::sigaddset(set.as_mut_ptr(), signal))?;
        }
        match libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), std::ptr::null_mut()) {
            0 => Ok(set.assume_init()),
            errno => Err(io::Error::from_raw_os_error(errno)),
        }
    }
}

/// A signal read from the descriptor of [`divert_signals`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Diverted {
    /// Its number.
    pub(crate) signal: libc::c_int,
    /// Who sent it: 0 or less for a process, more for the kernel (sigaction(2), `si_code`).
    pub(crate) code: libc::c_int,
}

/// Reads one signal; `WouldBlock` when none is pending.
///
/// # Errors
/// What `read` said.
pub(crate) fn read_signal(fd: &OwnedFd) -> io::Result<Diverted> {
    let mut record = [0_u8; SIGNAL_RECORD];
    let length = rustix::io::read(fd, &mut record)?;
    let word = |at: usize| -> io::Result<libc::c_int> {
        let octets =
            record.get(at..at + 4).filter(|_| length == SIGNAL_RECORD).and_then(|o| o.try_into().ok());
        octets.map(libc::c_int::from_ne_bytes).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    };
    Ok(Diverted { signal: word(0)?, code: word(8)? })
}

/// Registers a descriptor for reading with the tokio runtime this is called in.
///
/// # Errors
/// What `epoll_ctl` said.
pub(crate) fn watch(fd: BorrowedFd<'_>) -> io::Result<AsyncFd<BorrowedFd<'_>>> {
    // SAFETY: a BorrowedFd is the same open descriptor as long as it lives, which is longer than the
    // registration.
    unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }.map_err(io::Error::from)
}

/// Leaves the session keyring for a new, empty one. A kernel without keyrings has nothing to leave.
///
/// # Errors
/// What `keyctl` said.
pub(crate) fn join_new_session_keyring() -> io::Result<()> {
    const KEYCTL_JOIN_SESSION_KEYRING: c_ulong = 1;
    // SAFETY: a null name asks for an anonymous keyring; nothing is read or written.
    let joined = check(unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, 0_usize) });
    match joined {
        Err(error) if error.raw_os_error() != Some(libc::ENOSYS) => Err(error),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Marks every descriptor from `first` up close-on-exec.
///
/// # Errors
/// What `close_range` said; it is in Linux 5.11 and later.
pub(crate) fn close_on_exec_from(first: RawFd) -> io::Result<()> {
    const CLOSE_RANGE_CLOEXEC: c_ulong = 4;
    let first = c_ulong::try_from(first).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: the flag only marks descriptors; none is closed under its owner.
    check(unsafe {
        libc::syscall(libc::SYS_close_range, first, c_ulong::from(libc::c_uint::MAX), CLOSE_RANGE_CLOEXEC)
    })?;
    Ok(())
}

/// A process at the other end of a Unix socket, as it was when it connected or began to listen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    /// Its number in our pid namespace; 0 where it has none.
    pub(crate) process: libc::pid_t,
    /// Its effective user.
    pub(crate) user: libc::uid_t,
}

/// Who is at the other end of a Unix socket. rustix's own call cannot say that the process has no number here.
///
/// # Errors
/// What `getsockopt` said.
pub(crate) fn peer_of(socket: BorrowedFd<'_>) -> io::Result<Peer> {
    let mut credentials = libc::ucred { pid: 0, uid: libc::uid_t::MAX, gid: libc::gid_t::MAX };
    let mut length = libc::socklen_t::try_from(size_of::<libc::ucred>()).map_err(io::Error::other)?;
    let (fd, value) = (socket.as_raw_fd(), (&raw mut credentials).cast());
    // SAFETY: SO_PEERCRED writes at most `length` octets to `credentials`, which has so many.
    check(unsafe { libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_PEERCRED, value, &raw mut length) })?;
    Ok(Peer { process: credentials.pid, user: credentials.uid })
}

/// Closes every descriptor from 3 up but `keep`, in a process of [`fork_into`]'s making: the copies it has of its
/// parent's descriptors, whose owners it never drops.
///
/// # Errors
/// What `close_range` said; it is in Linux 5.9 and later.
pub(crate) fn close_inherited(keep: BorrowedFd<'_>) -> io::Result<()> {
    const FIRST: libc::c_uint = 3;
    let keep = libc::c_uint::try_from(keep.as_raw_fd()).map_err(io::Error::other)?;
    for (first, last) in
        [(FIRST, keep.saturating_sub(1)), (keep.saturating_add(1).max(FIRST), libc::c_uint::MAX)]
    {
        if first <= last {
            // SAFETY: by the word of the caller nobody in this process uses what is closed.
            check(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) })?;
        }
    }
    Ok(())
}

/// The result of a call that says -1 for an error in `errno`.
fn check<T: From<i8> + PartialEq>(result: T) -> io::Result<T> {
    if result == T::from(-1) { Err(io::Error::last_os_error()) } else { Ok(result) }
}
