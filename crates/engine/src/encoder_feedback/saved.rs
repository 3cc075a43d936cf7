//! The corrected encoder in the layout in which it came: the same files, keys and types, other numbers.

use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use deem_model::weights::{LoadOptions, WeightsFile, load};

use crate::EngineError;
use crate::dual_encoder::EncoderFolder;

/// Folder of a run with the corrected encoder.
pub const ENCODER: &str = "encoder";

/// The encoder that a folder means: the corrected one of a run, else what lies there itself.
pub fn encoder_at(folder: &Path) -> PathBuf {
    let corrected = folder.join(ENCODER);
    let configs = ["config.json", "open_clip_config.json"];
    if configs.iter().any(|name| corrected.join(name).is_file()) {
        corrected
    } else {
        folder.to_owned()
    }
}

/// What a run's weights hold besides the image tower.
const OTHERS: [&str; 4] = ["projection.", "null_condition", "unet.", "autoencoder."];

/// Writes an encoder that loads wherever the original does, with the image tower that was trained: the same files, keys
/// and types. The folder appears whole or not at all.
///
/// - `original`: folder of the encoder that was corrected
/// - `trained`: weights of a run, under the paths of a [`FeedbackModel`](deem_model::encoder_feedback::FeedbackModel)
/// - `target`: a new folder, or one of an earlier call
///
/// # Errors
/// `Io` and `Weights` naming a file, also for a trained tensor that the original has not.
pub fn save_encoder(original: &Path, trained: &Path, target: &Path) -> Result<(), EngineError> {
    let folder = EncoderFolder::read(original)?;
    // A ConvNeXt has open_clip's own name in a whole encoder.
    let own = |path: &str| match path.strip_prefix("visual.") {
        Some(rest) => format!("vision_model.{rest}"),
        None => path.to_owned(),
    };
    let options = LoadOptions {
        rename: Some(&own),
        allow_missing: &[""],
        allow_unused: &OTHERS,
        ..LoadOptions::default()
    };
    let towers = folder.load(&Device::flex())?;
    let towers = load(towers, &WeightsFile::open(trained)?, &options)?;
    let part = target.with_extension("part");
    if part.exists() {
        fs::remove_dir_all(&part).map_err(EngineError::io(&part))?;
    }
    folder.save(&towers, &part)?;
    if target.exists() {
        fs::remove_dir_all(target).map_err(EngineError::io(target))?;
    }
    fs::rename(&part, target).map_err(EngineError::io(target))
}
