//! The system calls the command may not make.
//!
//! Not a general sandbox: it closes the ways round the network namespace (other socket families, io_uring,
//! which makes sockets unseen), round the terminal (typing into it) and to the keyrings of the caller's user,
//! which no namespace hides, and it keeps the command from killing our process, which may be in its process group. Everything else is allowed. A program of a foreign
//! architecture (i386 on x86_64) is killed, because its numbers mean other calls; x32 gets `ENOSYS`.

use std::collections::BTreeMap;
use std::env::consts::ARCH;

use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

/// Typing into a terminal, and Linux' own console requests, one of which does the same.
const TERMINAL_REQUESTS: &[libc::Ioctl] = &[libc::TIOCSTI, libc::TIOCLINUX];
/// Socket families that stay inside the namespaces.
const FAMILIES: &[libc::c_int] = &[libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];
/// io_uring makes sockets without a system call that a filter sees.
const IO_URING: &[libc::c_long] =
    &[libc::SYS_io_uring_setup, libc::SYS_io_uring_enter, libc::SYS_io_uring_register];

/// The kernel's keyrings belong to a user id and to no namespace: who knows a serial number, and `/proc/keys` tells
/// it, links the keyring of the host's user into one's own and reads what lies in it.
const KEYRINGS: &[libc::c_long] = &[libc::SYS_add_key, libc::SYS_request_key, libc::SYS_keyctl];

/// Signals the command may send to its whole process group, which may be the caller's. None of these ends our
/// process: those that could are diverted to the command.
const GROUP_SIGNALS: &[libc::c_int] = &[
    0, // asks whether there is anyone
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGTERM,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGCONT,
    libc::SIGSTOP,
    libc::SIGTSTP,
    libc::SIGTTIN,
    libc::SIGTTOU,
    libc::SIGWINCH,
    libc::SIGCHLD,
    libc::SIGURG,
];

/// The programs, each to be installed; the kernel takes the strictest answer.
pub(super) fn programs() -> Result<Vec<BpfProgram>, BackendError> {
    let mut programs = vec![terminal()?, process_group()?, families()?, absent(IO_URING)?, absent(KEYRINGS)?];
    if cfg!(target_arch = "x86_64") {
        programs.push(x32());
    }
    Ok(programs)
}

fn terminal() -> Result<BpfProgram, BackendError> {
    // The kernel takes a request as 32 bits and ignores what stands above.
    let rules = TERMINAL_REQUESTS.iter().map(|&request| {
        let request = u64::from(u32::try_from(request).unwrap_or(u32::MAX));
        SeccompRule::new(vec![SeccompCondition::new(1, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, request)?])
    });
    filter([(libc::SYS_ioctl, rules.collect::<Result<_, _>>()?)], libc::EPERM)
}

fn process_group() -> Result<BpfProgram, BackendError> {
    let own_group = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, 0)?;
    let others = GROUP_SIGNALS.iter().map(|&signal| {
        let signal = u64::from(signal.unsigned_abs());
        SeccompCondition::new(1, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, signal)
    });
    let conditions = std::iter::once(Ok(own_group)).chain(others).collect::<Result<_, _>>()?;
    filter([(libc::SYS_kill, vec![SeccompRule::new(conditions)?])], libc::EPERM)
}

fn families() -> Result<BpfProgram, BackendError> {
    let others = || {
        let others = FAMILIES.iter().map(|&family| {
            let family = u64::from(family.unsigned_abs());
            SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, family)
        });
        SeccompRule::new(others.collect::<Result<_, _>>()?)
    };
    filter([(libc::SYS_socket, vec![others()?]), (libc::SYS_socketpair, vec![others()?])], libc::EAFNOSUPPORT)
}

/// As a kernel built without these calls.
fn absent(calls: &[libc::c_long]) -> Result<BpfProgram, BackendError> {
    filter(calls.iter().map(|&call| (call, Vec::new())), libc::ENOSYS)
}

fn filter(
    rules: impl IntoIterator<Item = (libc::c_long, Vec<SeccompRule>)>,
    errno: libc::c_int,
) -> Result<BpfProgram, BackendError> {
    let rules: BTreeMap<i64, Vec<SeccompRule>> = rules.into_iter().collect();
    let refuse = SeccompAction::Errno(errno.unsigned_abs());
    SeccompFilter::new(rules, SeccompAction::Allow, refuse, ARCH.try_into()?)?.try_into()
}

/// x32 shares the architecture of x86_64 and has numbers of its own, from bit 30 up, for the same calls.
fn x32() -> BpfProgram {
    use seccompiler::sock_filter;

    const X32_BIT: u32 = 0x4000_0000;
    const LOAD_WORD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS; the call's number is at offset 0
    const JUMP_IF_AT_LEAST: u16 = 0x35; // BPF_JMP | BPF_JGE | BPF_K
    const RETURN: u16 = 0x06; // BPF_RET | BPF_K
    let refuse = u32::from(SeccompAction::Errno(libc::ENOSYS.unsigned_abs()));
    vec![
        sock_filter { code: LOAD_WORD, jt: 0, jf: 0, k: 0 },
        sock_filter { code: JUMP_IF_AT_LEAST, jt: 0, jf: 1, k: X32_BIT },
        sock_filter { code: RETURN, jt: 0, jf: 0, k: refuse },
        sock_filter { code: RETURN, jt: 0, jf: 0, k: u32::from(SeccompAction::Allow) },
    ]
}
