//! This machine's own addresses, which may be public ones.
//!
//! Its services on all addresses would be reached there, past its loopback. Invariant: nothing is sent to find out.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use crate::policy::Machine;

/// Port 9, discard (RFC 863): a datagram socket that is connected there has sent nothing yet.
const NOWHERE: u16 = 9;

/// Fails where `addr` is this machine's and another was meant.
pub(super) fn refuse_own(addr: IpAddr, machine: Machine) -> io::Result<()> {
    match machine {
        Machine::Meant => Ok(()),
        Machine::Other if is_own(addr) => {
            let why = "it is an address of this machine; a rule about that very address lets it";
            Err(io::Error::new(io::ErrorKind::PermissionDenied, why))
        }
        Machine::Other => Ok(()),
    }
}

/// Whether this error is ours; the kernel's own has a number.
pub(super) fn is_refusal(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied && error.raw_os_error().is_none()
}

/// Whether the kernel would speak to `addr` from that same address. Where it knows no way there, nobody is reached.
fn is_own(addr: IpAddr) -> bool {
    let any: IpAddr = match addr {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let source = || {
        let socket = UdpSocket::bind(SocketAddr::new(any, 0))?;
        socket.connect(SocketAddr::new(addr, NOWHERE))?;
        socket.local_addr()
    };
    source().is_ok_and(|source: SocketAddr| source.ip() == addr)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_this_machine_is_dialled_only_where_it_is_meant() {
        let own = IpAddr::V4(Ipv4Addr::LOCALHOST);
        assert!(refuse_own(own, Machine::Meant).is_ok());
        assert!(is_refusal(&refuse_own(own, Machine::Other).unwrap_err()));
        assert!(!is_refusal(&io::Error::from_raw_os_error(1)), "the kernel's own");
        assert!(refuse_own(Ipv4Addr::new(93, 184, 216, 34).into(), Machine::Other).is_ok());
    }
}
