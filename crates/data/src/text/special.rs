//! Ids of the tokens that are not words.

use serde::{Deserialize, Serialize};

/// Ids of the special tokens, DEEM's "Sequence layout".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpecialTokens {
    /// Starts a document.
    pub bos: u32,
    /// Ends an answer.
    pub eos: u32,
    /// Fills up rows.
    pub pad: u32,
    /// Start of image.
    pub soi: u32,
    /// Placeholder whose embedding an image embedding replaces.
    pub image: u32,
    /// `<ref>`
    pub ref_open: u32,
    /// `</ref>`
    pub ref_close: u32,
    /// `<box>`
    pub box_open: u32,
    /// `</box>`
    pub box_close: u32,
}

impl SpecialTokens {
    /// The layout used with Vicuna's vocabulary of 32000 words.
    pub const VICUNA: Self = Self {
        bos: 1,
        eos: 2,
        pad: 31999,
        soi: 32000,
        image: 32001,
        ref_open: 32002,
        ref_close: 32003,
        box_open: 32004,
        box_close: 32005,
    };

    /// Names in tokenizer files, with the ids.
    pub fn named(&self) -> [(&'static str, u32); 9] {
        [
            ("<s>", self.bos),
            ("</s>", self.eos),
            ("<pad>", self.pad),
            ("<soi>", self.soi),
            ("<image>", self.image),
            ("<ref>", self.ref_open),
            ("</ref>", self.ref_close),
            ("<box>", self.box_open),
            ("</box>", self.box_close),
        ]
    }

    /// Whether an id is one of them.
    pub fn contains(&self, id: u32) -> bool {
        self.named().iter().any(|(_, own)| *own == id)
    }

    /// Smallest vocabulary that holds all of them.
    pub fn vocabulary(&self) -> usize {
        self.named()
            .iter()
            .map(|(_, id)| *id as usize + 1)
            .max()
            .unwrap_or(0)
    }
}
