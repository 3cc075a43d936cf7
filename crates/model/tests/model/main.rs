//! The crate's integration tests, one module a subject, in one program.

mod families;
mod fields;
mod gguf;
mod hostile;
mod hostile_gguf;
mod lora;
mod mutated;
mod official;
mod parity_autoencoder;
mod parity_clip;
mod parity_features;
mod parity_llama;
mod parity_mmfs;
mod parity_perceiver;
mod parity_scheduler;
mod parity_unet;
#[cfg(target_os = "linux")]
mod streaming;
mod support;
