//! What the report shows besides the results.

use image::RgbImage;

use super::results::Results;

/// Everything on the page. Lists may be empty: their sections are then left out.
#[derive(Debug, Clone)]
pub struct ReportInput {
    /// Name of the study, as the heading.
    pub title: String,
    /// Figures.
    pub results: Results,
    /// Training curves, one for each arm, seed and term.
    pub curves: Vec<Curve>,
    /// Steps at which a stage begins, with its name.
    pub stages: Vec<(u64, String)>,
    /// The same images as the encoder understood them before training and after it.
    pub restorations: Vec<Restoration>,
    /// Questions that the arms answer differently.
    pub examples: Vec<Example>,
    /// The resolved configuration.
    pub config_toml: String,
    /// The command that reproduces the study.
    pub command: String,
    /// Facts worth a line each: stand-ins, machine, duration, λ.
    pub facts: Vec<(String, String)>,
    /// What the experiment cannot show, a sentence or two each.
    pub limits: Vec<String>,
}

/// A quantity logged in training.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    /// Arm of the run.
    pub arm: String,
    /// Seed of the run.
    pub seed: u64,
    /// What was logged: `L_NTP`, `L_CSR`, …; `gradient_ratio` has a section of its own.
    pub term: String,
    /// Step and value, in order of the steps.
    pub points: Vec<(f64, f64)>,
}

/// One image, restored from what encoders understood of it.
#[derive(Debug, Clone)]
pub struct Restoration {
    /// What the image shows, or where it comes from.
    pub label: String,
    /// The image.
    pub input: RgbImage,
    /// Restored from the encoder before training.
    pub before: RgbImage,
    /// Restored from the encoder of each arm.
    pub after: Vec<(String, RgbImage)>,
}

/// A question that arms answer differently.
#[derive(Debug, Clone)]
pub struct Example {
    /// The image asked about.
    pub image: RgbImage,
    /// Benchmark of the question.
    pub benchmark: String,
    /// The question.
    pub question: String,
    /// The right answer.
    pub truth: String,
    /// Arm and answer, in the order of the arms.
    pub answers: Vec<(String, String)>,
}
