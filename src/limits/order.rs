//! Which bounds must hold together.
//!
//! It knows no range of a single one. Invariant: bounds that pass leave no part of a sandbox without room to work.

use super::{LimitError, Limits};

impl Limits {
    /// Makes sure that a sandbox can run within these bounds.
    pub fn check(&self) -> Result<(), LimitError> {
        self.check_each()?;
        let ordered = [
            ("dns_ttl_floor", "dns_ttl_ceiling", self.dns_ttl_floor <= self.dns_ttl_ceiling),
            (
                "dns_negative_ttl_floor",
                "dns_negative_ttl_ceiling",
                self.dns_negative_ttl_floor <= self.dns_negative_ttl_ceiling,
            ),
            ("dns_query", "dns_stream_memory", self.dns_query <= self.dns_stream_memory),
            ("source_retry", "source_rest", self.source_retry <= self.source_rest),
            // One flow alone must be able to fill its rings.
            ("receive_ring", "ring_memory", self.receive_ring <= self.ring_memory),
            (
                "transmit_ring",
                "ring_memory",
                self.transmit_ring <= self.ring_memory.saturating_sub(self.receive_ring),
            ),
        ];
        match ordered.into_iter().find(|(.., holds)| !holds) {
            Some((small, large, _)) => Err(LimitError::Order { small, large }),
            None => Ok(()),
        }
    }
}
