//! Caption metrics without Java: BLEU, METEOR, ROUGE-L and CIDEr as the COCO caption tools compute them.
//!
//! [`score`] does the whole of it; the modules work on tokens and can be used alone.

pub mod bleu;
pub mod cider;
mod corpus;
pub mod meteor;
mod ngrams;
pub mod rouge;
mod tokenize;

pub use corpus::{CaptionSample, CaptionScores, SampleScores, Tokenized, score};
pub use meteor::Meteor;
pub use tokenize::tokenize;
