//! A whole model from published checkpoints, each in the layout in which it was published.
//!
//! | part | layout | read |
//! |---|---|---|
//! | image tower | open_clip (ConvNeXt), transformers `CLIPModel` or `CLIPVisionModel` (ViT) | weights, `config.json` (ViT) |
//! | language model | transformers `LlamaForCausalLM`, or GGUF | weights, `config.json` |
//! | diffusion model | diffusers folder | `unet`, `vae`, `scheduler/scheduler_config.json` |
//!
//! What no checkpoint provides is drawn from a seed. A `config.json` that says otherwise than the run's
//! configuration is an error: shapes alone do not show a wrong norm constant or rotary base.

mod checksums;
mod config_file;
mod files;
mod language;
mod vision;
mod words;

pub(crate) use checksums::parsed;
pub use checksums::{CHECKSUMS, listed, recorded};
pub use files::{
    DIFFUSION, DUAL_ENCODER, LLAMA, Needs, PICKLED, SMALL, TOKENIZER, TRAINED, VAE, VISION,
};
pub use language::{Language, published_files, tokenizer_at, tokenizer_file};
pub use vision::check_tower;

use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::tensor::Device;
use deem_model::autoencoder::{Autoencoder, AutoencoderConfig, has_legacy_keys, legacy_key};
use deem_model::component::DRAWING;
use deem_model::deem::{Deem, DeemConfig};
use deem_model::init;
use deem_model::scheduler::NoiseConfig;
use deem_model::unet::{UNet, UNetConfig};
use deem_model::weights::init::{Fill, initialize_rest};
use deem_model::weights::{self, LoadOptions, WeightsError, WeightsFile, find, load};

use self::checksums::open_checked;
use self::config_file::check;
pub(crate) use self::config_file::compare;
use crate::EngineError;

/// Where the parts of a model lie: folders, or weights files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foundation {
    /// Image tower.
    pub vision: PathBuf,
    /// Language model and tokenizer.
    pub language: Language,
    /// Diffusers folder (its autoencoder in `vae`, or in `autoencoder`); absent for a model that is not to draw.
    pub diffusion: Option<PathBuf>,
    /// Weights under deem's keys, which replace the others', and each other's, in this order.
    pub trained: Vec<PathBuf>,
}

impl Foundation {
    /// The model: everything loaded, the rest drawn from `seed`. Tensors are read one at a time. What a model
    /// that is not to draw does not need gets neither memory nor values.
    ///
    /// # Errors
    /// `Config` if the configuration is wrong or a `config.json` differs from it; `Weights` naming
    /// file and keys that do not fit.
    pub fn assemble(
        &self,
        config: &DeemConfig,
        seed: u64,
        device: &Device,
    ) -> Result<Deem, EngineError> {
        self.fill(empty(config, device)?, config, seed)
    }

    /// As [`Self::assemble`], into a model that has no values yet.
    ///
    /// # Errors
    /// As there.
    pub fn fill(
        &self,
        mut model: Deem,
        config: &DeemConfig,
        seed: u64,
    ) -> Result<Deem, EngineError> {
        let encoder = &config.image_encoder.vision;
        let tower = model.image_encoder.vision;
        model.image_encoder.vision = vision::fill(tower, &self.vision, encoder)?;

        model.llama = self.language.fill(model.llama, &config.llama)?;

        if let Some(folder) = &self.diffusion {
            model = diffusion(model, folder, config)?;
        }
        let skip = self.skipped();
        for path in &self.trained {
            model = replace_but(model, path, skip)?;
        }
        let rules = init::rules(config);
        let rules = rules
            .iter()
            .map(|(pattern, fill)| (pattern.as_str(), *fill));
        let packed = model.llama.packed_paths();
        let skipped = skip
            .iter()
            .copied()
            .chain(packed.iter().map(String::as_str));
        let skipped = skipped.map(|part| (part, Fill::Keep));
        let rules: Vec<(&str, Fill)> = skipped.chain(rules).collect();
        Ok(initialize_rest(model, seed, &rules))
    }

    /// Beginnings of the paths that get no values.
    fn skipped(&self) -> &'static [&'static str] {
        if self.diffusion.is_some() {
            &[]
        } else {
            &DRAWING
        }
    }
}

/// Fills UNet and autoencoder from a diffusers folder.
fn diffusion(mut model: Deem, folder: &Path, config: &DeemConfig) -> Result<Deem, EngineError> {
    model.unet = fill_unet(model.unet, folder, &config.unet, &config.scheduler)?;
    model.autoencoder = fill_autoencoder(model.autoencoder, folder, &config.autoencoder)?;
    Ok(model)
}

/// Fills a UNet from a diffusers folder, whose noise schedule must be the configured one.
pub(crate) fn fill_unet(
    unet: UNet,
    folder: &Path,
    config: &UNetConfig,
    scheduler: &NoiseConfig,
) -> Result<UNet, EngineError> {
    let path = folder.join("unet");
    check(&path.join("config.json"), config)?;
    let unet = load(unet, &open(&path)?, &LoadOptions::default())?;
    check(&folder.join("scheduler/scheduler_config.json"), scheduler)?;
    Ok(unet)
}

/// Fills an autoencoder from a diffusers folder.
pub(crate) fn fill_autoencoder(
    autoencoder: Autoencoder,
    folder: &Path,
    config: &AutoencoderConfig,
) -> Result<Autoencoder, EngineError> {
    let path = autoencoder_at(folder);
    check(&path.join("config.json"), config)?;
    let file = open(&path)?;
    Ok(load(autoencoder, &file, &autoencoder_keys(&file))?)
}

/// Where an autoencoder's parameters lie: older files have other names.
fn autoencoder_keys(file: &WeightsFile) -> LoadOptions<'static> {
    let legacy = has_legacy_keys(file.keys());
    LoadOptions {
        rename: legacy.then_some(&legacy_key),
        ..LoadOptions::default()
    }
}

/// Says everything of a file that does not fit an autoencoder, of which nothing is read.
///
/// # Errors
/// `Mismatch` naming the keys.
pub fn check_autoencoder(
    config: &AutoencoderConfig,
    file: &WeightsFile,
) -> Result<(), WeightsError> {
    let autoencoder = Autoencoder::new(config, &Device::flex());
    weights::check(&autoencoder, file, &autoencoder_keys(file))
}

/// Where the autoencoder of a diffusers folder lies.
pub(crate) fn autoencoder_at(folder: &Path) -> PathBuf {
    let [vae, other] = ["vae", "autoencoder"].map(|name| folder.join(name));
    if vae.is_dir() || !other.is_dir() {
        vae
    } else {
        other
    }
}

/// Replaces what a file of deem's keys holds; the rest of the model stays as it is.
///
/// # Errors
/// `Weights` naming keys that do not fit.
pub fn replace<M: Module>(module: M, path: &Path) -> Result<M, EngineError> {
    replace_but(module, path, &[])
}

/// As [`replace`], without parameters whose path starts with one of `skip`.
///
/// # Errors
/// As there.
pub fn replace_but<M: Module>(module: M, path: &Path, skip: &[&str]) -> Result<M, EngineError> {
    let partial = LoadOptions {
        allow_missing: &[""],
        skip,
        ..LoadOptions::default()
    };
    Ok(load(module, &open(path)?, &partial)?)
}

/// A model without values, which takes no memory.
///
/// # Errors
/// `Config` if the configuration is wrong.
pub fn empty(config: &DeemConfig, device: &Device) -> Result<Deem, EngineError> {
    Deem::new(config, device).map_err(|error| EngineError::Config(error.to_string()))
}

/// Fills a model from one file that holds all of it under deem's keys, without parameters whose path starts with one
/// of `skip`, which get neither memory nor values.
///
/// # Errors
/// `Weights` naming keys that are missing or do not fit.
pub fn fill_whole(model: Deem, path: &Path, skip: &[&str]) -> Result<Deem, EngineError> {
    let options = LoadOptions {
        skip,
        ..LoadOptions::default()
    };
    Ok(load(model, &open(path)?, &options)?)
}

pub(crate) fn open(path: &Path) -> Result<WeightsFile, EngineError> {
    open_checked(&find(path)?)
}
