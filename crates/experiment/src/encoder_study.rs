//! The study of bare encoders: the stand-in CLIP is corrected on pictures alone, objective by objective, and asked before
//! and after (docs/encoder-study.md).
//!
//! [`EncoderStudyConfig`] lists the arms, [`EncoderStudy`] trains them, [`EncoderExam`] asks them, [`scores`] makes
//! figures of what they answered.

mod config;
mod exam;
mod photographs;
mod probe;
mod restored;
pub mod scores;
mod train;

pub use config::{
    EncoderArm, EncoderPart, EncoderStudyConfig, Photographs, Retention, Sizes, UNTOUCHED,
};
pub use exam::EncoderExam;
pub use probe::directions;
pub use restored::restored;
pub use scores::{EncoderAnswer, Kind};
pub use train::EncoderStudy;
