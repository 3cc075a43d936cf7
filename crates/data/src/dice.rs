//! Seeded random choices whose results depend on nothing but (seed, purpose, index).
//!
//! Every random decision of the crate is made through [`Dice`]. The helpers are written out here
//! instead of taken from a distribution library, so that an upgrade of that library cannot change
//! a data set that results were published on.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// A stream of random choices for one item.
#[derive(Clone, Debug)]
pub struct Dice(ChaCha8Rng);

impl Dice {
    /// Stream of item `index` for one `purpose` under `seed`; different purposes are independent.
    pub fn new(seed: u64, purpose: &str, index: u64) -> Self {
        let mut key = [0u8; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[8..16].copy_from_slice(&hash(purpose.as_bytes()).to_le_bytes());
        key[16..24].copy_from_slice(&index.to_le_bytes());
        Self(ChaCha8Rng::from_seed(key))
    }

    /// Another stream, for choices whose number must not shift this one.
    #[must_use]
    pub fn fork(&mut self) -> Self {
        let mut key = [0u8; 32];
        for bytes in key.chunks_exact_mut(8) {
            bytes.copy_from_slice(&self.0.next_u64().to_le_bytes());
        }
        Self(ChaCha8Rng::from_seed(key))
    }

    /// Uniform in `0..n`; 0 when `n` is 0.
    pub fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.0.next_u64()) * n as u128) >> 64) as usize
    }

    /// Uniform in `[0, 1)`.
    pub fn unit(&mut self) -> f32 {
        (self.0.next_u32() >> 8) as f32 / (1u32 << 24) as f32
    }

    /// Uniform in `[low, high)`.
    pub fn between(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }

    /// True with the given probability.
    pub fn chance(&mut self, probability: f32) -> bool {
        self.unit() < probability
    }

    /// One of the items; `None` when there is none.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        items.get(self.below(items.len()))
    }

    /// One of a fixed, non-empty list (an empty one does not compile).
    pub fn one<T: Copy, const N: usize>(&mut self, items: [T; N]) -> T {
        const { assert!(N > 0) };
        items[self.below(N)]
    }

    /// Index drawn in proportion to `weights`; negative and NaN weights count as 0. `None` when all are 0.
    pub fn weighted(&mut self, weights: &[f32]) -> Option<usize> {
        let total: f32 = weights.iter().map(|w| w.max(0.0)).sum();
        if total <= 0.0 {
            return None;
        }
        let mut rest = self.unit() * total;
        for (index, weight) in weights.iter().enumerate() {
            let weight = weight.max(0.0);
            if weight > 0.0 && rest < weight {
                return Some(index);
            }
            rest -= weight;
        }
        weights.iter().rposition(|w| *w > 0.0)
    }

    /// Fisher-Yates shuffle.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

/// FNV-1a, 64 bits, with a final mix so that the high bits depend on every byte.
pub fn hash(bytes: &[u8]) -> u64 {
    let fnv = bytes.iter().fold(0xcbf2_9ce4_8422_2325u64, |h, b| {
        (h ^ u64::from(*b)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let mixed = (fnv ^ (fnv >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    mixed ^ (mixed >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_depend_on_all_three_keys_and_repeat() {
        let first = |seed, purpose, index| Dice::new(seed, purpose, index).below(1 << 30);
        assert_eq!(first(1, "a", 2), first(1, "a", 2));
        assert_ne!(first(1, "a", 2), first(2, "a", 2));
        assert_ne!(first(1, "a", 2), first(1, "b", 2));
        assert_ne!(first(1, "a", 2), first(1, "a", 3));
    }

    #[test]
    fn what_a_fork_draws_shifts_nothing() {
        let after = |draws: usize| {
            let mut dice = Dice::new(1, "fork", 0);
            let mut fork = dice.fork();
            let drawn: Vec<usize> = (0..draws).map(|_| fork.below(1 << 30)).collect();
            (drawn, dice.below(1 << 30))
        };
        let (none, then) = after(0);
        let (some, also_then) = after(5);
        assert!(none.is_empty() && then == also_then);
        assert_ne!(some[0], then);
        assert_eq!(some, after(5).0);
    }

    #[test]
    fn weighted_follows_the_weights() {
        let mut dice = Dice::new(7, "weights", 0);
        let mut seen = [0usize; 4];
        for _ in 0..4000 {
            seen[dice.weighted(&[1.0, 0.0, 3.0, f32::NAN]).unwrap()] += 1;
        }
        assert_eq!((seen[1], seen[3]), (0, 0));
        assert!((900..1100).contains(&seen[0]), "{seen:?}");
        assert_eq!(dice.weighted(&[0.0, -1.0]), None);
        assert_eq!(dice.weighted(&[]), None);
    }

    #[test]
    fn shuffle_keeps_the_items() {
        let mut items: Vec<usize> = (0..20).collect();
        Dice::new(3, "shuffle", 0).shuffle(&mut items);
        assert_ne!(items, (0..20).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..20).collect::<Vec<_>>());
    }
}
