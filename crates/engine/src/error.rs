use std::path::{Path, PathBuf};

use deem_collective::CollectiveError;
use deem_data::DataError;
use deem_model::weights::WeightsError;

use crate::train::Difference;

/// What can go wrong while training, generating or evaluating.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// A drawing whose numbers are none.
    #[error(
        "the drawing came out as no numbers (NaN or infinite) with guidance {guidance}; lower the guidance, or look at \
         the weights (`deem doctor`)"
    )]
    DrawingNotFinite {
        /// The guidance that was asked for.
        guidance: f64,
    },
    /// A configuration that cannot be meant.
    #[error("configuration: {0}")]
    Config(String),
    /// A freezing or learning-rate pattern that selects nothing.
    #[error(
        "{field}: pattern {pattern:?} matches no parameter; patterns are globs over parameter paths \
         (`deem params` lists them), did you mean one of {suggestions:?}?"
    )]
    Pattern {
        /// Configuration field that holds the pattern.
        field: String,
        /// The pattern.
        pattern: String,
        /// Top-level modules that exist.
        suggestions: Vec<String>,
    },
    /// The loss or a gradient is not a number.
    #[error(
        "step {step}: {what} is {value}; training stopped before the update. The batch was saved to {file}; \
         `deem train --replay {file}` (and what else the run was started with) computes it again and says which term \
         it is. Resume from the last checkpoint with a lower learning rate, or mend the data",
        file = saved.display()
    )]
    NotFinite {
        /// Optimizer step, from 0.
        step: u64,
        /// Which quantity.
        what: String,
        /// Its value.
        value: f64,
        /// The description of the offending batch; its arrays lie beside it.
        saved: PathBuf,
    },
    /// Stopped by the user after saving a checkpoint.
    #[error("interrupted at step {step}; a checkpoint was saved, the same command resumes")]
    Interrupted {
        /// Steps finished.
        step: u64,
    },
    /// Stopped by the user between two questions; what was answered is saved.
    #[error("interrupted; what was answered is saved, the same command resumes")]
    Stopped,
    /// Stopped by the user between two denoising steps.
    #[error("interrupted; nothing was drawn")]
    NotDrawn,
    /// A run directory that belongs to something else.
    #[error(
        "{}: this run directory was made by another configuration:\n{}choose another --output, or delete it to \
         start over",
        path.display(), listed(differences)
    )]
    OtherRun {
        /// The directory.
        path: PathBuf,
        /// Every field that differs.
        differences: Vec<Difference>,
    },
    /// A folder that another process is writing into.
    #[error(
        "{}: in use by {}; wait until it is done, or choose another --output",
        path.display(),
        holder.map_or("another process".to_owned(), |id| format!("process {id}"))
    )]
    Locked {
        /// The folder.
        path: PathBuf,
        /// The other process, where it could be read.
        holder: Option<u32>,
    },
    /// Answers that belong to another model, to other questions, or were asked for in another way.
    #[error(
        "{}: holds the answers of another evaluation: {}; choose another --output, or delete it to start over",
        path.display(), differences.join("; ")
    )]
    OtherAnswers {
        /// The directory.
        path: PathBuf,
        /// What differs, each with both values.
        differences: Vec<String>,
    },
    /// Two runs that did not answer the same questions.
    #[error(
        "{run} and {control} did not answer the same questions: {}; evaluate both on the same files with the same --limit",
        differences.join("; ")
    )]
    OtherQuestions {
        /// The run that is judged.
        run: String,
        /// The run that it is judged by.
        control: String,
        /// What differs.
        differences: Vec<String>,
    },
    /// A benchmark that the registry does not have.
    #[error("no benchmark {name:?}; there are {}", known.join(", "))]
    UnknownBenchmark {
        /// The name asked for.
        name: String,
        /// Names that are known.
        known: Vec<String>,
    },
    /// Processes that train together can no longer do so.
    #[error(transparent)]
    Processes(#[from] CollectiveError),
    /// A file that cannot be read or written.
    #[error("{}: {cause}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        cause: std::io::Error,
    },
    /// A file whose content is not what this program writes.
    #[error("{}: {problem}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do.
        problem: String,
    },
    /// Pictures of a set that is compared with another one.
    #[error(
        "{}: {count} of {total} pictures cannot be read, the first: {first}; a distance over the others alone would not be \
         comparable: mend or remove them",
        folder.display()
    )]
    UnreadablePictures {
        /// Where they lie.
        folder: PathBuf,
        /// How many cannot be read.
        count: usize,
        /// How many there are.
        total: usize,
        /// What is wrong with one of them.
        first: String,
    },
    /// Predictions that cannot be scored.
    #[error(transparent)]
    Metrics(#[from] deem_metrics::MetricsError),
    /// Bad weights.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// Bad data.
    #[error(transparent)]
    Data(#[from] DataError),
}

impl EngineError {
    /// Whether the user stopped it: everything finished is kept.
    pub fn is_interruption(&self) -> bool {
        matches!(
            self,
            Self::Interrupted { .. }
                | Self::Stopped
                | Self::NotDrawn
                | Self::Data(DataError::Interrupted)
        )
    }

    /// Attaches a path to an operating-system error.
    pub fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |cause| Self::Io { path, cause }
    }
}

fn listed(differences: &[Difference]) -> String {
    let lines = differences.iter();
    lines
        .map(|difference| format!("  {difference}\n"))
        .collect()
}
