//! Generation: text from images and text, images from text and images, and scores of given answers.

mod adapt;
mod image;
mod options;
mod sampling;
mod text;

pub use adapt::{AdaptOptions, adapt};
pub use image::{ImageOptions, SamplerKind, generate_image, restore, sample_latents};
pub use options::log_likelihoods;
pub use sampling::{Sampling, choose};
pub use text::{Answer, TextOptions, generate_text, generate_text_streaming};
