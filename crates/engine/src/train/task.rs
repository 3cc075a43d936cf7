//! What the training loop asks of what it trains, and of who watches.

use burn::module::Module;
use burn::tensor::Tensor;

use super::batch_file::HostBatch;
use super::parameters::ParameterInfo;
use crate::EngineError;

/// What is learned: data and loss, both functions of the micro-batch index alone.
pub trait Task: Sync {
    /// The network.
    type Model: Module;
    /// Host data of one micro-batch.
    type Batch: HostBatch;

    /// Called once, when it is known what of the model is trained.
    fn prepare(&self, model: Self::Model) -> Self::Model {
        model
    }

    /// Makes a micro-batch; called ahead of time on other threads.
    ///
    /// # Errors
    /// Whatever makes the data unusable.
    fn batch(&self, index: u64) -> Result<Self::Batch, EngineError>;

    /// Samples that could not be read when micro-batch `index` was made and were replaced, for tasks that count
    /// them.
    fn skipped(&self, index: u64) -> Option<u64> {
        let _ = index;
        None
    }

    /// A micro-batch in words, row by row, for the file of a batch that breaks the training.
    fn texts(&self, batch: &Self::Batch) -> Vec<String> {
        let _ = batch;
        Vec::new()
    }

    /// The loss of a micro-batch.
    fn loss(&self, model: &Self::Model, batch: &Self::Batch, index: u64) -> Loss;

    /// Extra figures that are too dear for every step (gradient ratios), asked for every
    /// [`TrainConfig::probe_every`](super::TrainConfig::probe_every) steps.
    fn probe(&self, model: &Self::Model, batch: &Self::Batch, index: u64) -> Vec<(String, f64)> {
        let _ = (model, batch, index);
        Vec::new()
    }
}

/// A loss and what it is made of.
pub struct Loss {
    /// Weighted sum to minimise, `[1]`.
    pub total: Tensor<1>,
    /// Unweighted terms by name, for the log.
    pub terms: Vec<(&'static str, Tensor<1>)>,
}

impl Loss {
    /// Total and terms as numbers, under the names that they have in the log.
    pub(super) fn figures(&self) -> Vec<(String, f64)> {
        let total = ("loss".to_owned(), host(&self.total));
        let terms = self.terms.iter();
        let terms = terms.map(|(name, term)| (format!("loss/{name}"), host(term)));
        [total].into_iter().chain(terms).collect()
    }
}

fn host(scalar: &Tensor<1>) -> f64 {
    scalar
        .to_data()
        .iter::<f64>()
        .next()
        .expect("a loss has one element")
}

/// Figures of one finished step.
#[derive(Clone, Debug)]
pub struct StepReport {
    /// Steps finished so far.
    pub step: u64,
    /// Steps in all.
    pub steps: u64,
    /// Loss, terms, learning-rate factor, gradient norm, seconds, probes.
    pub scalars: Vec<(String, f64)>,
}

/// Watches a run and may stop it.
pub trait Observer {
    /// The run starts (or resumes) at `step` with these parameters.
    fn on_start(&mut self, step: u64, steps: u64, parameters: &[ParameterInfo]) {
        let _ = (step, steps, parameters);
    }

    /// A step is finished.
    fn on_step(&mut self, report: &StepReport) {
        let _ = report;
    }

    /// Whether to save a checkpoint and stop now.
    fn interrupted(&self) -> bool {
        false
    }
}

/// An observer that does nothing.
pub struct Silent;

impl Observer for Silent {}
