//! The image tower of a published checkpoint, alone or beside a text tower.

use std::path::Path;

use burn::tensor::Device;
use deem_model::clip::config::{ClipVisionConfig, Family};
use deem_model::clip::dual::DualLayout;
use deem_model::clip::pyramid::{VisionConfig, VisionTower};
use deem_model::clip::vit::ClipVit;
use deem_model::weights::{LoadOptions, Place, WeightsError, WeightsFile, check_placed, load};

use super::config_file::check_vision;
use super::open;
use crate::EngineError;

/// What stands beside the tower in the file of a whole encoder.
const BESIDE: [&str; 9] = [
    "text",
    "transformer.",
    "token_embedding.",
    "positional_embedding",
    "ln_final.",
    "logit_scale",
    "logit_bias",
    "attn_mask",
    "*.position_ids",
];
const PROJECTION: &str = "visual_projection.weight";

/// A tower with the weights of a folder or file.
///
/// # Errors
/// `File` if a `config.json` there differs from the configuration; `Weights` naming keys that do not fit.
pub(super) fn fill(
    tower: VisionTower,
    place: &Path,
    config: &VisionConfig,
) -> Result<VisionTower, EngineError> {
    check_vision(place, config)?;
    let file = open(place)?;
    let bare = is_bare(&file);
    let rename = |path: &str| key(path, bare);
    let surplus = match config {
        VisionConfig::ConvNext { projection_dim, .. } => {
            projection_dim.is_none().then_some("visual.head.")
        }
        VisionConfig::Vit { projection, .. } => (!projection).then_some(PROJECTION),
    };
    let unused: Vec<&str> = BESIDE.into_iter().chain(surplus).collect();
    let options = LoadOptions {
        rename: Some(&rename),
        allow_missing: &["adapter"],
        allow_unused: &unused,
        ..LoadOptions::default()
    };
    Ok(load(tower, &file, &options)?)
}

/// Says everything of a file that does not fit a tower of CLIP or SigLIP, with the projection if the file has one;
/// none of it is read.
///
/// # Errors
/// `Mismatch` naming the keys.
pub fn check_tower(config: &ClipVisionConfig, file: WeightsFile) -> Result<(), WeightsError> {
    let device = Device::flex();
    let mut tower = ClipVit::new(config, &device);
    if config.family == Family::Clip && file.shape(PROJECTION).is_some() {
        tower = tower.with_projection(config, &device);
    }
    let layout = DualLayout::Transformers(config.family);
    let bare = is_bare(&file);
    let place = |path: &str| {
        let place = layout.place(&format!("vision_model.{path}"));
        Place {
            key: key(&place.key, bare),
            ..place
        }
    };
    check_placed(&tower, file, &place, &BESIDE)
}

/// Whether the tower's keys begin with nothing of its own.
fn is_bare(file: &WeightsFile) -> bool {
    !file.keys().any(|key| key.starts_with("vision_model."))
}

/// Where a parameter of a tower lies in a file.
fn key(path: &str, bare: bool) -> String {
    match path.strip_prefix("vision_model.") {
        Some(PROJECTION) => PROJECTION.into(),
        Some(own) if bare => own.into(),
        _ => path.into(),
    }
}
