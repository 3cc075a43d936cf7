//! Files from which another implementation repeats a measurement: weights, inputs and results.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use burn::tensor::Tensor;
use deem_model::deem::Deem;
use deem_model::weights::{self, Dtype, StateTensor};
use serde_json::Value;

/// A folder of such files.
pub struct Dump(PathBuf);

impl Dump {
    /// Makes the folder if it is not there; files in it are replaced.
    pub fn create(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        Ok(Self(folder.into()))
    }

    /// Writes all parameters of a model as `weights.safetensors`.
    pub fn weights(&self, model: &Deem) -> Result<()> {
        self.tensors("weights", &weights::state(model))
    }

    /// Writes tensors as `NAME.safetensors`.
    pub fn tensors(&self, name: &str, tensors: &[StateTensor]) -> Result<()> {
        let path = self.0.join(format!("{name}.safetensors"));
        Ok(weights::write(tensors, &path, Dtype::F32, HashMap::new())?)
    }

    /// Writes everything else as `NAME.json`.
    pub fn json(&self, name: &str, value: &Value) -> Result<()> {
        let path = self.0.join(format!("{name}.json"));
        fs::write(&path, value.to_string()).with_context(|| path.display().to_string())
    }
}

/// A named tensor on the host.
pub fn tensor<const D: usize>(name: &str, tensor: Tensor<D>) -> StateTensor {
    StateTensor {
        name: name.into(),
        shape: tensor.dims().to_vec(),
        values: tensor.into_data().iter::<f32>().collect(),
    }
}
