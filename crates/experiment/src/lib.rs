//! The built-in experiment: stand-in foundation models, how they are made and judged, and the study that
//! compares training with and without feedback.
//!
//! [`standins`] says where the stand-ins lie, [`pretrain`] makes them, [`built_in`] is their data,
//! [`study`] trains and evaluates the arms, [`encoder_study`] those of the study of bare encoders.
#![warn(missing_docs)]
#![recursion_limit = "256"]

pub mod benchmarks;
pub mod built_in;
mod cholesky;
pub mod config;
pub mod encoder_study;
mod feedback_bounds;
pub mod pretrain;
mod shuffled_images;
pub mod standins;
pub mod study;
mod unseen;

pub use feedback_bounds::{FeedbackBounds, feedback_bounds};
pub use shuffled_images::shuffled_images;
pub use unseen::Unseen;
