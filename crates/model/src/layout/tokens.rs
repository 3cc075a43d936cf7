use serde::{Deserialize, Serialize};

/// Ids of the tokens that carry structure: the part of a tokenizer's special tokens that networks know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StructureTokens {
    /// Start of a document.
    pub bos: i64,
    /// End of a text.
    pub eos: i64,
    /// Padding.
    pub pad: i64,
    /// Start of an image.
    pub soi: i64,
    /// Placeholder for one visual token.
    pub image: i64,
}

impl StructureTokens {
    /// The Vicuna vocabulary with DEEM's additions.
    pub const VICUNA: Self = Self {
        bos: 1,
        eos: 2,
        pad: 31999,
        soi: 32000,
        image: 32001,
    };
}
