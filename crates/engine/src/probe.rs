//! One network alone, on given tensors: anybody can compare it with the public class it follows.
//!
//! Configuration and weights are those of the public class; inputs and outputs are safetensors files.
//! With gradients, `grad.NAME` is the gradient of ½ · mean(first output²) for each float input.

mod components;
mod fields;
mod networks;
mod own;
mod schedules;
mod tensors;

use std::collections::HashMap;
use std::fmt::Display;
use std::path::Path;

use burn::module::Module;
use burn::tensor::Tensor;
use deem_model::clip::dual::DualLayout;
use deem_model::weights::{self, Place, WeightsFile, load_placed};
use safetensors::Dtype;

use crate::{Compute, EngineError, Precision};
pub use components::Network;
use tensors::Tensors;

/// What is probed.
pub struct Probe<'a> {
    /// The network.
    pub component: Network,
    /// JSON configuration of its public class.
    pub config: &'a Path,
    /// Its weights, for components that have any.
    pub weights: Option<&'a Path>,
    /// Its inputs, by name.
    pub inputs: &'a Path,
    /// Whether to compute gradients.
    pub gradients: bool,
    /// Where to compute, and in which float type.
    pub compute: Compute,
}

impl Probe<'_> {
    /// Runs the network and writes its outputs.
    ///
    /// # Errors
    /// `File` or `Weights` naming what does not fit: configuration fields, weight keys, inputs that are
    /// missing, unknown or of another shape.
    pub fn run(&self, outputs: &Path) -> Result<(), EngineError> {
        let device = self.compute.device.clone();
        let device = if self.gradients {
            device.autodiff()
        } else {
            device
        };
        // The whole model is told what to compute in; layers follow their inputs.
        let precision = match self.component {
            Network::Deem => Precision::F32,
            _ => self.compute.precision,
        };
        let mut tensors = Tensors::open(self.inputs, self.gradients, &device, precision)?;
        components::run(self, &mut tensors)?;
        let found = tensors.finish();
        Ok(weights::write(&found, outputs, Dtype::F32, HashMap::new())?)
    }

    /// The result, or what is wrong with the configuration.
    fn fits<T, E: Display>(&self, checked: Result<T, E>) -> Result<T, EngineError> {
        checked.map_err(|error| self.unfit(error))
    }

    /// An error about the configuration.
    fn unfit(&self, problem: impl Display) -> EngineError {
        EngineError::File {
            path: self.config.into(),
            problem: problem.to_string(),
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

/// How a public checkpoint's keys differ from a module's paths.
#[derive(Default)]
struct Keys<'a> {
    /// Published with and without this prefix.
    prefix: &'a str,
    /// Endings of keys that are no parameters of the network: buffers, heads.
    buffers: &'a [&'a str],
    /// What else a file with the prefix holds: beginnings of keys.
    beside: &'a [&'a str],
    /// Where the parameters of a tower of two lie, by their paths with the prefix.
    layout: Option<DualLayout>,
}

/// Fills a module from the probe's weights.
fn filled<M: Module>(probe: &Probe, module: M, keys: &Keys) -> Result<M, EngineError> {
    let file = probe.weights()?;
    let prefix = keys.prefix;
    let prefixed = !prefix.is_empty() && file.keys().any(|key| key.starts_with(prefix));
    let place = |path: &str| match keys.layout {
        Some(layout) => {
            let place = layout.place(&format!("{prefix}{path}"));
            let bare = place
                .key
                .strip_prefix(prefix)
                .filter(|_| !prefixed)
                .map(str::to_owned);
            Place {
                key: bare.unwrap_or(place.key),
                ..place
            }
        }
        None if prefixed => Place::whole(format!("{prefix}{path}")),
        None => Place::whole(path.to_owned()),
    };
    let is_buffer = |key: &&str| keys.buffers.iter().any(|ending| key.ends_with(ending));
    let mut unused: Vec<String> = file.keys().filter(is_buffer).map(str::to_owned).collect();
    if prefixed {
        unused.extend(keys.beside.iter().map(|key| (*key).to_owned()));
    }
    let unused: Vec<&str> = unused.iter().map(String::as_str).collect();
    Ok(load_placed(module, file, &place, &unused)?)
}

fn channels_first(x: Tensor<4>) -> Tensor<4> {
    x.permute([0, 3, 1, 2])
}

fn channels_last(x: Tensor<4>) -> Tensor<4> {
    x.permute([0, 2, 3, 1])
}
