//! Networks as they are published: what their configurations say, and whether their weights are all there.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::path::Path;

use burn::tensor::Device;
use deem_engine::EncoderFolder;
use deem_engine::train::parameters::list;
use deem_model::autoencoder::{Autoencoder, AutoencoderConfig, has_legacy_keys, legacy_key};
use deem_model::clip::config::{ClipVisionConfig, Family, SiglipVisionConfig};
use deem_model::clip::dual::{DualLayout, DualTowers};
use deem_model::llama::{Llama, LlamaConfig};
use deem_model::published::{Fields, Published};
use deem_model::scheduler::{NoiseConfig, NoiseSchedule};
use deem_model::unet::{UNet, UNetConfig};
use deem_model::weights::{WeightsFile, find};

use super::Findings;
use super::kind::Kind;

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
            let expected = list(&unet).into_iter().map(|(key, ..)| key).collect();
            self.compare(&expected, &file, |_| false);
        }
    }

    fn autoencoder(&mut self, folder: &Path) {
        let path = folder.join("config.json");
        let config = self.configuration::<AutoencoderConfig>(&path);
        let config = config.and_then(|config| self.valid(&path, config.validate(), config));
        if let (Some(file), Some(config)) = (self.weights_of(folder), config) {
            let autoencoder = Autoencoder::new(&config, &Device::flex());
            let old_names = has_legacy_keys(file.keys());
            let expected = list(&autoencoder)
                .into_iter()
                .map(|(key, ..)| match old_names {
                    true => legacy_key(&key),
                    false => key,
                });
            self.compare(&expected.collect(), &file, |_| false);
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
        let Some(file) = self.weights(encoder.weights().path()) else {
            return;
        };
        let towers = DualTowers::new(encoder.config(), &Device::flex());
        let place = |path: &str| encoder.layout().place(path).key;
        let expected = list(&towers).iter().map(|(path, ..)| place(path)).collect();
        self.compare(&expected, &file, |key| {
            key.ends_with("position_ids") || key.ends_with("attn_mask")
        });
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
        if let Some(config) = config {
            self.valid(place, config.validate(), ());
        }
        self.weights_of(path);
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
        let Some(file) = self.weights_of(path) else {
            return;
        };
        let expected = list(&Llama::new(&config, None, &Device::flex()));
        let expected = expected.into_iter().map(|(key, ..)| key).collect();
        let tied = ["lm_head.weight", "model.embed_tokens.weight"];
        let either = config.tie_word_embeddings && file.keys().any(|key| tied.contains(&key));
        self.compare(&expected, &file, |key| {
            either && tied.contains(&key) || key.ends_with("rotary_emb.inv_freq")
        });
    }

    /// What a network needs and a file lacks, or the other way round; keys that are set `apart` may be in either.
    fn compare(
        &mut self,
        expected: &BTreeSet<String>,
        file: &WeightsFile,
        apart: impl Fn(&str) -> bool,
    ) {
        let keys: BTreeSet<String> = file.keys().map(str::to_owned).collect();
        for (what, few) in [
            ("missing", expected.difference(&keys)),
            ("not part of this network", keys.difference(expected)),
        ] {
            let few: Vec<&String> = few.filter(|key| !apart(key)).collect();
            if let Some(first) = few.first() {
                self.wrong(format!("{} keys are {what}: {first}, …", few.len()));
            }
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
