//! Two ends of a cable in memory, for tests and for a guest that lives in this process.
//!
//! Each direction is a bounded queue of frames; each end may be driven on a thread of its own. A wake crosses
//! only when a queue goes from empty to non-empty, or when a sender that was refused has half a queue again.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use super::{Frame, Link, Offload};

/// Makes a cable that holds `capacity` frames in each direction and whose guest has this IP MTU.
#[must_use]
pub fn pair(capacity: usize, mtu: usize) -> (MemoryLink, MemoryLink) {
    let (there, back) = (Lane::new(capacity), Lane::new(capacity));
    let near = MemoryLink { incoming: Arc::clone(&back), outgoing: Arc::clone(&there), mtu };
    let far = MemoryLink { incoming: there, outgoing: back, mtu };
    (near, far)
}

/// One end of a cable in memory; dropping it is unplugging it.
#[derive(Debug)]
pub struct MemoryLink {
    incoming: Arc<Mutex<Lane>>,
    outgoing: Arc<Mutex<Lane>>,
    mtu: usize,
}

#[derive(Debug)]
struct Lane {
    frames: VecDeque<Vec<u8>>,
    /// Emptied buffers, so that a frame costs no allocation.
    spare: Vec<Vec<u8>>,
    capacity: usize,
    closed: bool,
    receiver: Option<Waker>,
    sender: Option<Waker>,
}

impl Lane {
    fn new(capacity: usize) -> Arc<Mutex<Self>> {
        Arc::new(Mutex::new(Self {
            frames: VecDeque::new(),
            spare: Vec::new(),
            capacity: capacity.max(1),
            closed: false,
            receiver: None,
            sender: None,
        }))
    }

    fn push(&mut self, bytes: &[u8]) -> io::Result<Option<Waker>> {
        if self.closed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if self.frames.len() >= self.capacity {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut frame = self.spare.pop().unwrap_or_default();
        frame.clear();
        frame.extend_from_slice(bytes);
        self.frames.push_back(frame);
        Ok(if self.frames.len() == 1 { self.receiver.take() } else { None })
    }

    fn pop(&mut self, buf: &mut [u8]) -> io::Result<(usize, Option<Waker>)> {
        let Some(frame) = self.frames.pop_front() else {
            let kind = if self.closed { io::ErrorKind::UnexpectedEof } else { io::ErrorKind::WouldBlock };
            return Err(kind.into());
        };
        // As a network card does with a jumbo it has no room for: cut. The parser drops what is cut short.
        let len = frame.len().min(buf.len());
        if let (Some(to), Some(from)) = (buf.get_mut(..len), frame.get(..len)) {
            to.copy_from_slice(from);
        }
        if self.spare.len() < self.capacity {
            self.spare.push(frame);
        }
        let room = self.frames.len() <= self.capacity / 2;
        Ok((len, if room { self.sender.take() } else { None }))
    }
}

fn lock(lane: &Mutex<Lane>) -> MutexGuard<'_, Lane> {
    lane.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Wakes after the lock is gone, so that the woken side finds it free.
fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

impl Link for MemoryLink {
    fn offload(&self) -> Offload {
        Offload::None
    }

    fn mtu(&self) -> usize {
        self.mtu
    }

    fn try_receive(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let popped = lock(&self.incoming).pop(buf);
        let (len, waker) = popped?;
        wake(waker);
        Ok(len)
    }

    fn try_send(&mut self, frame: Frame<'_>) -> io::Result<()> {
        let pushed = lock(&self.outgoing).push(frame.bytes);
        wake(pushed?);
        Ok(())
    }

    fn poll_receive_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut lane = lock(&self.incoming);
        if lane.closed || !lane.frames.is_empty() {
            return Poll::Ready(Ok(()));
        }
        lane.receiver = Some(cx.waker().clone());
        Poll::Pending
    }

    fn poll_send_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut lane = lock(&self.outgoing);
        if lane.closed || lane.frames.len() < lane.capacity {
            return Poll::Ready(Ok(()));
        }
        lane.sender = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for MemoryLink {
    fn drop(&mut self) {
        for lane in [&self.incoming, &self.outgoing] {
            let mut lane = lock(lane);
            lane.closed = true;
            let (receiver, sender) = (lane.receiver.take(), lane.sender.take());
            drop(lane);
            wake(receiver);
            wake(sender);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn counter() -> (Arc<Count>, Waker) {
        let count = Arc::new(Count(AtomicUsize::new(0)));
        (Arc::clone(&count), Waker::from(count))
    }

    fn send(link: &mut MemoryLink, bytes: &[u8]) -> io::Result<()> {
        link.try_send(Frame { bytes, partial: None })
    }

    #[test]
    fn frames_cross_in_order_and_unchanged() {
        let (mut near, mut far) = pair(4, 1500);
        send(&mut near, b"first").unwrap();
        send(&mut near, b"second").unwrap();
        let mut buf = [0; 16];
        assert_eq!(far.try_receive(&mut buf).unwrap(), 5);
        assert_eq!(&buf[..5], b"first");
        assert_eq!(far.try_receive(&mut buf).unwrap(), 6);
        assert_eq!(far.try_receive(&mut buf).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn receiver_is_woken_only_from_empty_to_non_empty() {
        let (mut near, mut far) = pair(4, 1500);
        let (woken, waker) = counter();
        assert!(far.poll_receive_ready(&mut Context::from_waker(&waker)).is_pending());
        send(&mut near, b"a").unwrap();
        send(&mut near, b"b").unwrap();
        assert_eq!(woken.0.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn refused_sender_is_woken_when_half_the_queue_is_free() {
        let (mut near, mut far) = pair(2, 1500);
        let (woken, waker) = counter();
        send(&mut near, b"a").unwrap();
        send(&mut near, b"b").unwrap();
        assert_eq!(send(&mut near, b"c").unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert!(near.poll_send_ready(&mut Context::from_waker(&waker)).is_pending());
        far.try_receive(&mut [0; 4]).unwrap();
        assert_eq!(woken.0.load(Ordering::SeqCst), 1);
        send(&mut near, b"c").unwrap();
    }

    #[test]
    fn unplugged_end_is_seen_after_the_last_frame() {
        let (mut near, mut far) = pair(2, 1500);
        send(&mut near, b"last").unwrap();
        drop(near);
        let mut buf = [0; 8];
        assert_eq!(far.try_receive(&mut buf).unwrap(), 4);
        assert_eq!(far.try_receive(&mut buf).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(send(&mut far, b"x").unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
