//! What can be wrong with predictions that are handed to a scorer.

/// Shorthand for results of this crate.
pub type Result<T> = std::result::Result<T, MetricsError>;

/// Input that no score can be computed from.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MetricsError {
    /// Nothing to score.
    #[error("{what}: no samples; check that the predictions file is not empty")]
    Empty {
        /// What was to be scored.
        what: &'static str,
    },
    /// A value outside the range of its metric, or not a number.
    #[error("{what}: {found} is outside of {expected} (question {question:?})")]
    OutOfRange {
        /// What was to be scored.
        what: &'static str,
        /// The value found.
        found: f64,
        /// The range that the metric allows.
        expected: &'static str,
        /// The question that the value belongs to.
        question: String,
    },
    /// The same question twice in the predictions of one seed.
    #[error("question {question:?} (seed {seed}) appears twice; remove one of the two answers")]
    Duplicate {
        /// The question's identifier.
        question: String,
        /// The seed of the run.
        seed: u64,
    },
    /// Two runs that are compared did not answer the same questions.
    #[error(
        "the two runs did not answer the same questions: {missing} without a partner, the first is {question:?} (seed {seed}); \
         evaluate both on the same question file"
    )]
    Unpaired {
        /// A question answered by one of the runs only.
        question: String,
        /// Its seed.
        seed: u64,
        /// How many such questions there are.
        missing: usize,
    },
    /// A right answer that no answer can be compared with.
    #[error("the right answer {found:?} is not {expected}; mend it in the benchmark's file")]
    Truth {
        /// The right answer, as the benchmark has it.
        found: String,
        /// What was expected.
        expected: &'static str,
    },
    /// A pair without exactly two members.
    #[error("pair {pair:?} (seed {seed}) has {found} questions instead of 2")]
    IncompletePair {
        /// The pair's identifier.
        pair: String,
        /// The seed of the run.
        seed: u64,
        /// How many questions it has.
        found: usize,
    },
    /// Two lists that must be equally long are not.
    #[error("{what}: expected {expected}, found {found}")]
    Length {
        /// What was to be scored.
        what: &'static str,
        /// The length that was expected.
        expected: usize,
        /// The length found.
        found: usize,
    },
    /// A dictionary file of another format.
    #[error("{what}, line {line}: {problem}")]
    Dictionary {
        /// Which dictionary.
        what: &'static str,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong with it.
        problem: &'static str,
    },
}
