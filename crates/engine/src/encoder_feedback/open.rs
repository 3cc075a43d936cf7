use std::collections::BTreeMap;
use std::path::PathBuf;

use burn::tensor::Device;
use deem_model::clip::tower::ImageTower;
use deem_model::encoder_feedback::{FeedbackConfig, FeedbackModel};
use deem_model::weights::Checksum;
use deem_model::weights::init::{Fill, initialize_rest};

use crate::EngineError;
use crate::dual_encoder::EncoderFolder;
use crate::foundation::{autoencoder_at, fill_autoencoder, fill_unet, replace};
use crate::train::weights_checksum;

/// Where the parts lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncoderFoundation {
    /// The encoder, in transformers' or open_clip's layout.
    pub encoder: PathBuf,
    /// Diffusers folder.
    pub diffusion: PathBuf,
    /// What earlier stages trained, under the model's own paths.
    pub trained: Option<PathBuf>,
}

impl EncoderFoundation {
    /// The model: everything loaded, the rest drawn from `seed`.
    ///
    /// # Errors
    /// `Config` if the configuration is wrong or a `config.json` differs from it; `Weights` naming file and keys that do
    /// not fit.
    pub fn assemble(
        &self,
        config: &FeedbackConfig,
        seed: u64,
        device: &Device,
    ) -> Result<FeedbackModel, EngineError> {
        let mut model = FeedbackModel::new(config, device)
            .map_err(|error| EngineError::Config(error.to_string()))?;
        model.vision_model = self.tower(model.vision_model, config)?;
        if !config.fresh_denoiser {
            model.unet = fill_unet(model.unet, &self.diffusion, &config.unet, &config.scheduler)?;
        }
        let (autoencoder, folder) = (model.autoencoder, &self.diffusion);
        model.autoencoder = fill_autoencoder(autoencoder, folder, &config.autoencoder)?;
        if let Some(path) = &self.trained {
            model = replace(model, path)?;
        }
        let rules = [("null_condition", Fill::Normal(0.02))];
        Ok(initialize_rest(model, seed, &rules))
    }

    /// The original image tower alone.
    ///
    /// # Errors
    /// As [`Self::assemble`].
    pub fn original(
        &self,
        config: &FeedbackConfig,
        device: &Device,
    ) -> Result<ImageTower, EngineError> {
        self.tower(ImageTower::new(&config.encoder, device), config)
    }

    fn tower(&self, tower: ImageTower, config: &FeedbackConfig) -> Result<ImageTower, EngineError> {
        EncoderFolder::read(&self.encoder)?.fill_tower(tower, &config.encoder)
    }

    /// Checksums of the weights that a run starts from, by part.
    ///
    /// # Errors
    /// `Weights` naming a folder without weights.
    pub fn checksums(
        &self,
        config: &FeedbackConfig,
    ) -> Result<BTreeMap<String, Checksum>, EngineError> {
        let mut sums = BTreeMap::new();
        sums.insert("encoder".to_owned(), weights_checksum(&self.encoder)?);
        if !config.fresh_denoiser {
            let unet = weights_checksum(&self.diffusion.join("unet"))?;
            sums.insert("unet".to_owned(), unet);
        }
        let autoencoder = weights_checksum(&autoencoder_at(&self.diffusion))?;
        sums.insert("autoencoder".to_owned(), autoencoder);
        Ok(sums)
    }
}
