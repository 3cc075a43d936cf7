use super::{k_quants, small_blocks};

/// How quantised numbers are packed: in blocks with scales of their own (ggml's formats).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // the formats' own names
pub enum BlockFormat {
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Iq4Nl,
    Q2K,
    Q3K,
    Q4K,
    Q5K,
    Q6K,
    Iq4Xs,
}

impl BlockFormat {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Q4_0,
        Self::Q4_1,
        Self::Q5_0,
        Self::Q5_1,
        Self::Q8_0,
        Self::Iq4Nl,
        Self::Q2K,
        Self::Q3K,
        Self::Q4K,
        Self::Q5K,
        Self::Q6K,
        Self::Iq4Xs,
    ];

    /// Its usual name, as `Q4_1`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Q4_0 => "Q4_0",
            Self::Q4_1 => "Q4_1",
            Self::Q5_0 => "Q5_0",
            Self::Q5_1 => "Q5_1",
            Self::Q8_0 => "Q8_0",
            Self::Iq4Nl => "IQ4_NL",
            Self::Q2K => "Q2_K",
            Self::Q3K => "Q3_K",
            Self::Q4K => "Q4_K",
            Self::Q5K => "Q5_K",
            Self::Q6K => "Q6_K",
            Self::Iq4Xs => "IQ4_XS",
        }
    }

    /// Numbers in a block.
    pub const fn values(self) -> usize {
        match self {
            Self::Q4_0 | Self::Q4_1 | Self::Q5_0 | Self::Q5_1 | Self::Q8_0 | Self::Iq4Nl => 32,
            Self::Q2K | Self::Q3K | Self::Q4K | Self::Q5K | Self::Q6K | Self::Iq4Xs => 256,
        }
    }

    /// Bytes of a block.
    pub const fn bytes(self) -> usize {
        match self {
            Self::Q4_0 | Self::Iq4Nl => 18,
            Self::Q4_1 => 20,
            Self::Q5_0 => 22,
            Self::Q5_1 => 24,
            Self::Q8_0 => 34,
            Self::Q2K => 84,
            Self::Q3K => 110,
            Self::Q4K => 144,
            Self::Q5K => 176,
            Self::Q6K => 210,
            Self::Iq4Xs => 136,
        }
    }

    /// Where a block has its factors in half precision.
    pub(super) const fn factors(self) -> &'static [usize] {
        match self {
            Self::Q4_0 | Self::Q5_0 | Self::Q8_0 | Self::Iq4Nl | Self::Iq4Xs => &[0],
            Self::Q4_1 | Self::Q5_1 | Self::Q4K | Self::Q5K => &[0, 2],
            Self::Q2K => &[80, 82],
            Self::Q3K => &[108],
            Self::Q6K => &[208],
        }
    }

    /// Whether all numbers of some whole blocks are numbers.
    pub fn is_finite(self, blocks: &[u8]) -> bool {
        let finite = |block: &[u8], at: usize| small_blocks::half_at(block, at).is_finite();
        let mut blocks = blocks.chunks_exact(self.bytes());
        blocks.all(|block| self.factors().iter().all(|at| finite(block, *at)))
    }

    /// The numbers of whole blocks.
    pub fn unpack(self, blocks: &[u8]) -> Vec<f32> {
        let blocks = blocks.chunks_exact(self.bytes());
        let mut numbers = vec![0.0; blocks.len() * self.values()];
        let unpack = self.unpacker();
        for (block, numbers) in blocks.zip(numbers.chunks_exact_mut(self.values())) {
            unpack(block, numbers);
        }
        numbers
    }

    fn unpacker(self) -> fn(&[u8], &mut [f32]) {
        match self {
            Self::Q4_0 => small_blocks::q4_0,
            Self::Q4_1 => small_blocks::q4_1,
            Self::Q5_0 => small_blocks::q5_0,
            Self::Q5_1 => small_blocks::q5_1,
            Self::Q8_0 => small_blocks::q8_0,
            Self::Iq4Nl => small_blocks::iq4_nl,
            Self::Q2K => k_quants::q2,
            Self::Q3K => k_quants::q3,
            Self::Q4K => k_quants::q4,
            Self::Q5K => k_quants::q5,
            Self::Q6K => k_quants::q6,
            Self::Iq4Xs => k_quants::iq4_xs,
        }
    }
}
