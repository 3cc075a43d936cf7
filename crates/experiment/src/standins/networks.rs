//! The networks of a folder of stand-ins, loaded: each by itself, and the [`Deem`] that they become.

use burn::module::Module;
use burn::tensor::Device;
use deem::{BUILT_IN, Open, Parts, Purpose};
use deem_data::text::TextTokenizer;
use deem_engine::{DualEncoder, EngineError};
use deem_model::autoencoder::Autoencoder;
use deem_model::clip::text::ClipText;
use deem_model::deem::Deem;
use deem_model::llama::Llama;
use deem_model::unet::UNet;
use deem_model::weights::{LoadOptions, load};

use super::{StandIns, engine};
use crate::built_in::BuiltIn;
use crate::pretrain::{Clip, EncoderForm};

/// Parts of an image tower that are not CLIP's.
pub(super) const PYRAMID: [&str; 1] = ["vision.adapter"];

impl StandIns {
    /// The contrastive stand-in, the encoder under test.
    ///
    /// # Errors
    /// Those of [`Self::file`], and weights that do not fit.
    pub fn clip(&self, device: &Device) -> Result<Clip, EngineError> {
        self.contrastive("clip", device)
    }

    /// The contrastive stand-in of another architecture that mines negatives.
    ///
    /// # Errors
    /// Those of [`Self::file`], and weights that do not fit.
    pub fn miner(&self, device: &Device) -> Result<Clip, EngineError> {
        self.contrastive("miner", device)
    }

    /// The stand-ins that embed pictures and texts in one space.
    pub const ENCODERS: [&str; 3] = ["clip", "clip-attributes", "miner"];

    /// One of [`Self::ENCODERS`], ready to embed.
    ///
    /// # Errors
    /// Those of [`Self::contrastive`] and of the compiled-in tokenizer.
    pub fn encoder(&self, name: &str, device: &Device) -> Result<DualEncoder, EngineError> {
        let clip = self.contrastive(name, device)?;
        let tokenizer = TextTokenizer::builtin()?;
        let weights = self.file(name)?.checksum().to_string();
        let form = EncoderForm {
            name: name.to_owned(),
            side: self.preset.model.image_size,
            longest: self.experiment.clip_text.max_position_embeddings,
            weights,
        };
        Ok(clip.no_grad().encoder(form, tokenizer, device))
    }

    /// The part of this name, one of [`Self::ENCODERS`].
    ///
    /// # Errors
    /// Those of [`Self::file`], and weights that do not fit.
    pub fn contrastive(&self, part: &str, device: &Device) -> Result<Clip, EngineError> {
        let vision = match part {
            "miner" => &self.experiment.miner,
            _ => &self.preset.model.image_encoder.vision,
        };
        let clip = Clip::new(vision, &self.experiment.clip_text, device);
        let options = LoadOptions {
            rename: Some(&public_clip_key),
            allow_missing: &PYRAMID,
            ..LoadOptions::default()
        };
        Ok(load(clip, &self.file(part)?, &options)?)
    }

    /// The latent space.
    ///
    /// # Errors
    /// Those of [`Self::file`], and weights that do not fit.
    pub fn autoencoder(&self, device: &Device) -> Result<Autoencoder, EngineError> {
        let model = Autoencoder::new(&self.preset.model.autoencoder, device);
        Ok(load(
            model,
            &self.file("autoencoder")?,
            &LoadOptions::default(),
        )?)
    }

    /// The denoiser.
    ///
    /// # Errors
    /// Those of [`Self::file`], and weights that do not fit.
    pub fn unet(&self, device: &Device) -> Result<UNet, EngineError> {
        let model = UNet::new(&self.preset.model.unet, device);
        Ok(load(model, &self.file("unet")?, &LoadOptions::default())?)
    }

    /// The diffusion model's text encoder.
    ///
    /// # Errors
    /// Those of [`Self::file`], and weights that do not fit.
    pub fn text_encoder(&self, device: &Device) -> Result<ClipText, EngineError> {
        let model = ClipText::new(&self.experiment.diffusion_text, device);
        Ok(load(
            model,
            &self.file("text_encoder")?,
            &LoadOptions::default(),
        )?)
    }

    /// What the model is made of.
    ///
    /// # Errors
    /// `Config` or `File` naming what is not there.
    pub fn parts(&self) -> Result<Parts, EngineError> {
        self.found(Purpose::Everything)
    }

    /// A whole model before the warm start: new parts initialised from `seed`, foundation models loaded.
    ///
    /// # Errors
    /// Those of [`Self::parts`], and weights that do not fit.
    pub fn assemble(&self, seed: u64, device: &Device) -> Result<Deem, EngineError> {
        let parts = self.parts()?.unconnected();
        parts.assemble(seed, device).map_err(engine)
    }

    /// A whole model with random values, see [`Parts::random`].
    ///
    /// # Errors
    /// `Config` if the preset's dimensions do not fit.
    pub fn random(&self, seed: u64, device: &Device) -> Result<Deem, EngineError> {
        Parts::random(&self.preset.spec(), seed, device).map_err(engine)
    }

    /// A whole model after the warm start: what every arm begins with.
    ///
    /// # Errors
    /// `File` if the warm start has not been made, and those of [`Self::assemble`].
    pub fn connected(&self, device: &Device) -> Result<Deem, EngineError> {
        self.file("connect")?;
        self.parts()?.assemble(0, device).map_err(engine)
    }

    /// The language model, without MMFS layers.
    ///
    /// # Errors
    /// Those of [`Self::parts`], and weights that do not fit.
    pub fn llm(&self, device: &Device) -> Result<Llama, EngineError> {
        self.found(Purpose::Text)?
            .language_model(device)
            .map_err(engine)
    }

    /// The language model's tokenizer.
    ///
    /// # Errors
    /// `Config` if a published language model is not there, `Data` if its tokenizer does not fit.
    pub fn tokenizer(&self) -> Result<TextTokenizer, EngineError> {
        let names = self.preset.weights.tokenizer.as_ref();
        // The built-in one is there before any language model is made.
        if names.is_some_and(|names| names.names() == [BUILT_IN]) {
            return Ok(TextTokenizer::builtin()?);
        }
        self.found(Purpose::Text)?.tokenizer().map_err(engine)
    }

    /// The built-in data in the language model's words.
    ///
    /// # Errors
    /// Those of [`Self::tokenizer`], and ids that do not fit the preset.
    pub fn data(&self) -> Result<BuiltIn, EngineError> {
        BuiltIn::with_tokenizer(&self.preset.spec(), self.tokenizer()?)
    }

    /// The overrides name what lies in an overlay.
    fn found(&self, purpose: Purpose) -> Result<Parts, EngineError> {
        let open = Open::folder(&self.root).set(&self.overrides);
        open.purpose(purpose).find().map_err(engine)
    }
}

/// `vision.visual.trunk.…` → `visual.trunk.…`, as open_clip writes it.
pub(super) fn public_clip_key(path: &str) -> String {
    path.strip_prefix("vision.").unwrap_or(path).to_owned()
}
