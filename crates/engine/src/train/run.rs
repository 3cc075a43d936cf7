//! A run directory: what is trained there, what lies there already, and what goes into its checkpoints.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::module::Module;
use burn::tensor::Tensor;
use deem_collective::{Alone, Collective};
use deem_model::weights::{Dtype, LazyTensor, WeightsFile, find};

use super::checkpoint::{Checkpoint, Saved};
use super::frozen::FrozenShards;
use super::identity::RunIdentity;
use super::parameters;
use super::store::RunStore;
use crate::EngineError;

/// What is trained, and where.
#[derive(Clone, Debug)]
pub struct Run {
    /// Everything that shapes the result.
    pub identity: RunIdentity,
    /// Directory of checkpoints and logs.
    pub folder: PathBuf,
    /// Weights that the model has been given and that earlier stages trained. What this run does not train of them
    /// goes into its checkpoints as it is; of several files the last one that has a parameter counts.
    pub carried: Vec<PathBuf>,
    /// Configuration as TOML, kept as `config.toml`.
    pub config: Option<String>,
    /// Who trains it together; they share the directory.
    pub processes: Arc<dyn Collective>,
    /// Floating-point operations a second that the device of each process can do at most, if that is known.
    pub peak_flops: Option<f64>,
    /// Frozen weights that the processes share, if they do.
    pub frozen: Option<FrozenShards>,
    /// Where its checkpoints go beside its directory, which each process then has for itself, and which holds what was
    /// there when it began.
    pub store: Option<RunStore>,
}

impl Run {
    /// A run that builds on no earlier one.
    pub fn new(identity: RunIdentity, folder: &Path) -> Self {
        Self {
            identity,
            folder: folder.into(),
            carried: Vec::new(),
            config: None,
            processes: Arc::new(Alone),
            peak_flops: None,
            frozen: None,
            store: None,
        }
    }

    /// The checkpoint in its directory.
    pub fn checkpoint(&self) -> Checkpoint {
        let checkpoint = Checkpoint::of(&self.folder).keep(self.identity.train.keep);
        checkpoint.in_store(self.store.clone())
    }

    /// The newest checkpoint, which must be this run's.
    ///
    /// # Errors
    /// `OtherRun` naming every field that differs; those of [`Checkpoint::read`].
    pub(super) fn saved(&self) -> Result<Option<Saved>, EngineError> {
        let Some(saved) = self.checkpoint().read()? else {
            return Ok(None);
        };
        let (there, step) = (&saved.state.identity, saved.state.step);
        let differences = self.identity.differences(there, step);
        if differences.is_empty() {
            return Ok(Some(saved));
        }
        Err(EngineError::OtherRun {
            path: self.folder.clone(),
            differences,
        })
    }

    /// Whether all frozen weights that were asked for came.
    ///
    /// # Errors
    /// `Processes` if another process gave up.
    pub(super) fn gathered(&self) -> Result<(), EngineError> {
        Ok(self.frozen.as_ref().map_or(Ok(()), FrozenShards::check)?)
    }

    /// Writes `run.json` and `config.toml` as they are now.
    pub(super) fn describe(&self) -> Result<(), EngineError> {
        let identity = serde_json::to_string_pretty(&self.identity).expect("plain data");
        let files = [
            ("run.json", Some(&identity)),
            ("config.toml", self.config.as_ref()),
        ];
        for (name, text) in files {
            let path = self.folder.join(name);
            if let Some(text) = text {
                fs::write(&path, text).map_err(EngineError::io(&path))?;
            }
        }
        Ok(())
    }

    /// Opens what earlier stages trained.
    pub(super) fn carried(&self) -> Result<Carried, EngineError> {
        let files = self.carried.iter();
        let files = files.map(|path| Ok(Arc::new(WeightsFile::open(&find(path)?)?)));
        Ok(Carried(files.collect::<Result<_, EngineError>>()?))
    }
}

/// The weights of a run that has nothing left to train; nothing if there is.
///
/// # Errors
/// `OtherRun` naming every field in which the run directory differs; those of [`Checkpoint::read`].
pub fn finished(run: &Run) -> Result<Option<PathBuf>, EngineError> {
    let steps = run.identity.train.schedule.steps;
    let saved = run.saved()?.filter(|saved| saved.state.step >= steps);
    Ok(saved.map(|saved| saved.model.path().to_owned()))
}

/// Files with what earlier stages trained.
pub(super) struct Carried(Vec<Arc<WeightsFile>>);

impl Carried {
    /// What a checkpoint holds of a model beside what is being trained (`tensors`): what only earlier stages trained, in
    /// the type in which it was stored, as file and key.
    pub fn beside<M: Module>(
        &self,
        tensors: &[LazyTensor],
        model: &M,
    ) -> Vec<(Arc<WeightsFile>, String)> {
        let paths = parameters::list(model).into_iter();
        let mut left: BTreeSet<String> = paths.map(|(path, ..)| path).collect();
        for tensor in tensors {
            left.remove(&tensor.name);
        }
        let mut found = Vec::new();
        for file in self.0.iter().rev() {
            let keys = file.keys().filter(|key| left.remove(*key));
            found.extend(keys.map(|key| (file.clone(), key.to_owned())));
        }
        found
    }
}

/// A tensor whose values leave the device when they are written, as 32-bit floats.
pub(super) fn lazy<const D: usize>(name: String, tensor: Tensor<D>) -> LazyTensor<'static> {
    LazyTensor {
        name,
        dtype: Dtype::F32,
        shape: tensor.dims().to_vec(),
        read: Box::new(move || {
            let values = tensor.to_data().convert::<f32>();
            let values = values.try_into_vec::<f32>().expect("converted to f32");
            values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect()
        }),
    }
}
