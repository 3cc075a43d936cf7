//! Networks as they are published: what their configurations say, and whether their weights are all there.

use std::fmt::Display;
use std::path::Path;

use burn::tensor::Device;
use deem_engine::foundation::{check_autoencoder, check_tower};
use deem_engine::{EncoderFolder, EngineError};
use deem_model::autoencoder::AutoencoderConfig;
use deem_model::clip::config::{ClipVisionConfig, Family, SiglipVisionConfig};
use deem_model::clip::dual::DualLayout;
use deem_model::llama::{Llama, LlamaConfig};
use deem_model::published::{Fields, Published};
use deem_model::scheduler::{NoiseConfig, NoiseSchedule};
use deem_model::unet::{UNet, UNetConfig};
use deem_model::weights::{LoadOptions, WeightsError, WeightsFile, check, find};

use super::Findings;
use super::kind::Kind;

/// Of the keys that do not fit, so many are named.
const SHOWN: usize = 8;

impl Findings {
    /// A diffusion model in diffusers' layout.
    pub(super) fn diffusion(&mut self, path: &Path) {
        self.is.push("a diffusion model (diffusers)".into());
        self.unet(&path.join("unet"));
        let places = ["vae", "autoencoder"].map(|name| path.join(name));
        let vae = places.iter().find(|place| place.is_dir());
        self.autoencoder(vae.unwrap_or(&places[0]));
        self.schedule(&path.join("scheduler/scheduler_config.json"));
    }

    fn unet(&mut self, folder: &Path) {
        let path = folder.join("config.json");
        let config = self.configuration::<UNetConfig>(&path);
        let config = config.and_then(|config| self.valid(&path, config.validate(), config));
        if let (Some(file), Some(config)) = (self.weights_of(folder), config) {
            let unet = UNet::new(&config, &Device::flex());
            self.fits(check(&unet, &file, &LoadOptions::default()));
        }
    }

    fn autoencoder(&mut self, folder: &Path) {
        let path = folder.join("config.json");
        let config = self.configuration::<AutoencoderConfig>(&path);
        let config = config.and_then(|config| self.valid(&path, config.validate(), config));
        if let (Some(file), Some(config)) = (self.weights_of(folder), config) {
            self.fits(check_autoencoder(&config, &file));
        }
    }

    /// A configuration that fits together.
    fn valid<C>(&mut self, path: &Path, found: Result<(), impl Display>, config: C) -> Option<C> {
        match found {
            Ok(()) => Some(config),
            Err(error) => {
                self.wrong(format!("{}: {error}", path.display()));
                None
            }
        }
    }

    pub(super) fn schedule(&mut self, path: &Path) {
        if let Some(config) = self.configuration::<NoiseConfig>(path)
            && let Err(error) = NoiseSchedule::new(&config)
        {
            self.wrong(format!("{}: {error}", path.display()));
        }
    }

    /// A folder with a `config.json`, by what that names.
    pub(super) fn described(&mut self, path: &Path, fields: Fields) {
        let place = path.join("config.json");
        match Kind::of(&fields) {
            Kind::Unet => {
                self.is.push("the UNet of a diffusion model".into());
                self.unet(path);
            }
            Kind::Autoencoder => {
                self.is
                    .push("the autoencoder of a diffusion model (AutoencoderKL)".into());
                self.autoencoder(path);
            }
            Kind::Encoder(family) => match find(path).and_then(|file| WeightsFile::open(&file)) {
                Ok(file) if !file.keys().any(|key| key.starts_with("text_model.")) => {
                    self.tower(path, &place, fields, family);
                }
                _ => self.encoder(path),
            },
            Kind::Tower(family) => self.tower(path, &place, fields, family),
            Kind::Language => self.language(path, fields),
            Kind::Other(what) => {
                self.wrong(format!(
                    "{}: {what} is not computed here; expected {}",
                    place.display(),
                    Kind::expected()
                ));
                self.weights_of(path);
            }
        }
    }

    /// An encoder of pictures and texts, in either layout.
    pub(super) fn encoder(&mut self, path: &Path) {
        let encoder = match EncoderFolder::read(path) {
            Ok(encoder) => encoder,
            Err(error) => return self.wrong(error),
        };
        let layout = match encoder.layout() {
            DualLayout::Transformers(Family::Clip) => "CLIP",
            DualLayout::Transformers(Family::Siglip) => "SigLIP",
            DualLayout::OpenClip(_) => "open_clip",
        };
        self.is.push(format!(
            "an encoder of pictures and texts ({layout}): `--encoder` takes it"
        ));
        if self.weights(encoder.weights().path()).is_none() {
            return;
        }
        match encoder.check() {
            Err(EngineError::Weights(error)) => self.fits(Err(error)),
            found => self.told(found),
        }
        let words = ["tokenizer.json", "spiece.model", "vocab.json"];
        if !words.iter().any(|name| path.join(name).is_file()) {
            self.is
                .push("no tokenizer: pictures only (`[weights] vision`)".into());
        } else if let Err(error) = encoder.tokenizer() {
            self.wrong(error);
        }
    }

    /// An image tower alone.
    fn tower(&mut self, path: &Path, place: &Path, fields: Fields, family: Family) {
        let config = match family {
            Family::Clip => self.published::<ClipVisionConfig>(place, fields),
            Family::Siglip => {
                let config = self.published::<SiglipVisionConfig>(place, fields);
                config.map(|config| config.0)
            }
        };
        self.is.push(format!("an image tower ({family:?})"));
        let config = config.and_then(|config| self.valid(place, config.validate(), config));
        if let (Some(file), Some(config)) = (self.weights_of(path), config) {
            self.fits(check_tower(&config, file));
        }
    }

    /// A language model in transformers' layout.
    fn language(&mut self, path: &Path, fields: Fields) {
        let place = path.join("config.json");
        let Some(config) = self.published::<LlamaConfig>(&place, fields) else {
            return drop(self.weights_of(path));
        };
        if let Err(error) = config.validate() {
            return self.wrong(error);
        }
        self.is.push(format!(
            "a language model ({:?}): {} layers of width {}, {} positions",
            config.model_type,
            config.num_hidden_layers,
            config.hidden_size,
            config.max_position_embeddings
        ));
        if let Some(file) = self.weights_of(path) {
            self.language_fits(&config, &file);
        }
    }

    /// Whether weights are those of a language model of these dimensions.
    pub(super) fn language_fits(&mut self, config: &LlamaConfig, file: &WeightsFile) {
        let llama = Llama::new(config, None, &Device::flex());
        self.fits(llama.check(config, file));
    }

    /// What a network needs and a file lacks, what it has that is no part of the network, and what has another shape
    /// than the configuration says.
    fn fits(&mut self, found: Result<(), WeightsError>) {
        let Err(WeightsError::Mismatch {
            missing,
            unused,
            misshapen,
            ..
        }) = found
        else {
            return self.told(found);
        };
        for (what, keys) in [
            ("missing", missing),
            ("not part of this network", unused),
            (
                "of another shape or type than the configuration says",
                misshapen,
            ),
        ] {
            if keys.is_empty() {
                continue;
            }
            let shown = keys.iter().take(SHOWN).map(String::as_str);
            let more = (keys.len() > SHOWN).then_some("…");
            let shown: Vec<&str> = shown.chain(more).collect();
            self.wrong(format!(
                "{} keys are {what}: {}",
                keys.len(),
                shown.join("; ")
            ));
        }
    }

    fn told(&mut self, found: Result<(), impl Display>) {
        if let Err(error) = found {
            self.wrong(error);
        }
    }

    fn configuration<C: Published>(&mut self, path: &Path) -> Option<C> {
        if !path.is_file() {
            self.wrong(format!("{}: not there", path.display()));
        }
        let fields = self.read(path)?;
        self.published(path, fields)
    }

    fn published<C: Published>(&mut self, path: &Path, fields: Fields) -> Option<C> {
        match C::published(fields) {
            Ok(config) => Some(config),
            Err(problems) => {
                for problem in problems {
                    self.wrong(format!("{}: {problem}", path.display()));
                }
                None
            }
        }
    }
}
