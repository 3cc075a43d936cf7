//! The built-in world: scenes composed of drawings by several artists, with exact ground truth, and what
//! is made of them. One source of data among others.
//!
//! A [`Design`] says what is what in it; [`corpus`] holds the drawings and their split, [`scene`] composes and describes them, [`source`] makes
//! samples of them, [`benchmark`] questions.

mod augment;
pub mod benchmark;
pub mod corpus;
mod design;
mod feed;
pub mod scene;
pub mod source;
mod vocabulary;

pub use augment::Augmentation;
pub use design::{Casting, Design};
pub use feed::{SceneFeed, ScenePair, World};
pub use vocabulary::{builtin_tokenizer_json, builtin_words};

/// Version of what is drawn and said for a seed and an index. It grows whenever a change makes samples other than
/// they were, so that no run goes on with other data than it began with.
pub const VERSION: u32 = 6;
