//! How many ICMP errors may still be sent: a bucket that fills with time.
//!
//! RFC 4443 §2.4 (f) and RFC 1812 §4.3.2.8 ask for a bound on the rate. Without a clock: `now` comes in.

use smoltcp::time::Instant;

/// A bucket that holds what one second gives.
#[derive(Debug)]
pub(super) struct Allowance {
    per_second: u64,
    /// Millionths of an error that may be sent.
    left: u64,
    at: Instant,
}

const WHOLE: u64 = 1_000_000;

impl Allowance {
    pub(super) fn new(per_second: u32, now: Instant) -> Self {
        let per_second = u64::from(per_second);
        Self { per_second, left: per_second * WHOLE, at: now }
    }

    /// Fills the bucket with the time that has passed.
    pub(super) fn refill(&mut self, now: Instant) {
        if now <= self.at {
            return;
        }
        let micros = (now - self.at).total_micros();
        self.at = now;
        let more = micros.saturating_mul(self.per_second);
        self.left = self.left.saturating_add(more).min(self.per_second * WHOLE);
    }

    /// Takes one, if there is one.
    pub(super) fn take(&mut self) -> bool {
        let left = self.left.checked_sub(WHOLE);
        self.left = left.unwrap_or(self.left);
        left.is_some()
    }
}

#[cfg(test)]
mod tests {
    use smoltcp::time::Duration;

    use super::*;

    #[test]
    fn a_second_gives_what_it_gives_however_it_is_sliced() {
        let mut allowance = Allowance::new(10, Instant::ZERO);
        let take = |allowance: &mut Allowance| (0..100).filter(|_| allowance.take()).count();
        assert_eq!(take(&mut allowance), 10);
        let mut now = Instant::ZERO;
        let mut taken = 0;
        for _ in 0..1_000 {
            now += Duration::from_millis(1);
            allowance.refill(now);
            allowance.refill(Instant::ZERO);
            taken += take(&mut allowance);
        }
        assert_eq!(taken, 10);
        allowance.refill(now + Duration::from_secs(3_600));
        assert_eq!(take(&mut allowance), 10, "no more than a second's worth at once");
    }
}
