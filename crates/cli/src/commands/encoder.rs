//! Encoders of pictures and texts by name.

use std::path::Path;

use anyhow::{Result, bail};
use deem_engine::DualEncoder;
use deem_engine::encoder_feedback::encoder_at;
use deem_experiment::standins::StandIns;

use super::setup::Setup;

/// The stand-ins `clip` and `miner` of the preset, a published encoder in a folder, or that of a run that corrected one.
pub fn open(setup: &Setup, name: &str) -> Result<DualEncoder> {
    let device = setup.compute()?.device;
    let folder = Path::new(name);
    if folder.is_dir() {
        return Ok(DualEncoder::open(&encoder_at(folder), &device)?);
    }
    if StandIns::ENCODERS.contains(&name) {
        return Ok(setup.open()?.encoder(name, &device)?);
    }
    bail!(
        "--encoder {name}: neither a folder nor one of {}; give a CLIP or SigLIP in transformers' layout (config.json, \
         model.safetensors, tokenizer.json) or open_clip's (open_clip_config.json, open_clip_model.safetensors)",
        StandIns::ENCODERS.join(", ")
    )
}
