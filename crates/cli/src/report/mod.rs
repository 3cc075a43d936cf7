//! What a study leaves behind: `results.json` for machines, `report.html` for people.
//!
//! The page is one file that needs no network: styles inline, pictures as data, charts drawn here.

mod chart;
mod html;
mod input;
mod page;
mod results;
mod section;

#[cfg(test)]
mod sample;
#[cfg(test)]
mod tests;

pub use input::{Curve, Example, ReportInput, Restoration};
pub use page::render;
pub use results::{
    ArmResults, Differences, Region, Results, RobustVqa, SeedResults, ShuffledImages,
    difference_name,
};
