use burn::tensor::{Int, Tensor};
use deem_kernels::KeyValues;

/// Keys and values of the positions read so far.
///
/// Rows may be padded at the left: give the padding of all positions, read and new, at each call.
#[derive(Clone, Debug, Default)]
pub struct LlamaCache {
    pub(super) layers: Vec<KeyValues>,
}

impl LlamaCache {
    /// An empty cache.
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of positions read.
    pub fn len(&self) -> usize {
        self.layers.first().map_or(0, KeyValues::len)
    }

    /// Whether nothing has been read.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Rows of the cache in another order, dropped or repeated (beams, candidate answers).
    ///
    /// - `rows`: indices into the batch
    #[must_use]
    pub fn select(&self, rows: Tensor<1, Int>) -> Self {
        self.map(|entry| entry.select(0, rows.clone()))
    }

    /// Forgets all positions from `len` on.
    #[must_use]
    pub fn truncate(&self, len: usize) -> Self {
        if len == 0 {
            return Self::new();
        }
        let len = len.min(self.len());
        self.map(|entry| entry.narrow(2, 0, len))
    }

    fn map(&self, f: impl Fn(Tensor<4>) -> Tensor<4>) -> Self {
        Self {
            layers: self.layers.iter().map(|layer| layer.map(&f)).collect(),
        }
    }
}

/// Positions `start, start + 1, ..` in every row: `[batch · seq]`.
///
/// Rotations only depend on differences, so rows padded at the left need no shift of their own.
pub fn consecutive_positions(batch: usize, start: usize, seq: usize) -> Vec<i64> {
    let row = start as i64..(start + seq) as i64;
    row.collect::<Vec<_>>().repeat(batch)
}
