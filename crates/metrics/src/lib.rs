//! Scorers and statistics for vision-language benchmarks.
//!
//! Everything here works on plain predictions (text, numbers, feature rows), so it scores the output of any model.
//! This crate knows no tensors, no models and no paths; see `docs/evaluation.md` for the protocols.
//!
//! - [`answer`]: from what a model said to what it answered
//! - [`statistics`]: means, accuracies and paired differences with confidence intervals
//! - [`yes_no`], [`pope`], [`robust_vqa`], [`ranking`], [`pairs`], [`circular`], [`vqa`]: one benchmark family each
//! - [`caption`]: BLEU, METEOR, ROUGE-L and CIDEr without Java
//! - [`ndcg`], [`frechet`]: ranked options and generated images
//! - [`predictions`]: all of them on the text of prediction files, as other programs write them
//! - [`figures`]: results as a tree of named numbers, what scorers give to reports and to JSON
#![warn(missing_docs)]
#![cfg_attr(test, allow(clippy::disallowed_methods))] // values to compare with

pub mod answer;
pub mod caption;
pub mod circular;
mod error;
pub mod figures;
pub mod frechet;
pub mod ndcg;
pub mod pairs;
pub mod pope;
pub mod predictions;
pub mod ranking;
pub mod robust_vqa;
pub mod statistics;
pub mod vqa;
pub mod yes_no;

pub use error::{MetricsError, Result};
