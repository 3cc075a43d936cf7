//! What can go wrong.

use std::path::PathBuf;

/// Shorthand for results of this crate.
pub type Result<T> = std::result::Result<T, ReportError>;

/// A report or a results file that could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// A file that cannot be written.
    #[error("cannot write {}: {source}; check that the folder exists and has room", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Results that have no JSON form.
    #[error("results as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// A template that does not fit what it is given: an error of this crate.
    #[error("template of the report: {0:#}")]
    Template(#[from] minijinja::Error),
}
