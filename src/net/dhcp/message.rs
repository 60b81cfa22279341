//! The wire form of DHCPv4: a request read whole or not at all, a reply written into one buffer.
//!
//! Not smoltcp's: its options end silently where one is cut, and it knows no client identifier but a MAC address,
//! while RFC 6842 has any echoed. Nothing here decides what is answered. Invariant: what is read lies inside the
//! message, and a reply fits the 576 octets of IP that every client takes; RFC 2131 §2.

use std::net::Ipv4Addr;

/// Fixed fields up to and with the hardware address, octets.
const FIXED: usize = 44;
/// The server's name and the boot file, of which there are none, octets.
const NAMES: usize = 64 + 128;
/// What tells options of DHCP from those of others; RFC 2132 §2.
const MAGIC: [u8; 4] = [99, 130, 83, 99];
/// The least length of a message in BOOTP, which some clients insist on, octets; RFC 951 §3.
const LEAST: usize = 300;
/// The longest identifier that is echoed, octets: a type, an IAID and the longest DUID; RFC 4361 §6.1, RFC 8415 §11.1.
const IDENTIFIER: usize = 1 + 4 + 130;

const REQUEST: u8 = 1;
const REPLY: u8 = 2;
const ETHERNET: u8 = 1;
const ETHERNET_LEN: u8 = 6;
const BROADCAST_FLAG: u8 = 0x80;

/// Options that are read or written; RFC 2132, and RFC 4039 for rapid commit.
pub(super) mod option {
    pub(in crate::net::dhcp) const PAD: u8 = 0;
    pub(in crate::net::dhcp) const SUBNET_MASK: u8 = 1;
    pub(in crate::net::dhcp) const ROUTER: u8 = 3;
    pub(in crate::net::dhcp) const DNS: u8 = 6;
    pub(in crate::net::dhcp) const MTU: u8 = 26;
    pub(in crate::net::dhcp) const BROADCAST: u8 = 28;
    pub(in crate::net::dhcp) const REQUESTED: u8 = 50;
    pub(in crate::net::dhcp) const LEASE: u8 = 51;
    pub(in crate::net::dhcp) const OVERLOAD: u8 = 52;
    pub(in crate::net::dhcp) const KIND: u8 = 53;
    pub(in crate::net::dhcp) const SERVER: u8 = 54;
    pub(in crate::net::dhcp) const WANTED: u8 = 55;
    pub(in crate::net::dhcp) const RENEWAL: u8 = 58;
    pub(in crate::net::dhcp) const REBINDING: u8 = 59;
    pub(in crate::net::dhcp) const IDENTIFIER: u8 = 61;
    pub(in crate::net::dhcp) const RAPID_COMMIT: u8 = 80;
    pub(in crate::net::dhcp) const END: u8 = 255;
}

/// What a client sends; RFC 2131 §3.1, table 2.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Discover,
    Request,
    Decline,
    Release,
    Inform,
}

impl Kind {
    fn read(value: &[u8]) -> Option<Self> {
        match value {
            [1] => Some(Self::Discover),
            [3] => Some(Self::Request),
            [4] => Some(Self::Decline),
            [7] => Some(Self::Release),
            [8] => Some(Self::Inform),
            _ => None,
        }
    }
}

/// What the server says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Answer {
    Offer = 2,
    Ack = 5,
    Nak = 6,
}

/// How a client without an address hears an answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Hears {
    /// At the address it is about to get.
    Unicast,
    /// Only what is sent to all.
    Broadcast,
}

/// A client's message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message<'a> {
    pub(super) kind: Kind,
    transaction: [u8; 4],
    pub(super) hears: Hears,
    /// Its address, if it has one already; else unspecified.
    pub(super) client: Ipv4Addr,
    pub(super) mac: [u8; 6],
    pub(super) options: Options<'a>,
}

/// The options of a client's message that are heeded.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Options<'a> {
    kind: Option<Kind>,
    /// The address it would like.
    pub(super) requested: Option<Ipv4Addr>,
    /// The server it talks to.
    pub(super) server: Option<Ipv4Addr>,
    /// Codes of the options it would like, most wanted first.
    pub(super) wanted: Option<&'a [u8]>,
    /// What it calls itself.
    identifier: Option<&'a [u8]>,
    /// Present where it takes an acknowledgement for an answer to a discovery.
    pub(super) rapid_commit: Option<()>,
}

impl<'a> Message<'a> {
    /// Reads a request; none unless it is whole, of Ethernet, straight from its client, and has each option once.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (fixed, rest) = bytes.split_first_chunk::<FIXED>()?;
        let (_, rest) = rest.split_first_chunk::<NAMES>()?;
        let options = rest.strip_prefix(&MAGIC)?;
        let [REQUEST, ETHERNET, ETHERNET_LEN, _, t0, t1, t2, t3, _, _, flags, _, rest @ ..] = *fixed else {
            return None;
        };
        let [c0, c1, c2, c3, _, _, _, _, _, _, _, _, 0, 0, 0, 0, m0, m1, m2, m3, m4, m5, ..] = rest else {
            return None;
        };
        let options = Options::parse(options)?;
        let hears = if flags & BROADCAST_FLAG == 0 { Hears::Unicast } else { Hears::Broadcast };
        Some(Self {
            kind: options.kind?,
            transaction: [t0, t1, t2, t3],
            hears,
            client: Ipv4Addr::new(c0, c1, c2, c3),
            mac: [m0, m1, m2, m3, m4, m5],
            options,
        })
    }
}

impl<'a> Options<'a> {
    /// Reads options up to their end, or the message's; none if one is cut, stands twice or says what it cannot.
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let mut read = Self::default();
        let mut bytes = bytes;
        while let Some((code, rest)) = bytes.split_first() {
            bytes = match *code {
                option::PAD => rest,
                option::END => return Some(read),
                code => {
                    let (len, rest) = rest.split_first()?;
                    let (value, rest) = rest.split_at_checked(usize::from(*len))?;
                    read.take(code, value)?;
                    rest
                }
            };
        }
        Some(read)
    }

    fn take(&mut self, code: u8, value: &'a [u8]) -> Option<()> {
        match code {
            option::KIND => once(&mut self.kind, Kind::read(value)?),
            option::REQUESTED => once(&mut self.requested, address(value)?),
            option::SERVER => once(&mut self.server, address(value)?),
            option::WANTED => once(&mut self.wanted, value),
            option::IDENTIFIER if value.len() <= IDENTIFIER => once(&mut self.identifier, value),
            option::RAPID_COMMIT if value.is_empty() => once(&mut self.rapid_commit, ()),
            // No client has more to say than fits, so none needs the fields of the names for it.
            option::IDENTIFIER | option::RAPID_COMMIT | option::OVERLOAD => None,
            _ => Some(()),
        }
    }
}

fn once<T>(slot: &mut Option<T>, value: T) -> Option<()> {
    slot.replace(value).is_none().then_some(())
}

fn address(value: &[u8]) -> Option<Ipv4Addr> {
    <[u8; 4]>::try_from(value).ok().map(Ipv4Addr::from)
}

/// A reply under construction.
#[derive(Debug)]
pub(super) struct Reply(Vec<u8>);

impl Reply {
    /// Begins the answer to a message, with the address the client shall have.
    pub(super) fn new(answer: Answer, to: &Message<'_>, yours: Ipv4Addr) -> Self {
        let mut octets = Vec::with_capacity(LEAST * 2);
        octets.extend([REPLY, ETHERNET, ETHERNET_LEN, 0]);
        octets.extend(to.transaction);
        let flags = match to.hears {
            Hears::Unicast => 0,
            Hears::Broadcast => BROADCAST_FLAG,
        };
        octets.extend([0, 0, flags, 0]);
        let client = if answer == Answer::Ack { to.client } else { Ipv4Addr::UNSPECIFIED };
        octets.extend(client.octets());
        octets.extend(yours.octets());
        // Neither a next server nor a relay.
        octets.extend([0; 8]);
        octets.extend(to.mac);
        octets.resize(FIXED + NAMES, 0);
        octets.extend(MAGIC);
        let mut reply = Self(octets);
        reply.put(option::KIND, &[answer as u8]);
        if let Some(identifier) = to.options.identifier {
            reply.put(option::IDENTIFIER, identifier);
        }
        reply
    }

    /// Adds an option; one that is longer than an option can be is left out.
    pub(super) fn put(&mut self, code: u8, value: &[u8]) {
        if let Ok(len) = u8::try_from(value.len()) {
            self.0.extend([code, len]);
            self.0.extend(value);
        }
    }

    /// The whole message.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.0.push(option::END);
        let len = self.0.len().max(LEAST);
        self.0.resize(len, option::PAD);
        self.0
    }
}
