//! The stand-in foundation models: small networks of the published architectures, made from the
//! built-in corpus (spec: the built-in experiment, stand-ins).
//!
//! Their order: `clip`, `autoencoder`, `diffusion` (needs the autoencoder), `llm`, `connect` (needs
//! all). [`check`] computes the gates that each must pass.

mod autoencoder;
mod captioned;
pub mod check;
mod clip;
mod diffusion;
mod llm;

pub use autoencoder::{AutoencoderTask, latent_scale};
pub use captioned::CaptionedDiffusion;
pub use clip::{
    Clip, ClipTask, EncoderForm, PairBatch, Pairs, class_embeddings, embed, encode_text,
    ids_tensor, pad, pixels,
};
pub use diffusion::{CaptionForm, DiffusionTask, Filling, TextToImage, text_condition};
pub use llm::LanguageTask;
