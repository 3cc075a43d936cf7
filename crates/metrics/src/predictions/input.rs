//! Files of predictions, and what can be wrong with them.

use std::collections::HashSet;
use std::fmt::Display;
use std::hash::Hash;

use serde::de::DeserializeOwned;

use crate::MetricsError;

/// A file that has been read.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// Its name, for errors.
    pub name: &'a str,
    /// Its content.
    pub bytes: &'a [u8],
}

/// Predictions that cannot be scored.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PredictionError {
    /// A family that has no scorer.
    #[error("no scorer {name:?}; there are {}", known.join(", "))]
    UnknownFamily {
        /// The name asked for.
        name: String,
        /// Names that are known.
        known: Vec<String>,
    },
    /// A file that the family needs.
    #[error("{family} needs --references: {expected}")]
    NoReferences {
        /// The family.
        family: String,
        /// What the file holds.
        expected: String,
    },
    /// A file that the family has no use for.
    #[error("{family} takes no --references: its predictions hold the right answers")]
    NeedlessReferences {
        /// The family.
        family: String,
    },
    /// A record that breaks its file's format.
    #[error("{file}, {place}: expected {expected}, found {found}")]
    Record {
        /// The file.
        file: String,
        /// Line, record, field.
        place: String,
        /// What should be there.
        expected: String,
        /// What is there.
        found: String,
    },
    /// References that have no prediction.
    #[error(
        "{file}: {count} of {total} {what} have no prediction, the first is {first}; a score over the others alone \
         would not be comparable"
    )]
    Missing {
        /// The file of predictions.
        file: String,
        /// Images, questions.
        what: String,
        /// How many have none.
        count: usize,
        /// How many there are.
        total: usize,
        /// One of them.
        first: String,
    },
    /// Numbers that cannot be scored.
    #[error("{file}: {error}")]
    Metrics {
        /// The file of predictions.
        file: String,
        /// What the scorer says.
        error: MetricsError,
    },
}

/// Shorthand for results of reading predictions.
pub(super) type Result<T> = std::result::Result<T, PredictionError>;

impl Input<'_> {
    /// A record that breaks the format.
    pub(super) fn broken(
        &self,
        place: impl Into<String>,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> PredictionError {
        PredictionError::Record {
            file: self.name.to_owned(),
            place: place.into(),
            expected: expected.into(),
            found: found.into(),
        }
    }

    /// What a scorer says about this file.
    pub(super) fn scored<T>(&self, result: crate::Result<T>) -> Result<T> {
        result.map_err(|error| PredictionError::Metrics {
            file: self.name.to_owned(),
            error,
        })
    }

    pub(super) fn text(&self) -> Result<&str> {
        let text = std::str::from_utf8(self.bytes);
        text.map_err(|error| {
            self.broken(
                format!("byte {}", error.valid_up_to()),
                "text in UTF-8",
                "other bytes",
            )
        })
        .map(|text| text.trim_start_matches('\u{feff}'))
    }

    /// The whole file as one JSON value.
    pub(super) fn json<T: DeserializeOwned>(&self, expected: &str) -> Result<T> {
        serde_json::from_str(self.text()?).map_err(|error| {
            let place = format!("line {}, column {}", error.line(), error.column());
            self.broken(place, expected, error.to_string())
        })
    }

    /// Records from a JSON list, or from one JSON object a line, each with its place.
    pub(super) fn records<T: DeserializeOwned>(&self, expected: &str) -> Result<Vec<(String, T)>> {
        let text = self.text()?;
        let record = |place: String, value: serde_json::Result<T>| {
            value
                .map_err(|error| self.broken(place.as_str(), expected, error.to_string()))
                .map(|value| (place.clone(), value))
        };
        if text.trim_start().starts_with('[') {
            let values: Vec<serde_json::Value> = self.json("a list of records")?;
            let values = values.into_iter().enumerate();
            return values
                .map(|(at, value)| record(format!("record {at}"), serde_json::from_value(value)))
                .collect();
        }
        let lines = text.lines().enumerate();
        lines
            .filter(|(_, line)| !line.trim().is_empty())
            .map(|(at, line)| record(format!("line {}", at + 1), serde_json::from_str(line)))
            .collect()
    }

    /// Refuses a second record of the same thing.
    pub(super) fn once<T: Hash + Eq + Display>(
        &self,
        seen: &mut HashSet<T>,
        id: T,
        place: &str,
        field: &str,
    ) -> Result<()> {
        if seen.contains(&id) {
            return Err(self.broken(format!("{place}, {field}"), "each once", id.to_string()));
        }
        seen.insert(id);
        Ok(())
    }
}

/// References without a prediction, if there are any.
pub(super) fn missing<T: Display>(
    predictions: Input<'_>,
    what: &str,
    without: &[T],
    total: usize,
) -> Result<()> {
    match without.first() {
        None => Ok(()),
        Some(first) => Err(PredictionError::Missing {
            file: predictions.name.to_owned(),
            what: what.to_owned(),
            count: without.len(),
            total,
            first: first.to_string(),
        }),
    }
}

/// An identifier as files have it: a number or a text. A text that is a number is the number: `"9"` is 9, `"009"` is not.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Deserialize)]
#[serde(from = "Written")]
pub(super) enum Id {
    /// A number.
    Number(i64),
    /// A text.
    Text(String),
}

#[derive(serde::Deserialize)]
#[serde(untagged)]
enum Written {
    Number(i64),
    Text(String),
}

impl From<Written> for Id {
    fn from(written: Written) -> Self {
        match written {
            Written::Number(number) => Self::Number(number),
            Written::Text(text) => match text.parse::<i64>() {
                Ok(number) if number.to_string() == text => Self::Number(number),
                _ => Self::Text(text),
            },
        }
    }
}

impl Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}
