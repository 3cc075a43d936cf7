use serde::{Deserialize, Serialize};

use crate::checks::{Number, numbers, uneven, zeros};

/// Dimensions of one synchroniser.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MmfsConfig {
    /// Width of the queries and of the output.
    pub query_dim: usize,
    /// Width of the image features.
    pub value_dim: usize,
    /// Width of the projected values; a multiple of `heads`.
    pub attention_dim: usize,
    /// Attention heads.
    pub heads: usize,
    /// Sampling points per head and level.
    pub points: usize,
    /// Nominal side of each level, finest first (`[32, 16, 8]` in the language model).
    pub levels: Vec<usize>,
    /// Offsets count cells of a map with this side.
    pub base_size: usize,
    /// Initial offsets are uniform in ± this many cells.
    pub offset_init: f32,
    /// Rows of the table of relative image positions; images further back share the last row.
    pub max_images: usize,
}

/// What can be wrong with a synchroniser's configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MmfsError {
    /// Everything that does not fit together.
    #[error("MMFS configuration: {}", .0.join("; "))]
    Config(Vec<String>),
}

impl MmfsConfig {
    /// Checks that the numbers fit together.
    ///
    /// # Errors
    /// `Config` listing every problem.
    pub fn validate(&self) -> Result<(), MmfsError> {
        let mut problems = zeros(&[
            ("query_dim", self.query_dim),
            ("value_dim", self.value_dim),
            ("attention_dim", self.attention_dim),
            ("heads", self.heads),
            ("points", self.points),
            ("levels", self.levels.iter().copied().min().unwrap_or(0)),
            ("base_size", self.base_size),
        ]);
        problems.extend(uneven("attention_dim", self.attention_dim, self.heads));
        let offset = ("offset_init", f64::from(self.offset_init), Number::FromZero);
        problems.extend(numbers(&[offset]));
        if self.max_images < 2 {
            problems.push("max_images must be at least 2 (row 0 is for invisible images)".into());
        }
        if problems.is_empty() {
            Ok(())
        } else {
            Err(MmfsError::Config(problems))
        }
    }
}
