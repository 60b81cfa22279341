//! A Linux TAP device as a link, with checksum and segmentation offload both ways.
//!
//! A `virtio_net_hdr` goes before every frame; it is gathered and scattered by the system call, so a frame is
//! never moved to make room for it. The descriptor is registered with tokio on first use, which is on the
//! sandbox's own thread, not on the one that opened it.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::OwnedFd;
use std::task::{Context, Poll, ready};

use tokio::io::unix::AsyncFd;

use super::{Family, Frame, Link, Offload, Partial};
use crate::sys;

/// Opens the TAP device `name` in the caller's network namespace, making it if there is none.
///
/// Offloads are agreed with the kernel here; the descriptor is nonblocking and closed on exec.
///
/// # Errors
/// The device cannot be opened (no `/dev/net/tun`, no `CAP_NET_ADMIN` over the namespace, a name too long).
pub fn open(name: &str) -> io::Result<OwnedFd> {
    sys::open_tap(name, HEADER)
}

/// Takes a TAP device that somebody else opened, with `IFF_TAP`, `IFF_NO_PI` and `IFF_VNET_HDR`.
///
/// # Errors
/// `InvalidInput` if it is anything else.
pub fn adopt(tap: OwnedFd) -> io::Result<OwnedFd> {
    sys::adopt_tap(&tap, HEADER)?;
    rustix::io::ioctl_fionbio(&tap, true)?;
    Ok(tap)
}

/// Length of the `virtio_net_hdr` agreed on, octets: the legacy one, without `num_buffers`.
const HEADER: usize = 10;
/// `VIRTIO_NET_HDR_F_NEEDS_CSUM`.
const NEEDS_CSUM: u8 = 1;
/// `VIRTIO_NET_HDR_GSO_TCPV4` and `_TCPV6`.
const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 4;
/// Where the checksum stands in a TCP header, octets.
const TCP_CHECKSUM: u16 = 16;

/// A guest behind a TAP device.
#[derive(Debug)]
pub struct TapLink {
    port: Port,
    mtu: usize,
    /// The last read found nothing: readiness is stale until the next edge.
    drained: bool,
    /// The last write was not taken.
    full: bool,
}

#[derive(Debug)]
enum Port {
    Idle(File),
    Registered(AsyncFd<File>),
    /// Registration failed and took the descriptor with it.
    Lost,
}

impl TapLink {
    /// Takes a descriptor from [`open`]. `mtu` is what the guest's interface is set to, octets.
    #[must_use]
    pub fn new(tap: OwnedFd, mtu: usize) -> Self {
        Self { port: Port::Idle(File::from(tap)), mtu, drained: false, full: false }
    }

    fn file(&mut self) -> io::Result<&mut File> {
        match &mut self.port {
            Port::Idle(file) => Ok(file),
            Port::Registered(fd) => Ok(fd.get_mut()),
            Port::Lost => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    fn registered(&mut self) -> io::Result<&AsyncFd<File>> {
        if let Port::Idle(_) = self.port
            && let Port::Idle(file) = std::mem::replace(&mut self.port, Port::Lost)
        {
            self.port = Port::Registered(sys::register(file)?);
        }
        match &self.port {
            Port::Registered(fd) => Ok(fd),
            Port::Idle(_) | Port::Lost => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

impl Link for TapLink {
    fn offload(&self) -> Offload {
        Offload::Vnet
    }

    fn mtu(&self) -> usize {
        self.mtu
    }

    fn try_receive(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut header = [0; HEADER];
        let read = self.file()?.read_vectored(&mut [IoSliceMut::new(&mut header), IoSliceMut::new(buf)]);
        match read {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(len) => Ok(len.saturating_sub(HEADER)),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                self.drained = true;
                Err(e)
            }
            Err(e) if sys::device_is_gone(&e) => Err(io::ErrorKind::UnexpectedEof.into()),
            Err(e) => Err(e),
        }
    }

    fn try_send(&mut self, frame: Frame<'_>) -> io::Result<()> {
        let header = header(frame.partial);
        let written = self.file()?.write_vectored(&[IoSlice::new(&header), IoSlice::new(frame.bytes)]);
        match written {
            Ok(_) => Ok(()),
            Err(e) => {
                self.full = e.kind() == io::ErrorKind::WouldBlock;
                Err(e)
            }
        }
    }

    fn poll_receive_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let drained = std::mem::take(&mut self.drained);
        let fd = self.registered()?;
        if drained {
            match fd.poll_read_ready(cx)? {
                Poll::Ready(mut guard) => guard.clear_ready(),
                Poll::Pending => return Poll::Pending,
            }
        }
        ready!(fd.poll_read_ready(cx))?.retain_ready();
        Poll::Ready(Ok(()))
    }

    fn poll_send_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let full = std::mem::take(&mut self.full);
        let fd = self.registered()?;
        if full {
            match fd.poll_write_ready(cx)? {
                Poll::Ready(mut guard) => guard.clear_ready(),
                Poll::Pending => return Poll::Pending,
            }
        }
        ready!(fd.poll_write_ready(cx))?.retain_ready();
        Poll::Ready(Ok(()))
    }
}

/// The `virtio_net_hdr` of a frame, in the host's byte order as a TAP device has it by default.
fn header(partial: Option<Partial>) -> [u8; HEADER] {
    let Some(partial) = partial else { return [0; HEADER] };
    let (gso, size) = match (partial.segment, partial.family) {
        (None, _) => (0, 0),
        (Some(size), Family::V4) => (GSO_TCPV4, size.get()),
        (Some(size), Family::V6) => (GSO_TCPV6, size.get()),
    };
    let [l0, l1] = partial.headers.to_ne_bytes();
    let [s0, s1] = size.to_ne_bytes();
    let [c0, c1] = partial.start.to_ne_bytes();
    let [o0, o1] = TCP_CHECKSUM.to_ne_bytes();
    [NEEDS_CSUM, gso, l0, l1, s0, s1, c0, c1, o0, o1]
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;

    use super::*;

    #[test]
    fn header_of_a_whole_frame_is_all_zero() {
        assert_eq!(header(None), [0; HEADER]);
    }

    #[test]
    fn header_asks_for_checksum_and_segmentation() {
        let partial = Partial { family: Family::V6, start: 54, headers: 86, segment: NonZeroU16::new(1440) };
        let header = header(Some(partial));
        assert_eq!(header[0], NEEDS_CSUM);
        assert_eq!(header[1], GSO_TCPV6);
        assert_eq!(u16::from_ne_bytes([header[2], header[3]]), 86);
        assert_eq!(u16::from_ne_bytes([header[4], header[5]]), 1440);
        assert_eq!(u16::from_ne_bytes([header[6], header[7]]), 54);
        assert_eq!(u16::from_ne_bytes([header[8], header[9]]), 16);
    }

    #[test]
    fn header_of_a_short_segment_asks_for_the_checksum_only() {
        let header = header(Some(Partial { family: Family::V4, start: 34, headers: 54, segment: None }));
        assert_eq!((header[0], header[1]), (NEEDS_CSUM, 0));
    }
}
