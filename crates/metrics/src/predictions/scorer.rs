//! The scorers by name, and what they give.

use serde_json::{Map, Value, json};

use super::input::{Input, PredictionError, Result};
use super::{captions, choice, frechet, gqa, mmvp, ndcg, vqa, yes_no};
use crate::figures::Figure;

/// Scores predictions of one family.
#[derive(Clone, Copy, Debug)]
pub struct Scorer {
    /// Name, as `yes-no`.
    pub name: &'static str,
    /// What the file of predictions holds.
    pub predictions: &'static str,
    pub(super) truth: Truth,
}

/// Where what is right stands, and how predictions are scored by it. A text says what the file of references holds.
#[derive(Clone, Copy, Debug)]
pub(super) enum Truth {
    /// In the file of predictions.
    Within(fn(Input<'_>) -> Result<Scores>),
    /// In a file of references.
    Beside(&'static str, fn(Input<'_>, Input<'_>) -> Result<Scores>),
    /// In either.
    Either(
        &'static str,
        fn(Input<'_>, Option<Input<'_>>) -> Result<Scores>,
    ),
}

/// All scorers.
pub const SCORERS: [Scorer; 8] = [
    yes_no::SCORER,
    vqa::SCORER,
    mmvp::SCORER,
    captions::SCORER,
    ndcg::SCORER,
    frechet::SCORER,
    gqa::SCORER,
    choice::SCORER,
];

/// A scorer by its name, in which `-` and `_` are the same.
///
/// # Errors
/// `UnknownFamily`, with the names that are known.
pub fn scorer(name: &str) -> Result<Scorer> {
    let plain = name.replace('_', "-");
    let found = SCORERS.into_iter().find(|scorer| scorer.name == plain);
    found.ok_or_else(|| PredictionError::UnknownFamily {
        name: name.to_owned(),
        known: SCORERS.map(|scorer| scorer.name.to_owned()).to_vec(),
    })
}

impl Scorer {
    /// The scores of a file of predictions.
    ///
    /// # Errors
    /// Files that are missing or needless; records that break their format, by file, record and field; references
    /// without a prediction, counted.
    pub fn score(&self, predictions: Input<'_>, references: Option<Input<'_>>) -> Result<Scores> {
        match (self.truth, references) {
            (Truth::Within(_), Some(_)) => Err(PredictionError::NeedlessReferences {
                family: self.name.to_owned(),
            }),
            (Truth::Within(score), None) => score(predictions),
            (Truth::Beside(_, score), Some(references)) => score(predictions, references),
            (Truth::Beside(..), None) => Err(self.without_references()),
            (Truth::Either(_, score), references) => score(predictions, references),
        }
    }

    /// What the file of references holds, if there is one.
    #[must_use]
    pub fn references(&self) -> Option<&'static str> {
        match self.truth {
            Truth::Within(_) => None,
            Truth::Beside(holds, _) | Truth::Either(holds, _) => Some(holds),
        }
    }

    /// What is said if a needed file of references is not given.
    #[must_use]
    pub fn without_references(&self) -> PredictionError {
        PredictionError::NoReferences {
            family: self.name.to_owned(),
            expected: self.references().unwrap_or_default().to_owned(),
        }
    }
}

/// Named numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Scores {
    /// The numbers, with intervals where they are known.
    pub figures: Vec<Figure>,
    /// Further fields of the JSON form, as they stand there: counts, parts.
    pub details: Map<String, Value>,
    /// What a person should know about how they were computed.
    pub note: Option<&'static str>,
}

impl Scores {
    /// Numbers without details.
    pub(super) fn new(figures: impl IntoIterator<Item = Figure>) -> Self {
        Self {
            figures: figures.into_iter().collect(),
            details: Map::new(),
            note: None,
        }
    }

    /// The same with one more field in its JSON form.
    pub(super) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.details.insert(name.to_owned(), value.into());
        self
    }

    /// `{NAME: number, …}`; `intervals` has `{NAME: [low, high]}` of those that have one, further fields follow.
    #[must_use]
    pub fn json(&self) -> Value {
        let figures = self.figures.iter();
        let mut object: Map<String, Value> =
            figures.map(|f| (f.name.clone(), json!(f.mean))).collect();
        let bounded = self.figures.iter().filter_map(|f| {
            let (low, high) = (f.low?, f.high?);
            Some((f.name.clone(), json!([low, high])))
        });
        let intervals: Map<String, Value> = bounded.collect();
        if !intervals.is_empty() {
            object.insert("intervals".into(), Value::Object(intervals));
        }
        object.extend(self.details.clone());
        Value::Object(object)
    }
}
