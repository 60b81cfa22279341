//! This machine's own addresses, which may be public ones.
//!
//! Its services on all addresses would be reached there, past its loopback. Invariant: nothing is sent to find out.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use crate::policy::Machine;

/// Port 9, discard (RFC 863): a datagram socket that is connected there has sent nothing yet.
const NOWHERE: u16 = 9;

/// The address is this machine's, and another was meant.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("{0} is an address of this machine")]
struct OwnAddress(IpAddr);

/// Fails where `addr` is this machine's and another was meant.
pub(super) fn refuse_own(addr: IpAddr, machine: Machine) -> io::Result<()> {
    match machine {
        Machine::Meant => Ok(()),
        Machine::Other if is_own(addr) => {
            Err(io::Error::new(io::ErrorKind::PermissionDenied, OwnAddress(addr)))
        }
        Machine::Other => Ok(()),
    }
}

/// The address that an error of a dial refused as this machine's, where that is what it says.
pub(super) fn refused(error: &io::Error) -> Option<IpAddr> {
    error.get_ref()?.downcast_ref().map(|OwnAddress(addr)| *addr)
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
        assert_eq!(refused(&refuse_own(own, Machine::Other).unwrap_err()), Some(own));
        assert_eq!(refused(&io::ErrorKind::PermissionDenied.into()), None, "the kernel's own");
        assert!(refuse_own(Ipv4Addr::new(93, 184, 216, 34).into(), Machine::Other).is_ok());
    }
}
