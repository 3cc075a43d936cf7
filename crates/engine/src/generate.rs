//! Generation: text from images and text, images from text and images, and scores of given answers.

mod adapt;
mod continuation;
mod image;
mod options;
mod reading;
mod sampling;
mod text;

pub use adapt::{AdaptOptions, adapt};
pub use continuation::{Continuation, End, Ending};
pub use image::{ImageOptions, SamplerKind, Start, Watch, generate_image, restore, sample_latents};
pub use options::log_likelihoods;
pub use reading::{Reading, Together};
pub use sampling::{Sampling, choose, log_softmax};
pub use text::{Answer, TextOptions, generate_text, generate_text_streaming};
