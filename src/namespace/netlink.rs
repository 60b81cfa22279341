//! Messages to the kernel's rtnetlink, written by hand, and their acknowledgements.
//!
//! Not a netlink library: the four requests a sandbox needs. Invariant: a request counts as done only when
//! the kernel has acknowledged it. RFC 3549 and rtnetlink(7) have the formats.

use std::net::IpAddr;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

const REQUEST: u16 = (libc::NLM_F_REQUEST | libc::NLM_F_ACK) as u16;
const CREATE: u16 = REQUEST | (libc::NLM_F_CREATE | libc::NLM_F_EXCL) as u16;
/// Octets of `struct nlmsghdr`.
const HEADER: usize = 16;
/// Octets of the longest answer read: an acknowledgement with the request it answers.
const LONGEST_ANSWER: usize = 8 << 10;
const UP: u32 = libc::IFF_UP as u32;
const ADDRESS_WITHOUT_DETECTION: u8 = libc::IFA_F_NODAD as u8;
const INET6_ADDR_GEN_MODE: u16 = 8; // IFLA_INET6_ADDR_GEN_MODE of linux/if_link.h
const GENERATE_NONE: u8 = 1; // IN6_ADDR_GEN_MODE_NONE
const NESTED: u16 = libc::NLA_F_NESTED as u16;

/// What a link is given besides being brought up.
#[derive(Clone, Copy, Debug)]
pub(super) struct LinkSettings {
    /// Its hardware address.
    pub(super) mac: [u8; 6],
    /// Octets of the longest IP packet.
    pub(super) mtu: u32,
    /// Packets the guest's kernel may queue.
    pub(super) queue: u32,
}

/// A socket to the routing side of the kernel, in one network namespace.
#[derive(Debug)]
pub(super) struct Netlink {
    socket: OwnedFd,
    sequence: u32,
}

impl Netlink {
    /// Opens one in the caller's network namespace; NETLINK_ROUTE is protocol 0, the default.
    pub(super) fn open() -> Result<Self, Errno> {
        let (family, flags) = (AddressFamily::NETLINK, SocketFlags::CLOEXEC);
        let socket = rustix::net::socket_with(family, SocketType::RAW, flags, None)?;
        Ok(Self { socket, sequence: 0 })
    }

    /// The index of the link with this name.
    pub(super) fn index(&self, name: &str) -> Result<u32, Errno> {
        rustix::net::netdevice::name_to_index(&self.socket, name)
    }

    /// Brings a link up as it is.
    pub(super) fn up(&mut self, index: u32) -> Result<(), Errno> {
        let request = Request::new(libc::RTM_NEWLINK, REQUEST).link(index, UP);
        self.ask(request)
    }

    /// Settles a link, without a link-local address that the kernel would make up and announce.
    pub(super) fn set(&mut self, index: u32, settings: &LinkSettings) -> Result<(), Errno> {
        let request = Request::new(libc::RTM_NEWLINK, REQUEST)
            .link(index, 0)
            .attribute(libc::IFLA_ADDRESS, &settings.mac)
            .attribute(libc::IFLA_MTU, &settings.mtu.to_ne_bytes())
            .attribute(libc::IFLA_TXQLEN, &settings.queue.to_ne_bytes());
        self.ask(request)
    }

    /// Keeps the kernel from making a link-local address up; it would announce it, and ask who has it.
    pub(super) fn no_link_local(&mut self, index: u32) -> Result<(), Errno> {
        let mode = Attributes::default().attribute(INET6_ADDR_GEN_MODE, &[GENERATE_NONE]);
        let family = u16::try_from(libc::AF_INET6).unwrap_or_default();
        let inet6 = Attributes::default().attribute(family | NESTED, &mode.0);
        let nested = libc::IFLA_AF_SPEC | NESTED;
        self.ask(Request::new(libc::RTM_NEWLINK, REQUEST).link(index, 0).attribute(nested, &inet6.0))
    }

    /// Gives a link an address; no duplicate of it is looked for.
    pub(super) fn add_address(&mut self, index: u32, address: IpAddr, prefix: u8) -> Result<(), Errno> {
        let (family, octets) = parts(address);
        let flags = if address.is_ipv6() { ADDRESS_WITHOUT_DETECTION } else { 0 };
        let request = Request::new(libc::RTM_NEWADDR, CREATE)
            .fixed(&[family, prefix, flags, libc::RT_SCOPE_UNIVERSE])
            .fixed(&index.to_ne_bytes())
            .attribute(libc::IFA_LOCAL, &octets)
            .attribute(libc::IFA_ADDRESS, &octets);
        self.ask(request)
    }

    /// Sends everything that has no better route to `gateway`.
    pub(super) fn add_default_route(&mut self, index: u32, gateway: IpAddr) -> Result<(), Errno> {
        let (family, octets) = parts(gateway);
        let request = Request::new(libc::RTM_NEWROUTE, CREATE)
            .fixed(&[family, 0, 0, 0])
            .fixed(&[libc::RT_TABLE_MAIN, libc::RTPROT_STATIC, libc::RT_SCOPE_UNIVERSE, libc::RTN_UNICAST])
            .fixed(&0_u32.to_ne_bytes())
            .attribute(libc::RTA_GATEWAY, &octets)
            .attribute(libc::RTA_OIF, &index.to_ne_bytes());
        self.ask(request)
    }

    fn ask(&mut self, request: Request) -> Result<(), Errno> {
        self.sequence += 1;
        let message = request.finish(self.sequence);
        rustix::io::retry_on_intr(|| rustix::net::send(&self.socket, &message, SendFlags::empty()))?;
        let mut answer = vec![0_u8; LONGEST_ANSWER];
        loop {
            let (length, _) = rustix::io::retry_on_intr(|| {
                rustix::net::recv(&self.socket, answer.as_mut_slice(), RecvFlags::empty())
            })?;
            let answer = answer.get(..length).unwrap_or_default();
            if let Some(outcome) = acknowledgement(answer, self.sequence) {
                return outcome;
            }
        }
    }
}

/// What the kernel says to request `sequence`; none when `answer` is about something else.
fn acknowledgement(answer: &[u8], sequence: u32) -> Option<Result<(), Errno>> {
    let kind = u16::from_ne_bytes(answer.get(4..6)?.try_into().ok()?);
    let about = u32::from_ne_bytes(answer.get(8..12)?.try_into().ok()?);
    if i32::from(kind) != libc::NLMSG_ERROR || about != sequence {
        return None;
    }
    let code = i32::from_ne_bytes(answer.get(HEADER..HEADER + 4)?.try_into().ok()?);
    Some(if code == 0 { Ok(()) } else { Err(Errno::from_raw_os_error(code.wrapping_neg())) })
}

fn parts(address: IpAddr) -> (u8, Vec<u8>) {
    let (family, octets) = match address {
        IpAddr::V4(v4) => (libc::AF_INET, v4.octets().to_vec()),
        IpAddr::V6(v6) => (libc::AF_INET6, v6.octets().to_vec()),
    };
    (u8::try_from(family).unwrap_or_default(), octets)
}

/// A list of attributes, each padded to four octets.
#[derive(Debug, Default)]
struct Attributes(Vec<u8>);

impl Attributes {
    fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
        self.0.extend_from_slice(&length.to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.0.extend_from_slice(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }
}

/// A request without its length and sequence number, which [`Request::finish`] fills in.
#[derive(Debug)]
struct Request {
    kind: u16,
    flags: u16,
    body: Attributes,
}

impl Request {
    fn new(kind: u16, flags: u16) -> Self {
        Self { kind, flags, body: Attributes::default() }
    }

    fn fixed(mut self, octets: &[u8]) -> Self {
        self.body.0.extend_from_slice(octets);
        self
    }

    /// `struct ifinfomsg`: any family, `flags` set and no other changed.
    fn link(self, index: u32, flags: u32) -> Self {
        let words = [0, index, flags, flags];
        words.iter().fold(self, |request, word| request.fixed(&word.to_ne_bytes()))
    }

    fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        self.body = self.body.attribute(kind, value);
        self
    }

    fn finish(self, sequence: u32) -> Vec<u8> {
        let length = u32::try_from(HEADER + self.body.0.len()).unwrap_or(u32::MAX);
        let mut message = length.to_ne_bytes().to_vec();
        message.extend_from_slice(&self.kind.to_ne_bytes());
        message.extend_from_slice(&self.flags.to_ne_bytes());
        message.extend_from_slice(&sequence.to_ne_bytes());
        message.extend_from_slice(&0_u32.to_ne_bytes());
        message.extend_from_slice(&self.body.0);
        message
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_padded_and_their_length_is_not() {
        let attributes = Attributes::default().attribute(1, &[1, 2, 3, 4, 5, 6]).attribute(4, &[9; 4]);
        let mut expected = Vec::new();
        expected.extend_from_slice(&10_u16.to_ne_bytes());
        expected.extend_from_slice(&1_u16.to_ne_bytes());
        expected.extend_from_slice(&[1, 2, 3, 4, 5, 6, 0, 0]);
        expected.extend_from_slice(&8_u16.to_ne_bytes());
        expected.extend_from_slice(&4_u16.to_ne_bytes());
        expected.extend_from_slice(&[9; 4]);
        assert_eq!(attributes.0, expected);
    }

    #[test]
    fn a_request_says_its_own_length() {
        let message = Request::new(16, REQUEST).link(7, UP).finish(3);
        assert_eq!(message.len(), 32);
        assert_eq!(message[..4], 32_u32.to_ne_bytes());
        assert_eq!(message[8..12], 3_u32.to_ne_bytes());
        assert_eq!(message[20..24], 7_u32.to_ne_bytes());
    }

    #[test]
    fn only_the_answer_to_the_request_counts() {
        let answer = |kind: u16, sequence: u32, code: i32| {
            let mut octets = 36_u32.to_ne_bytes().to_vec();
            octets.extend_from_slice(&kind.to_ne_bytes());
            octets.extend_from_slice(&[0; 2]);
            octets.extend_from_slice(&sequence.to_ne_bytes());
            octets.extend_from_slice(&[0; 4]);
            octets.extend_from_slice(&code.to_ne_bytes());
            octets
        };
        assert_eq!(acknowledgement(&answer(2, 5, 0), 5), Some(Ok(())));
        assert_eq!(acknowledgement(&answer(2, 5, -libc::EPERM), 5), Some(Err(Errno::PERM)));
        assert_eq!(acknowledgement(&answer(2, 4, 0), 5), None);
        assert_eq!(acknowledgement(&answer(16, 5, 0), 5), None);
        for end in 0..20 {
            assert_eq!(acknowledgement(&answer(2, 5, 0)[..end], 5), None, "cut at {end}");
        }
    }
}
