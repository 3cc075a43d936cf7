//! One network alone, on given tensors: anybody can compare it with the public class it follows.
//!
//! Configuration and weights are those of the public class; inputs and outputs are safetensors files.
//! With gradients, `grad.NAME` is the gradient of ½ · mean(first output²) for each float input.

mod components;
mod tensors;

use std::path::Path;

use burn::tensor::Device;
use deem_model::weights::{self, WeightsFile};
use safetensors::Dtype;
use serde::de::DeserializeOwned;

use crate::EngineError;
pub use components::Component;
use tensors::Tensors;

/// What is probed.
pub struct Probe<'a> {
    /// The network.
    pub component: Component,
    /// JSON configuration of its public class.
    pub config: &'a Path,
    /// Its weights, for components that have any.
    pub weights: Option<&'a Path>,
    /// Its inputs, by name.
    pub inputs: &'a Path,
    /// Whether to compute gradients.
    pub gradients: bool,
}

impl Probe<'_> {
    /// Runs the network and writes its outputs.
    ///
    /// # Errors
    /// `File` or `Weights` naming what does not fit: configuration fields, weight keys, inputs that are
    /// missing, unknown or of another shape.
    pub fn run(&self, outputs: &Path) -> Result<(), EngineError> {
        let device = Device::flex();
        let device = if self.gradients {
            device.autodiff()
        } else {
            device
        };
        let mut tensors = Tensors::open(self.inputs, self.gradients, &device)?;
        components::run(self, &mut tensors, &device)?;
        let found = tensors.finish()?;
        Ok(weights::write(
            &found,
            outputs,
            Dtype::F32,
            std::collections::HashMap::new(),
        )?)
    }

    /// The configuration's text; diffusers writes `-Infinity`, which is not JSON.
    fn text(&self) -> Result<String, EngineError> {
        let text = std::fs::read_to_string(self.config).map_err(EngineError::io(self.config))?;
        Ok(text.replace("-Infinity", "null"))
    }

    /// The configuration as the class `T` reads it.
    fn config<T: DeserializeOwned>(&self) -> Result<T, EngineError> {
        serde_json::from_str(&self.text()?).map_err(|error| self.unfit(error.to_string()))
    }

    /// An error about the configuration.
    fn unfit(&self, problem: impl Into<String>) -> EngineError {
        EngineError::File {
            path: self.config.into(),
            problem: problem.into(),
        }
    }

    fn weights(&self) -> Result<WeightsFile, EngineError> {
        let path = self.weights.ok_or_else(|| {
            EngineError::Config(format!(
                "{} has weights: name their file",
                self.component.name()
            ))
        })?;
        Ok(WeightsFile::open(path)?)
    }
}
