//! Computes a batch again that broke the training.

use std::path::Path;

use super::batch_file::BatchFile;
use super::run::Run;
use super::shares::Shares;
use super::task::Task;
use super::trainer::Training;
use crate::EngineError;

/// What a batch gave when it was computed again.
#[derive(Clone, Debug, PartialEq)]
pub struct Replayed {
    /// Steps that the weights had been trained: those of the newest checkpoint.
    pub step: u64,
    /// The file that was replayed.
    pub file: BatchFile,
    /// Loss, its unweighted terms and the gradient's norm, by name.
    pub figures: Vec<(String, f64)>,
    /// Parameters whose gradient is not finite.
    pub broken_gradients: Vec<String>,
}

/// Computes loss and gradient of a batch that the trainer kept when one of them was not finite: with the weights of
/// the run's newest checkpoint (else those of `model`) and the noise that the batch had. Nothing is written.
///
/// # Errors
/// `Config` if the file belongs to another task or seed, `OtherRun` for a directory of another identity, `Io`,
/// `File` and `Weights` naming a file.
pub fn replay<T: Task>(
    task: &T,
    model: T::Model,
    run: &Run,
    path: &Path,
) -> Result<Replayed, EngineError> {
    let (file, batch) = BatchFile::read::<T::Batch>(path)?;
    let identity = &run.identity;
    if (&file.task, file.seed) != (&identity.task, identity.seed) {
        return Err(EngineError::Config(format!(
            "{}: expected a batch of {:?} with seed {}, found one of {:?} with seed {}",
            path.display(),
            identity.task,
            identity.seed,
            file.task,
            file.seed
        )));
    }
    let (training, parameters) = Training::start(task, model, run)?;
    let _dropping = training.adapters.during(&file.piece);
    let loss = task.loss(&training.model, &batch, &file.piece, &Shares::whole());
    let mut figures = loss.figures();
    let gradients = loss.gradients(&training.model);
    figures.push(("gradient_norm".into(), gradients.norm(|_| true)));
    let broken = parameters
        .into_iter()
        .map(|parameter| parameter.path)
        .filter(|path| !gradients.norm(|other| other == path).is_finite());
    Ok(Replayed {
        step: training.step,
        figures,
        broken_gradients: broken.collect(),
        file,
    })
}
