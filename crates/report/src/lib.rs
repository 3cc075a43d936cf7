//! What a study leaves behind: `results.json` for machines, `report.html` for people.
//!
//! [`Results`] is the file: arms, each with its tree of figures (see [`deem_metrics::figures`]), and paired differences.
//! [`Report`] adds what only the page shows, and [`render`] makes one HTML file of it that needs no network: styles
//! inline, pictures as data, charts as SVG.
//!
//! Nothing here knows a benchmark, an arm or how a figure came about: the page shows what is there. It judges nothing
//! either; whether an answer is right is part of what it is given.
//!
//! - `templates/` holds all markup; everything that a template prints is escaped
//! - `view/` turns results into what the templates print: texts, and places in charts
#![warn(missing_docs)]
#![allow(clippy::disallowed_methods)] // what is drawn is no result

mod error;
mod input;
mod picture;
mod render;
mod results;
mod scale;
mod text;
mod view;

#[cfg(test)]
mod sample;
#[cfg(test)]
mod tests;

pub use error::{ReportError, Result};
pub use input::{Answer, Curve, Example, Level, Published, Report, Restoration, Stage, Term};
pub use render::render;
pub use results::{ArmResults, Comparison, Results, Row};
pub use text::{grouped, number, value};
