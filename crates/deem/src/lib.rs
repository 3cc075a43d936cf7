//! A usable model: open it by name, ask it about pictures, converse, draw, restore, adapt, score answers.
//!
//! ```
//! # fn main() -> Result<(), deem::Error> {
//! use deem::{Open, Picture, TextOptions};
//!
//! let model = Open::preset("tiny").load()?;
//! let picture = Picture::new("grey", image::RgbImage::from_pixel(96, 96, image::Rgb([90, 90, 90])));
//! let answer = model.ask("What color is the background?", &[picture], &TextOptions::longest(4))?;
//! assert!(!answer.is_empty());
//! # Ok(())
//! # }
//! ```
//!
//! | to | see |
//! |---|---|
//! | open a preset, a run's file, a run's result, an exported folder, a hub's name | [`Open`] |
//! | ask, score, draw, restore, adapt | [`Model`] |
//! | talk over several turns, words as they come | [`Conversation`]; as a value, [`Dialogue`] |
//! | train, or look before loading: what a model is made of | [`Parts`] |
//! | know what a run's result says of itself | [`Description`] |
//! | make one folder that opens anywhere | [`export()`] |
//!
//! Nothing here prints or reads arguments. A [`Model`] may be shared between threads.
#![warn(missing_docs)]
#![recursion_limit = "256"]

mod answer;
mod answering;
mod conversation;
mod description;
mod dialogue;
mod error;
mod export;
mod fingerprint;
mod locate;
mod model;
mod open;
mod parts;
mod picture;
mod preset;
mod resolve;
mod result;

pub use answer::Likely;
pub use answering::{AnswerOptions, Answering, Chorus, Said, TokenSaid};
pub use conversation::Conversation;
pub use deem_engine::config::ModelSpec;
pub use deem_engine::generate::{
    AdaptOptions, End, ImageOptions, Reading, SamplerKind, Sampling, TextOptions, Watch,
};
pub use deem_engine::{Compute, Precision};
pub use deem_kernels::share_processors;
pub use deem_model::deem::EncodedImages;
pub use description::{Base, DESCRIPTION, Description, Part, Progress as Trained};
pub use dialogue::{Dialogue, Exchange, Piece};
pub use error::Error;
pub use export::export;
pub use locate::{Located, Locator};
pub use model::{GUIDANCE, Model};
pub use open::{Event, Open, Purpose};
pub use parts::{BUILT_IN, Connection, Parts};
pub use picture::{Picture, write_picture};
pub use preset::{Preset, preset_folder, preset_names};
