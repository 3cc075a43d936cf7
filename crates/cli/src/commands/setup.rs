//! What the options of all commands say.

use std::path::PathBuf;

use anyhow::Result;
use deem_engine::{Compute, Precision};
use deem_experiment::standins::StandIns;

/// Which stand-ins to use, and where to compute.
pub struct Setup {
    /// Folder of the stand-ins, if not the shipped ones.
    pub folder: Option<PathBuf>,
    /// Overrides of the preset.
    pub overrides: Vec<String>,
    /// Name of the device.
    pub device: String,
    /// Float type of activations; default: what the device is made for.
    pub precision: Option<Precision>,
}

impl Setup {
    /// The same stand-ins as they are: where overrides concern another file.
    pub fn without_overrides(&self) -> Self {
        Self {
            folder: self.folder.clone(),
            overrides: Vec::new(),
            device: self.device.clone(),
            precision: self.precision,
        }
    }

    /// Opens the stand-ins.
    pub fn open(&self) -> Result<StandIns> {
        let folder = self
            .folder
            .clone()
            .unwrap_or_else(|| StandIns::builtin("tiny"));
        Ok(StandIns::open(&folder, &self.overrides)?)
    }

    /// Looks for the device.
    pub fn compute(&self) -> Result<Compute> {
        Ok(Compute::named(&self.device, self.precision)?)
    }
}
