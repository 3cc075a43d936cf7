//! D_LLM: the LLaMA family (transformers `LlamaForCausalLM`), with gated MMFS cross-attention.
//!
//! Embeddings go in and hidden states come out, because the caller mixes words with images. The
//! original layers, usually frozen, stand beside MMFS blocks in every k-th of them, which look at
//! the image pyramids between self-attention and MLP. The vocabulary is extended by a separate
//! trainable head ([`TextDecoder`]).

mod attention;
mod cache;
mod config;
mod family;
mod filled;
mod head;
mod layer;
mod model;
mod published;
mod rope;

pub use attention::LlamaAttention;
pub use cache::{LlamaCache, consecutive_positions};
pub use config::{LlamaConfig, LlamaError, LlamaMmfsConfig};
pub use family::{Family, LayerType};
pub use filled::Head;
pub use head::TextDecoder;
pub use layer::{LlamaLayer, LlamaMlp};
pub use model::{Llama, LlamaImages, LlamaInput, LlamaModel, LlamaOutput};
pub use rope::{RopeParameters, RopeType};
