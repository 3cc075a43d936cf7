//! GGUF files, as llama.cpp writes them: metadata and packed tensors in one file.
//!
//! [`GgufFile`] reads any such file: its head and the place of every tensor are validated on opening,
//! numbers are unpacked one tensor at a time. What a LLaMA in one means in transformers' terms
//! (configuration, keys, order of rotated rows) stands in `llama.rs`; through it
//! [`WeightsFile`](super::WeightsFile) opens a GGUF file as it opens safetensors.
//!
//! Source: the format's description in the ggml repository (`docs/gguf.md`), versions 2 and 3.

mod encoding;
mod file;
mod header;
mod llama;

pub use encoding::Encoding;
pub use file::{GgufFile, GgufTensor};
pub(super) use header::MAGIC;
pub(super) use llama::Rotated;
