//! Losses, training, generation and evaluation of DEEM models.
//!
//! [`objective`] holds the method's losses as plain functions, [`task`] and [`train`] optimise them on
//! [`batches`], [`generate`] runs a model forwards, [`evaluate`] measures it.
#![warn(missing_docs)]
#![cfg_attr(test, allow(clippy::disallowed_methods))] // values to compare with
#![recursion_limit = "256"]

pub mod batches;
pub mod config;
mod device;
pub mod dual_encoder;
pub mod encoder_feedback;
mod error;
pub mod evaluate;
pub mod feature_network;
pub mod flops;
pub mod foundation;
pub mod generate;
mod lines;
mod lock;
pub mod memory;
pub mod objective;
pub mod pictures;
mod precision;
pub mod probe;
pub mod run_config;
pub mod task;
pub mod train;
pub mod zero_shot;

pub use device::{Compute, card, device};
pub use dual_encoder::{DualEncoder, EncoderFolder, Towers, Words, dot, matrix, unit};
pub use error::EngineError;
pub use lock::RunLock;
pub use precision::Precision;
