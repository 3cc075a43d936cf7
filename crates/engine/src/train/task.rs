//! What the training loop asks of what it trains, and of who watches.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde_json::Value;

use super::batch_file::HostBatch;
use super::cut::{Before, Cut};
use super::optimizer::GradientSet;
use super::parameters::ParameterInfo;
use super::piece::Piece;
use super::shares::{Counts, Shares};
use crate::EngineError;
use crate::flops::{Load, Operations};

/// What is learned: data and loss, both functions of the number of a micro-batch and its rows alone.
pub trait Task: Sync {
    /// The network.
    type Model: Module;
    /// Host data of one micro-batch.
    type Batch: HostBatch;

    /// Called once, when it is known what of the model is trained.
    fn prepare(&self, model: Self::Model) -> Self::Model {
        model
    }

    /// Rows of a micro-batch, which several processes may share; 1 for what cannot be cut.
    fn rows(&self) -> usize {
        1
    }

    /// Makes rows of a micro-batch; called ahead of time on other threads.
    ///
    /// # Errors
    /// Whatever makes the data unusable.
    fn batch(&self, piece: &Piece) -> Result<Self::Batch, EngineError>;

    /// Samples that could not be read when a piece was made and were replaced, for tasks that count them.
    fn skipped(&self, piece: &Piece) -> Option<u64> {
        let _ = piece;
        None
    }

    /// A batch in words, row by row, for the file of a batch that breaks the training.
    fn texts(&self, batch: &Self::Batch) -> Vec<String> {
        let _ = batch;
        Vec::new()
    }

    /// How many values the terms of a batch's loss average over; terms that it does not name weigh the same in every
    /// batch of a step.
    fn counts(&self, model: &Self::Model, batch: &Self::Batch) -> Counts {
        let _ = (model, batch);
        Counts::default()
    }

    /// The loss of a batch, which is the given share of a step's.
    fn loss(
        &self,
        model: &Self::Model,
        batch: &Self::Batch,
        piece: &Piece,
        shares: &Shares,
    ) -> Loss;

    /// Whether a parameter lies before the loss's [`Cut`], and has all of its gradient from there.
    fn before_cut(&self, path: &str) -> bool {
        let _ = path;
        false
    }

    /// The name that a linear layer has in the published model, for adapters that are written as PEFT does.
    fn published_layer(&self, path: &str) -> String {
        path.to_owned()
    }

    /// What networks compute on in a batch, for the log.
    fn load(&self, batch: &Self::Batch) -> Load {
        let _ = batch;
        Load::default()
    }

    /// Floating-point operations of a step, if they are known: of a network with the configuration of the run's identity, of
    /// which these parameters are trained.
    fn operations(&self, model: &Value, parameters: &[ParameterInfo]) -> Option<Operations> {
        let _ = (model, parameters);
        None
    }

    /// Extra figures that are too dear for every step (gradient ratios), asked for every
    /// [`TrainConfig::probe_every`](super::TrainConfig::probe_every) steps.
    fn probe(&self, model: &Self::Model, batch: &Self::Batch, piece: &Piece) -> Vec<(String, f64)> {
        let _ = (model, batch, piece);
        Vec::new()
    }
}

/// A batch's part of a step's loss, and what it is made of.
pub struct Loss {
    /// Weighted sum to minimise, `[1]`.
    pub total: Tensor<1>,
    /// Terms without weights by name, and their shares of the step's.
    terms: Vec<(&'static str, f64, Tensor<1>)>,
    /// Where its backward pass pauses.
    cut: Cut,
}

impl Loss {
    /// The sum of terms (name, weight, `[1]`), each as its share of the step's; zero without terms.
    pub fn sum(
        terms: impl IntoIterator<Item = (&'static str, f64, Tensor<1>)>,
        shares: &Shares,
        device: &Device,
    ) -> Self {
        let terms: Vec<_> = terms.into_iter().collect();
        let weighted = terms.iter().map(|(name, weight, term)| {
            let factor = weight * shares.of(name);
            if factor == 1.0 {
                term.clone()
            } else {
                term.clone().mul_scalar(factor)
            }
        });
        let total = weighted.reduce(|a, b| a + b);
        let shared = |(name, _, term)| (name, shares.of(name), term);
        Self {
            total: total.unwrap_or_else(|| Tensor::zeros([1], device)),
            terms: terms.into_iter().map(shared).collect(),
            cut: Cut::default(),
        }
    }

    /// The same loss, computed from what lies on a cut.
    #[must_use]
    pub fn with_cut(self, cut: Cut) -> Self {
        Self { cut, ..self }
    }

    /// Its gradients by a model's trained parameters.
    pub fn gradients<M: Module>(self, model: &M) -> GradientSet {
        let Some((mut gradients, before)) = self.behind_cut(model) else {
            return GradientSet::default();
        };
        gradients.add(before.gradients(model));
        gradients
    }

    /// Its gradients as far as they come from behind the cut, and what gives the rest; `None` if no gradient leads from
    /// it to anything.
    pub(super) fn behind_cut<M: Module>(self, model: &M) -> Option<(GradientSet, Before)> {
        if !self.total.is_tracked() {
            return None;
        }
        let gradients = self.total.backward();
        let set = GradientSet::collect(model, &gradients);
        Some((set, self.cut.before(&gradients)))
    }

    /// The terms without weights, as means over their batch, by name.
    pub fn terms(&self) -> impl Iterator<Item = (&'static str, &Tensor<1>)> {
        self.terms.iter().map(|(name, _, term)| (*name, term))
    }

    /// Total and terms as numbers, under the names that they have in the log: those of all batches of a step add up
    /// to the step's.
    pub(super) fn figures(&self) -> Vec<(String, f64)> {
        let total = ("loss".to_owned(), host(&self.total));
        let terms = self.terms.iter();
        let terms = terms.map(|(name, share, term)| (format!("loss/{name}"), share * host(term)));
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
