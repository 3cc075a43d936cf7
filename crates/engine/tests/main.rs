//! The engine's integration tests, linked once.

#![allow(clippy::disallowed_methods)] // values to compare with

mod common;
mod dual_encoder;
mod encoder_benchmarks;
mod encoder_feedback;
mod feedback;
mod foundation;
mod full_size;
#[cfg(any(feature = "cuda", feature = "wgpu"))]
mod gpu;
mod language;
mod lora;
mod mutated;
mod objectives;
mod options;
mod parity_deem;
mod precision;
mod probe;
mod reading;
mod reproducible;
mod resume;
mod sharing;
mod stored_16;
