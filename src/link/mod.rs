//! The guest's network cable: where whole Ethernet frames come in and go out.
//!
//! A link moves frames and says what it can do for them. It neither parses nor judges a frame, never blocks,
//! and never drops a frame it was given: what it cannot take now it refuses with `WouldBlock`.

use std::io;
use std::num::NonZeroU16;
use std::task::{Context, Poll};

#[cfg(target_os = "linux")]
pub mod datagram;
#[cfg(target_os = "linux")]
mod late;
pub mod memory;
#[cfg(target_os = "linux")]
mod socket;
#[cfg(target_os = "linux")]
pub mod stream;
#[cfg(target_os = "linux")]
pub mod tap;

#[cfg(target_os = "linux")]
pub use socket::BindError;

/// The longest frame there is, octets: 64 KiB of IP behind an Ethernet header and a VLAN tag.
pub(crate) const FRAME: usize = 65_535 + 18;

/// The guest's edge of a sandbox.
pub trait Link {
    /// What the link does for TCP, both ways.
    fn offload(&self) -> Offload;

    /// Whether the guest may leave work on its TCP and UDP to others: checksums, which nobody verifies then, and the
    /// cutting of segments longer than the MTU.
    fn is_trusted(&self) -> bool {
        match self.offload() {
            Offload::None => false,
            Offload::Vnet => true,
        }
    }

    /// The IP MTU the guest's interface has, octets.
    fn mtu(&self) -> usize;

    /// Reads one frame into `buf` and says how long it is.
    ///
    /// # Errors
    /// `WouldBlock` when no frame waits; `ConnectionReset`, once, when this guest is gone and another may come,
    /// which shares no connection with it; `UnexpectedEof` when the guest is gone for good.
    fn try_receive(&mut self, buf: &mut [u8]) -> io::Result<usize>;

    /// Hands one frame to the guest.
    ///
    /// # Errors
    /// `WouldBlock` when it was not taken: hold it and come back after [`Link::poll_send_ready`]. Any other
    /// error means that this frame is lost.
    fn try_send(&mut self, frame: Frame<'_>) -> io::Result<()>;

    /// Ready when [`Link::try_receive`] may find a frame.
    ///
    /// # Errors
    /// The link is broken.
    fn poll_receive_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Ready when [`Link::try_send`] may take a frame again.
    ///
    /// # Errors
    /// The link is broken.
    fn poll_send_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

/// What a link does for TCP.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Offload {
    /// Nothing: every frame fits the MTU and carries its checksum.
    None,
    /// As `virtio_net_hdr` does: segments of up to 64 KiB and partial checksums, both ways.
    Vnet,
}

/// A frame on its way to the guest.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// Ethernet header and all that follows, without FCS.
    pub bytes: &'a [u8],
    /// What is left to the link; always none where [`Link::offload`] is [`Offload::None`].
    pub partial: Option<Partial>,
}

/// The work on a TCP segment that is left to the link.
///
/// The segment's checksum field holds the sum of the pseudo-header, not complemented, as
/// `VIRTIO_NET_HDR_F_NEEDS_CSUM` wants it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Partial {
    /// The IP version under the segment.
    pub family: Family,
    /// Where the TCP header starts in the frame, octets.
    pub start: u16,
    /// Length of all headers of the frame, Ethernet to TCP options, octets.
    pub headers: u16,
    /// Payload octets of each segment to cut this one into; none if it goes as it is.
    pub segment: Option<NonZeroU16>,
}

/// An IP version.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}
