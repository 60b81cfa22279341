//! Frames of a guest that means harm: valid ones of every kind, most of them mutated.
//!
//! It follows the connections it opened, so that much of what it sends is for a live one and in its window. All of
//! it follows from a seed, or from the octets of a fuzzer.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use portcullis::net::Config;

use crate::{packet, pieces};

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;

const ETHERNET: usize = 14;
/// Connections followed at once.
const CONNECTIONS: usize = 48;

/// Where choices come from: octets that were given, then xorshift64.
pub(crate) struct Coin<'a> {
    octets: &'a [u8],
    state: u64,
}

impl<'a> Coin<'a> {
    pub(crate) fn new(octets: &'a [u8], seed: u64) -> Self {
        Self { octets, state: seed | 1 }
    }

    pub(crate) fn next(&mut self) -> u64 {
        if let Some((first, rest)) = self.octets.split_first_chunk::<2>() {
            self.octets = rest;
            self.state ^= u64::from(u16::from_le_bytes(*first)) << 17;
        }
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() >> 16) as usize % n
    }

    pub(crate) fn falls(&mut self, one_in: usize) -> bool {
        self.below(one_in) == 0
    }

    fn octets(&mut self, most: usize) -> Vec<u8> {
        let (len, octet) = (self.below(most + 1), self.next().to_le_bytes()[0]);
        (0..len).map(|at| octet.wrapping_add(at as u8)).collect()
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

/// A connection as the guest knows it.
#[derive(Clone, Copy)]
struct Connection {
    port: u16,
    to: SocketAddr,
    next: u32,
    acknowledged: u32,
}

/// The guest.
pub(crate) struct Hostile {
    config: Config,
    connections: Vec<Connection>,
    last: Vec<u8>,
}

impl Hostile {
    pub(crate) fn new(config: &Config) -> Self {
        Self { config: config.clone(), connections: Vec::new(), last: Vec::new() }
    }

    /// The next frame to send.
    pub(crate) fn frame(&mut self, coin: &mut Coin<'_>) -> Vec<u8> {
        let valid = self.valid(coin);
        let mut frame = valid.clone();
        if !coin.falls(4) {
            for _ in 0..=coin.below(4) {
                self.mutate(&mut frame, coin);
            }
            if coin.falls(2) {
                mend(&mut frame);
            }
        }
        self.last = valid;
        frame
    }

    /// Looks at what the network sent, for what to say next.
    pub(crate) fn learn(&mut self, frame: &[u8]) {
        let Some((source, body)) = tcp_of(frame) else { return };
        let word = |at: usize| u32::from_be_bytes(body[at..at + 4].try_into().unwrap());
        let half = |at: usize| u16::from_be_bytes(body[at..at + 2].try_into().unwrap());
        let (to, port, flags) = (SocketAddr::new(source, half(0)), half(2), body[13]);
        let known = self.connections.iter().position(|known| (known.port, known.to) == (port, to));
        if flags & RST != 0 {
            known.map(|at| self.connections.swap_remove(at));
            return;
        }
        let space =
            (body.len() - usize::from(body[12] >> 4) * 4) as u32 + u32::from(flags & (SYN | FIN) != 0);
        let acknowledged = word(4).wrapping_add(space);
        match known {
            Some(at) => self.connections[at].acknowledged = acknowledged,
            None if flags & SYN != 0 => {
                if self.connections.len() >= CONNECTIONS {
                    self.connections.swap_remove(0);
                }
                self.connections.push(Connection { port, to, next: word(8), acknowledged });
            }
            None => {}
        }
    }

    fn valid(&mut self, coin: &mut Coin<'_>) -> Vec<u8> {
        let (mine, far) = if coin.falls(2) {
            (self.config.guest_v4.into(), IpAddr::from([192, 0, 2, coin.below(3) as u8]))
        } else {
            let far = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, coin.below(3) as u16);
            (IpAddr::V6(self.config.guest_v6), far.into())
        };
        let ip = match coin.below(20) {
            0 => return self.arp(coin),
            1 => self.neighbor(coin),
            2 => self.echo(coin),
            3 => packet::ip(mine, far, 17, udp(40_000, 53, &coin.octets(60)), Some(6)),
            4 => {
                let port = coin.pick(&[1, 67, 123, 443, 547, 5353]);
                packet::ip(mine, far, 17, udp(50_000, port, &coin.octets(1_400)), Some(6))
            }
            5 => self.broadcast(coin),
            6 => {
                packet::ip(mine, far, coin.pick(&[0, 2, 43, 44, 47, 50, 60, 132, 255]), coin.octets(80), None)
            }
            7 => {
                let protocol = if mine.is_ipv4() { 1 } else { 58 };
                let mut error = vec![coin.pick(&[1, 2, 3, 4, 11]), coin.below(6) as u8, 0, 0, 0, 0, 5, 0];
                error.extend(self.last.get(ETHERNET..).unwrap_or_default().iter().take(100));
                packet::ip(mine, far, protocol, error, mine.is_ipv6().then_some(2))
            }
            8 => {
                let (sequence, flags) = (coin.next() as u32, coin.next() as u8);
                let stray =
                    tcp((coin.below(65_536) as u16, 443), (sequence, 7), (flags, 500), &coin.octets(40));
                packet::ip(mine, far, 6, stray, Some(16))
            }
            9 => {
                // One of the pieces of one of a few datagrams, which are put together now and then.
                let name = coin.below(4) as u16;
                let whole = packet::ip(mine, far, 17, udp(60_000 + name, 9, &[7; 60]), Some(6));
                let start = 24 * coin.below(3);
                pieces::fragment(&whole, start..(start + 24).min(68), name)
            }
            10..12 => {
                let port = 1_024 + coin.below(200) as u16;
                let to = coin.pick(&[22, 53, 80, 443]);
                let mut syn = tcp((port, to), (coin.next() as u32, 0), (SYN, 60_000), &[]);
                syn[12] = 8 << 4;
                syn.extend([2, 4, 5, 180, 1, 3, 3, coin.below(16) as u8, 1, 1, 4, 2]);
                syn.extend(if coin.falls(8) { coin.octets(30) } else { Vec::new() });
                packet::ip(mine, far, 6, syn, Some(16))
            }
            _ => match self.segment(coin) {
                Some(packet) => packet,
                None => packet::ip(mine, far, 6, tcp((9, 9), (1, 1), (ACK, 1), &[]), Some(16)),
            },
        };
        self.ethernet(&ip)
    }

    /// A segment of a connection that is open, more or less where it should be.
    fn segment(&mut self, coin: &mut Coin<'_>) -> Option<Vec<u8>> {
        if self.connections.is_empty() {
            return None;
        }
        let at = coin.below(self.connections.len());
        let connection = &mut self.connections[at];
        // Small as a rule.
        let most = coin.pick(&[0, 0, 1, 20, 20, 1_400]);
        let payload = coin.octets(most);
        let flags = match coin.below(40) {
            0 => RST,
            1 => RST | ACK,
            2 => SYN,
            3 => SYN | ACK,
            4..8 => FIN | ACK,
            8 => 0x3f,
            _ => ACK,
        };
        let ahead = coin.pick(&[0, 0, 0, 0, 1, 700, 5_000, 70_000, 1 << 20, 1 << 31]);
        let sequence = match coin.below(12) {
            0 => connection.next.wrapping_sub(coin.below(4_000) as u32),
            1..5 => connection.next.wrapping_add(ahead),
            _ => connection.next,
        };
        let acknowledged = match coin.below(12) {
            0 => connection.acknowledged.wrapping_add(ahead),
            1 => connection.acknowledged.wrapping_sub(coin.below(3_000) as u32),
            _ => connection.acknowledged,
        };
        if sequence == connection.next {
            let space = payload.len() as u32 + u32::from(flags & FIN != 0);
            connection.next = sequence.wrapping_add(space);
        }
        let window = coin.pick(&[0, 1, 100, 2_000, 60_000, u16::MAX]);
        let ports = (connection.port, connection.to.port());
        let body = tcp(ports, (sequence, acknowledged), (flags, window), &payload);
        let to = connection.to.ip();
        let mine = if to.is_ipv4() { self.config.guest_v4.into() } else { self.config.guest_v6.into() };
        Some(packet::ip(mine, to, 6, body, Some(16)))
    }

    fn ethernet(&self, ip: &[u8]) -> Vec<u8> {
        let kind: [u8; 2] = if ip[0] >> 4 == 4 { [0x08, 0x00] } else { [0x86, 0xdd] };
        [&self.config.gateway_mac, &self.config.guest_mac, &kind[..], ip].concat()
    }

    fn arp(&self, coin: &mut Coin<'_>) -> Vec<u8> {
        let mac = self.config.guest_mac;
        let sender = coin.pick(&[self.config.guest_v4, Ipv4Addr::UNSPECIFIED]).octets();
        let target = coin.pick(&[self.config.gateway_v4, Ipv4Addr::new(9, 9, 9, 9)]).octets();
        [&[0xff; 6], &mac, &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1][..], &mac, &sender, &[0; 6], &target].concat()
    }

    fn neighbor(&self, coin: &mut Coin<'_>) -> Vec<u8> {
        let target = coin.pick(&[self.config.gateway_v6, Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)]);
        let kind = coin.pick(&[133, 135, 135, 136]);
        let mut body = vec![kind, 0, 0, 0, 0, 0, 0, 0];
        body.extend(target.octets());
        body.extend([1, 1]);
        body.extend(self.config.guest_mac);
        let mut packet = packet::ip(self.config.guest_v6.into(), target.into(), 58, body, Some(2));
        packet[7] = 255;
        packet
    }

    fn echo(&self, coin: &mut Coin<'_>) -> Vec<u8> {
        let far = [IpAddr::from([192, 0, 2, 1]), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into()];
        let near = [self.config.gateway_v4.into(), IpAddr::V6(self.config.gateway_v6)];
        let to = if coin.falls(2) { coin.pick(&near) } else { coin.pick(&far) };
        let mut body = vec![if to.is_ipv4() { 8 } else { 128 }, 0, 0, 0, 1, 2, 0, 1];
        body.extend(coin.octets(1_400));
        if to.is_ipv4() {
            let sum = packet::sum(&body).to_be_bytes();
            body[2..4].copy_from_slice(&sum);
            return packet::ip(self.config.guest_v4.into(), to, 1, body, None);
        }
        packet::ip(self.config.guest_v6.into(), to, 58, body, Some(2))
    }

    /// What a host sends that has no address yet.
    fn broadcast(&self, coin: &mut Coin<'_>) -> Vec<u8> {
        let mut body = vec![1, 1, 6, 0, 1, 2, 3, 4];
        body.resize(236, 0);
        body[28..34].copy_from_slice(&self.config.guest_mac);
        body.extend([99, 130, 83, 99, 53, 1, coin.pick(&[1, 3, 7]), 255]);
        let from = coin.pick(&[Ipv4Addr::UNSPECIFIED, self.config.guest_v4]);
        packet::ip(from.into(), Ipv4Addr::BROADCAST.into(), 17, udp(68, 67, &body), Some(6))
    }

    fn mutate(&self, frame: &mut Vec<u8>, coin: &mut Coin<'_>) {
        if frame.is_empty() {
            return;
        }
        match coin.below(8) {
            0..3 => {
                let at = coin.below(frame.len());
                frame[at] ^= 1 << coin.below(8);
            }
            3 => {
                let at = coin.below(frame.len());
                frame[at] = coin.pick(&[0, 1, 0x7f, 0x80, 0xff]);
            }
            // Lengths and offsets: of IPv4, of IPv6, of TCP, UDP and fragments behind either.
            4 | 5 => {
                let at = coin.pick(&[14, 16, 17, 18, 19, 20, 38, 39, 46, 58, 59, 66]);
                if let Some(octet) = frame.get_mut(at) {
                    *octet = coin.next() as u8;
                }
            }
            6 if coin.falls(2) => frame.truncate(coin.below(frame.len())),
            6 => frame.extend(coin.octets(200)),
            _ => {
                let keep = coin.below(frame.len());
                frame.truncate(keep);
                frame.extend(self.last.get(coin.below(self.last.len() + 1)..).unwrap_or_default());
            }
        }
    }
}

fn udp(from: u16, to: u16, payload: &[u8]) -> Vec<u8> {
    let length = (8 + payload.len()) as u16;
    let mut body = [from, to, length, 0].map(u16::to_be_bytes).concat();
    body.extend(payload);
    body
}

fn tcp(ports: (u16, u16), numbers: (u32, u32), (flags, window): (u8, u16), payload: &[u8]) -> Vec<u8> {
    let mut body = [ports.0, ports.1].map(u16::to_be_bytes).concat();
    body.extend([numbers.0, numbers.1].map(u32::to_be_bytes).concat());
    body.extend([5 << 4, flags]);
    body.extend([window, 0, 0].map(u16::to_be_bytes).concat());
    body.extend(payload);
    body
}

/// The sender and the segment of a frame that has one, whole.
fn tcp_of(frame: &[u8]) -> Option<(IpAddr, &[u8])> {
    let ip = frame.get(ETHERNET..)?;
    let (source, protocol, body) = if ip.first()? >> 4 == 4 {
        (IpAddr::from(*ip.get(12..)?.first_chunk::<4>()?), ip.get(9)?, ip.get(20..)?)
    } else {
        (IpAddr::from(*ip.get(8..)?.first_chunk::<16>()?), ip.get(6)?, ip.get(40..)?)
    };
    (*protocol == 6 && body.len() >= 20).then_some((source, body))
}

/// Makes the checksums of a frame right, whatever it says now.
fn mend(frame: &mut [u8]) {
    let Some(ip) = frame.get_mut(ETHERNET..).filter(|ip| ip.len() >= 40) else { return };
    let v4 = ip[0] >> 4 == 4;
    let total = usize::from(u16::from_be_bytes(if v4 { [ip[2], ip[3]] } else { [ip[4], ip[5]] }));
    let (header, total) = if v4 { (20, total) } else { (40, total + 40) };
    if v4 {
        ip[10..12].fill(0);
        let sum = packet::sum(&ip[..20]).to_be_bytes();
        ip[10..12].copy_from_slice(&sum);
    }
    let (protocol, addresses) = if v4 { (ip[9], ip[12..20].to_vec()) } else { (ip[6], ip[8..40].to_vec()) };
    let at = match protocol {
        6 => 16,
        17 => 6,
        1 | 58 => 2,
        _ => return,
    };
    let Some(body) = ip.get_mut(header..total).filter(|body| body.len() >= at + 2) else { return };
    body[at..at + 2].fill(0);
    let mut summed = if protocol == 1 { Vec::new() } else { addresses };
    if protocol != 1 {
        summed.extend([0, protocol]);
        summed.extend((body.len() as u16).to_be_bytes());
    }
    summed.extend(&*body);
    let sum = packet::sum(&summed).to_be_bytes();
    body[at..at + 2].copy_from_slice(&sum);
}
