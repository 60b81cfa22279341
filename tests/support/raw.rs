//! A connection of the guest whose segments are written by hand, past its TCP.

use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::task::Poll;

use super::{Guest, packet};

const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;

/// One end by hand; what the network says to it is kept from the guest's stack.
pub(crate) struct Raw {
    guest: Guest,
    port: u16,
    to: SocketAddr,
    /// Sequence number of the first octet.
    first: u32,
    acknowledged: u32,
}

impl Guest {
    /// Sends the SYN of a connection by hand.
    pub(crate) fn raw(&self, port: u16, to: SocketAddr, first: u32) -> Raw {
        {
            let mut inner = self.0.borrow_mut();
            inner.card.by_hand = Some(port);
            inner.card.handed.clear();
        }
        let raw = Raw { guest: self.clone(), port, to, first, acknowledged: 0 };
        raw.segment(SYN, first.wrapping_sub(1), &[]);
        raw
    }
}

impl Raw {
    /// Waits for the SYN-ACK, and acknowledges it.
    pub(crate) async fn connected(mut self) -> Self {
        let answer = poll_fn(|cx| {
            let mut inner = self.guest.0.borrow_mut();
            if let Some(answer) = inner.card.handed.pop_front() {
                return Poll::Ready(answer);
            }
            inner.waiting.push(cx.waker().clone());
            Poll::Pending
        })
        .await;
        let tcp = &answer[if self.to.is_ipv4() { 20 } else { 40 }..];
        assert_eq!(tcp[13], SYN | ACK);
        self.acknowledged = u32::from_be_bytes(tcp[4..8].try_into().unwrap()).wrapping_add(1);
        self.segment(ACK, self.first, &[]);
        self
    }

    /// Sends octets for a place in the stream.
    pub(crate) fn send(&self, at: u32, octets: &[u8]) {
        self.segment(ACK, self.first.wrapping_add(at), octets);
    }

    pub(crate) fn reset(&self) {
        self.segment(RST, self.first, &[]);
    }

    fn segment(&self, flags: u8, sequence: u32, payload: &[u8]) {
        let mut inner = self.guest.0.borrow_mut();
        let mut body = [self.port, self.to.port()].map(u16::to_be_bytes).concat();
        body.extend([sequence, self.acknowledged].map(u32::to_be_bytes).concat());
        body.extend([5 << 4, flags, 0xff, 0xff, 0, 0, 0, 0]);
        body.extend(payload);
        let from: IpAddr = inner.address(self.to.ip());
        let packet = packet::ip(from, self.to.ip(), 6, body, Some(16));
        inner.card.outbox.push_back(packet);
        inner.kick();
    }
}
