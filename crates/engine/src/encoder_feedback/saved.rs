//! The corrected encoder in the layout in which it came: the same files, keys and types, other numbers.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use deem_model::weights::{LazyTensor, WeightsFile, find, read_tensors, write_stream};

use crate::EngineError;
use crate::foundation::SMALL;

/// Folder of a run with the corrected encoder.
pub const ENCODER: &str = "encoder";

/// The encoder that a folder means: the corrected one of a run, else what lies there itself.
pub fn encoder_at(folder: &Path) -> PathBuf {
    let corrected = folder.join(ENCODER);
    if corrected.join("config.json").is_file() {
        corrected
    } else {
        folder.to_owned()
    }
}

/// Writes an encoder that loads wherever the original does, with the image tower that was trained. The folder appears
/// whole or not at all.
///
/// - `original`: folder of the encoder that was corrected
/// - `trained`: weights of a run, under the paths of a [`FeedbackModel`](deem_model::encoder_feedback::FeedbackModel)
/// - `target`: a new folder, or one of an earlier call
///
/// # Errors
/// `Io` and `Weights` naming a file; `File` for a trained tensor that the original has not.
pub fn save_encoder(original: &Path, trained: &Path, target: &Path) -> Result<(), EngineError> {
    let (source, trained) = (
        WeightsFile::open(&find(original)?)?,
        WeightsFile::open(trained)?,
    );
    let own = |key: &str| match key {
        "visual_projection.weight" => format!("vision_model.{key}"),
        other => other.to_owned(),
    };
    for key in trained
        .keys()
        .filter(|key| key.starts_with("vision_model."))
    {
        let public = key.replacen("vision_model.visual_projection", "visual_projection", 1);
        if source.shape(&public) != trained.shape(key) {
            return Err(EngineError::File {
                path: trained.path().into(),
                problem: format!(
                    "{key}: expected the shape that {} has in {}, {:?}, found {:?}",
                    public,
                    source.path().display(),
                    source.shape(&public),
                    trained.shape(key)
                ),
            });
        }
    }
    let sources = [source];
    let mut tensors: Vec<LazyTensor> = read_tensors(&[], &sources);
    for tensor in &mut tensors {
        let key = own(&tensor.name);
        let changed = key.starts_with("vision_model.") && trained.shape(&key).is_some();
        if let (true, Some(dtype)) = (changed, trained.dtype(&key)) {
            let trained = &trained;
            tensor.dtype = dtype;
            tensor.read = Box::new(move || trained.bytes(&key).unwrap_or_default());
        }
    }
    let part = target.with_extension("part");
    if part.exists() {
        fs::remove_dir_all(&part).map_err(EngineError::io(&part))?;
    }
    fs::create_dir_all(&part).map_err(EngineError::io(&part))?;
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    write_stream(&mut tensors, &part.join("model.safetensors"), &metadata)?;
    for name in SMALL {
        let from = original.join(name);
        if from.is_file() {
            fs::copy(&from, part.join(name)).map_err(EngineError::io(&from))?;
        }
    }
    if target.exists() {
        fs::remove_dir_all(target).map_err(EngineError::io(target))?;
    }
    fs::rename(&part, target).map_err(EngineError::io(target))
}
