//! A table from short keys to places in patterns, that says "no" quickly.
//!
//! A text without a pattern asks it many times and is nearly always told "no" by one bit. It holds no octet of a
//! pattern, only hashes and positions; who asks must compare. Invariant: a place is found by the key it was put
//! in with.

/// Bits of the filter for each place, at least: one text in so many is looked at in vain.
const SPARSENESS: usize = 16;
/// Most bits of the filter, so that it stays in the fastest cache.
const MOST_BITS: usize = 1 << 17;
const WORD: usize = u64::BITS as usize;
/// An odd number without pattern (2⁶⁴ divided by the golden ratio), which spreads keys over the high bits.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// A key, spread.
#[derive(Clone, Copy)]
pub(super) struct Hash(u64);

impl Hash {
    pub(super) fn of(key: u64) -> Self {
        Self((key ^ key >> 29).wrapping_mul(SPREAD))
    }

    /// The bits that neither filter nor buckets use.
    fn tag(self) -> u16 {
        (self.0 >> 16 & u64::from(u16::MAX)) as u16
    }
}

/// So many octets into a pattern.
#[derive(Clone, Copy)]
pub(super) struct Place {
    tag: u16,
    pub(super) offset: u16,
    /// Index of the pattern.
    pub(super) pattern: u32,
}

impl Place {
    pub(super) fn new(pattern: usize, offset: usize) -> Self {
        // Patterns are counted by thousands, and only the first octets of each have a place.
        let pattern = u32::try_from(pattern).unwrap_or(u32::MAX);
        Self { tag: 0, offset: u16::try_from(offset).unwrap_or(u16::MAX), pattern }
    }
}

pub(super) struct Places {
    filter: Box<[u64]>,
    /// How far a hash is shifted to be a bit of the filter.
    filter_shift: u32,
    /// Where the places of each bucket begin; one more than there are buckets.
    starts: Box<[u32]>,
    /// How far a hash is shifted to be a bucket.
    bucket_shift: u32,
    places: Box<[Place]>,
}

impl Places {
    pub(super) fn new(entries: Vec<(u64, Place)>) -> Self {
        let bits = (entries.len() * SPARSENESS).next_power_of_two().clamp(WORD, MOST_BITS);
        let buckets = entries.len().next_power_of_two().clamp(2, bits);
        let filter_shift = u64::BITS - bits.trailing_zeros();
        let bucket_shift = u64::BITS - buckets.trailing_zeros();
        let mut filter = vec![0; bits / WORD].into_boxed_slice();
        let mut hashed: Vec<_> = entries.into_iter().map(|(key, place)| (Hash::of(key), place)).collect();
        hashed.sort_by_key(|(hash, _)| hash.0 >> bucket_shift);
        for (hash, place) in &mut hashed {
            place.tag = hash.tag();
            let bit = (hash.0 >> filter_shift) as usize;
            if let Some(word) = filter.get_mut(bit / WORD) {
                *word |= 1 << (bit % WORD);
            }
        }
        let start = |bucket| hashed.partition_point(|(hash, _)| (hash.0 >> bucket_shift) < bucket);
        let starts = (0..=buckets as u64).map(|bucket| u32::try_from(start(bucket)).unwrap_or(u32::MAX));
        let starts = starts.collect();
        let places = hashed.into_iter().map(|(_, place)| place).collect();
        Self { filter, filter_shift, starts, bucket_shift, places }
    }

    /// Whether there may be a place; usually right.
    #[inline]
    pub(super) fn may_have(&self, hash: Hash) -> bool {
        let bit = (hash.0 >> self.filter_shift) as usize;
        self.filter.get(bit / WORD).is_some_and(|word| word >> (bit % WORD) & 1 == 1)
    }

    /// The places of a key, and seldom one of another.
    pub(super) fn at(&self, hash: Hash) -> impl Iterator<Item = &Place> {
        let bucket = (hash.0 >> self.bucket_shift) as usize;
        let bounds = self.starts.get(bucket).zip(self.starts.get(bucket + 1)).filter(|_| self.may_have(hash));
        let places = bounds.and_then(|(start, end)| self.places.get(*start as usize..*end as usize));
        places.unwrap_or_default().iter().filter(move |place| place.tag == hash.tag())
    }
}
