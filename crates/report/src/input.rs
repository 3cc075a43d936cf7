//! What a page is made of.

use image::RgbImage;

use crate::results::Results;

/// Everything on the page. Lists may be empty: their sections are then left out.
#[derive(Debug, Clone)]
pub struct Report {
    /// Name of the study, as the heading.
    pub title: String,
    /// What kind of study it is, above the heading.
    pub subject: String,
    /// Figures.
    pub results: Results,
    /// What others published, beside the differences of the main comparison.
    pub published: Vec<Published>,
    /// Training curves, one for each arm, seed and term.
    pub curves: Vec<Curve>,
    /// Order and explanation of the curves' terms; a term that is not named here comes last, unexplained.
    pub terms: Vec<Term>,
    /// Values that curves are to be compared with.
    pub levels: Vec<Level>,
    /// Where the stages of training begin.
    pub stages: Vec<Stage>,
    /// The same images as the encoder understood them before training and after it.
    pub restorations: Vec<Restoration>,
    /// Questions that the arms answer differently.
    pub examples: Vec<Example>,
    /// The resolved configuration.
    pub config_toml: String,
    /// The command that reproduces the study.
    pub command: String,
    /// Facts worth a line each, as name and value: weights, machine, duration.
    pub facts: Vec<(String, String)>,
    /// What the study cannot show, a sentence or two each.
    pub limits: Vec<String>,
}

/// A difference that somebody published of a benchmark.
#[derive(Debug, Clone, PartialEq)]
pub struct Published {
    /// Name of the family.
    pub family: String,
    /// Whose it is: "The paper, at full size".
    pub source: String,
    /// The difference, in the unit of the family's headline.
    pub value: f64,
}

/// A quantity logged in training.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    /// Arm of the run.
    pub arm: String,
    /// Seed of the run.
    pub seed: u64,
    /// What was logged; curves of one term share a chart.
    pub term: String,
    /// Step and value, in order of the steps.
    pub points: Vec<(f64, f64)>,
}

/// What a curve shows.
#[derive(Debug, Clone, PartialEq)]
pub struct Term {
    /// Name in [`Curve::term`]: `L_NTP` is printed with an index, `gradient_ratio` with a space.
    pub name: String,
    /// In words.
    pub note: String,
}

/// A value that the curves of a term are to be compared with, drawn across their chart.
#[derive(Debug, Clone, PartialEq)]
pub struct Level {
    /// Name in [`Curve::term`].
    pub term: String,
    /// The value.
    pub value: f64,
    /// What has this value.
    pub note: String,
}

/// A stage of training.
#[derive(Debug, Clone, PartialEq)]
pub struct Stage {
    /// Its name.
    pub name: String,
    /// Its first step, counted over all stages.
    pub step: u64,
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
    /// Restored from the encoder of each arm, by its name.
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
    /// What the arms answered, in their order.
    pub answers: Vec<Answer>,
}

/// An answer of one arm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Name of the arm.
    pub arm: String,
    /// What it said, verbatim.
    pub text: String,
    /// Whether that is right, as the scorer decided.
    pub right: bool,
}
