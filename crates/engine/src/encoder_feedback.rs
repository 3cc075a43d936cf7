//! Correcting a bare encoder on pictures alone: one TOML file, an encoder and a diffusion model as they are published,
//! stages of one run, and the encoder back in the layout in which it came.

mod config;
mod data;
mod open;
mod saved;
mod task;

pub use config::{FeedbackRun, FeedbackStage, FeedbackWeights, check_stages, is_folder_name};
pub use data::{batches_of, picture_batches, pictures_at};
pub use open::EncoderFoundation;
pub use saved::{ENCODER, encoder_at, save_encoder};
pub use task::{FeedbackTask, Reference};
