//! The shipped stand-in foundation models: where they lie, and how they become a [`Deem`].
//!
//! ```text
//! assets/standins/<preset>/
//!   model.toml                     the networks, and where their parts lie (a preset of the crate `deem`)
//!   experiment.toml                pre-training, stages, sizes of benchmarks
//!   SHA256SUMS                     checksum of every weights file
//!   clip/model.safetensors         image tower (open_clip keys) and text tower (transformers keys)
//!   autoencoder/…                  diffusers AutoencoderKL
//!   unet/…, text_encoder/…         diffusers UNet2DConditionModel, transformers CLIPTextModel
//!   llm/…                          transformers LlamaForCausalLM
//!   connect/model.safetensors      resamplers, projections, MMFS after the warm start
//!   */README.md                    model card
//! ```
//!
//! The parts that the model is made of are found and put together by the crate `deem`, as those of any model; here
//! is what only making and judging them needs. A preset may share another's parts (`shares`).

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::tensor::Device;
use deem_model::autoencoder::Autoencoder;
use deem_model::clip::pyramid::VisionConfig;
use deem_model::clip::text::ClipText;
use deem_model::component::Component;
use deem_model::deem::Deem;
use deem_model::llama::Llama;
use deem_model::unet::UNet;
use deem_model::weights::{self, Checksum, LoadOptions, StateTensor, WeightsFile, load};
use safetensors::Dtype;

use deem::{BUILT_IN, Open, Parts, Preset};
use deem_data::text::TextTokenizer;
use deem_engine::config;
use deem_engine::foundation::{CHECKSUMS, listed, recorded};
use deem_engine::{DualEncoder, EngineError, Precision};

use crate::built_in::BuiltIn;
use crate::config::Experiment;
use crate::pretrain::{Clip, EncoderForm};

/// Parts of an image tower that are not CLIP's.
const PYRAMID: [&str; 1] = ["vision.adapter"];

/// A folder of stand-ins.
#[derive(Clone, Debug)]
pub struct StandIns {
    root: PathBuf,
    preset: Preset,
    experiment: Experiment,
    /// Overrides of the preset.
    overrides: Vec<String>,
    checksums: BTreeMap<String, String>,
    shared: Option<Box<StandIns>>,
}

impl StandIns {
    /// The stand-ins in a folder. Overrides of the model's fields concern `model.toml`, others
    /// `experiment.toml`.
    ///
    /// # Errors
    /// `Io` or `Config` if one of them cannot be read.
    pub fn open(root: &Path, overrides: &[String]) -> Result<Self, EngineError> {
        let (own, others): (Vec<String>, Vec<String>) =
            overrides.iter().cloned().partition(|entry| {
                let field = entry.split(['.', '=']).next().unwrap_or_default().trim();
                Preset::FIELDS.contains(&field)
            });
        let preset = Preset::open(root, &own).map_err(engine)?;
        let file = root.join("experiment.toml");
        let experiment: Experiment = config::read(&file, &others)?;
        experiment.check().map_err(|problem| EngineError::File {
            path: file,
            problem,
        })?;
        let shared = experiment.shares.as_ref();
        let shared = shared.map(|folder| Self::open(&root.join(folder), &[]));
        Ok(Self {
            root: root.into(),
            checksums: recorded(&root.join(CHECKSUMS))?,
            shared: shared.transpose()?.map(Box::new),
            preset,
            experiment,
            overrides: own,
        })
    }

    /// What the model is.
    pub fn preset(&self) -> &Preset {
        &self.preset
    }

    /// How it is made and studied.
    pub fn experiment(&self) -> &Experiment {
        &self.experiment
    }

    /// Both configurations as one TOML text: what a run's results depend on.
    ///
    /// # Errors
    /// `Config` if one of them has no such form.
    pub fn to_toml(&self) -> Result<String, EngineError> {
        let failed = |error: toml::ser::Error| EngineError::Config(error.to_string());
        let mut text = String::from("# model.toml\n");
        text.push_str(&toml::to_string(&self.preset).map_err(failed)?);
        text.push_str("\n# experiment.toml\n");
        text.push_str(&toml::to_string(&self.experiment).map_err(failed)?);
        Ok(text)
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Checksums of everything that a run on these stand-ins starts from, for its identity: of the folder's list,
    /// and of a published language model.
    ///
    /// # Errors
    /// `Weights` if the language model is not there.
    pub fn checksums(&self) -> Result<BTreeMap<String, Checksum>, EngineError> {
        let standins = weights::sha256(self.listing().as_bytes());
        let mut sums = BTreeMap::from([("standins".to_owned(), standins)]);
        if !self.checksums.contains_key("llm/model.safetensors") {
            let description = self.parts()?.describe(Precision::F32).map_err(engine)?;
            sums.extend(description.checksums());
        }
        Ok(sums)
    }

    /// Fingerprint of the stand-ins: their checksums, and which language model they have.
    pub fn identity(&self) -> String {
        let mut own = self.listing();
        if !self.checksums.contains_key("llm/model.safetensors") {
            own.push_str(&self.preset.weights.llama.names().join(" "));
        }
        weights::sha256(own.as_bytes())
    }

    /// Recorded checksums, the shared ones included.
    fn listing(&self) -> String {
        let shared = self.shared.as_ref().map(|shared| shared.listing());
        listed(&self.checksums) + &shared.unwrap_or_default()
    }

    /// Recorded checksum of a part's weights; empty if it was never made.
    pub fn identity_of(&self, part: &str) -> String {
        let name = format!("{part}/model.safetensors");
        let own = self.checksums.get(&name).cloned();
        let shared = || Some(self.shared.as_ref()?.identity_of(part));
        own.or_else(shared).unwrap_or_default()
    }

    /// Whether the warm start has been made: without it pictures mean nothing to the language model.
    pub fn is_connected(&self) -> bool {
        self.checksums.contains_key("connect/model.safetensors")
    }

    /// Opens a part's weights and verifies their checksum.
    ///
    /// # Errors
    /// `Weights` if the file is missing or damaged; `File` if its checksum was never recorded.
    pub fn file(&self, part: &str) -> Result<WeightsFile, EngineError> {
        let name = format!("{part}/model.safetensors");
        let path = self.root.join(&name);
        let Some(expected) = self.checksums.get(&name) else {
            if let Some(shared) = self.shared.as_ref().filter(|_| part != "connect") {
                return shared.file(part);
            }
            return Err(EngineError::File {
                path: self.root.join(CHECKSUMS),
                problem: format!(
                    "no checksum of {name}; make the stand-ins with `deem pretrain all`"
                ),
            });
        };
        Ok(WeightsFile::open_verified(&path, expected)?)
    }

    /// Writes a part's weights in half precision and records its checksum.
    ///
    /// # Errors
    /// `Io` or `Weights` naming the file.
    pub fn save(&mut self, part: &str, tensors: &[StateTensor]) -> Result<(), EngineError> {
        let name = format!("{part}/model.safetensors");
        let path = self.root.join(&name);
        let folder = self.root.join(part);
        fs::create_dir_all(&folder).map_err(EngineError::io(&folder))?;
        weights::write(tensors, &path, Dtype::F16, HashMap::new())?;
        let sums = self.root.join(CHECKSUMS);
        // Another process may have made another part since.
        self.checksums = recorded(&sums)?;
        let sum = WeightsFile::open(&path)?.checksum();
        self.checksums.insert(name, sum);
        fs::write(&sums, listed(&self.checksums)).map_err(EngineError::io(&sums))
    }

    /// The contrastive stand-in, the encoder under test.
    ///
    /// # Errors
    /// Those of [`Self::file`], and weights that do not fit.
    pub fn clip(&self, device: &Device) -> Result<Clip, EngineError> {
        self.contrastive("clip", &self.preset.model.image_encoder.vision, device)
    }

    /// The contrastive stand-in of another architecture that mines negatives.
    ///
    /// # Errors
    /// Those of [`Self::file`], and weights that do not fit.
    pub fn miner(&self, device: &Device) -> Result<Clip, EngineError> {
        self.contrastive("miner", &self.experiment.miner, device)
    }

    /// The stand-ins that embed pictures and texts in one space.
    pub const ENCODERS: [&str; 2] = ["clip", "miner"];

    /// One of [`Self::ENCODERS`], ready to embed.
    ///
    /// # Errors
    /// Those of [`Self::clip`] and of the compiled-in tokenizer.
    pub fn encoder(&self, name: &str, device: &Device) -> Result<DualEncoder, EngineError> {
        let clip = match name {
            "miner" => self.miner(device)?,
            _ => self.clip(device)?,
        };
        let tokenizer = TextTokenizer::builtin()?;
        let weights = self
            .file(if name == "miner" { "miner" } else { "clip" })?
            .checksum()
            .to_string();
        let form = EncoderForm {
            name: name.to_owned(),
            side: self.preset.model.image_size,
            longest: self.experiment.clip_text.max_position_embeddings,
            weights,
        };
        Ok(clip.no_grad().encoder(form, tokenizer, device))
    }

    fn contrastive(
        &self,
        part: &str,
        vision: &VisionConfig,
        device: &Device,
    ) -> Result<Clip, EngineError> {
        let clip = Clip::new(vision, &self.experiment.clip_text, device);
        let options = LoadOptions {
            rename: Some(&public_clip_key),
            allow_missing: &PYRAMID,
            ..LoadOptions::default()
        };
        Ok(load(clip, &self.file(part)?, &options)?)
    }

    /// Saves a contrastive stand-in under public keys, without the pyramid, which it does not train.
    ///
    /// # Errors
    /// Those of [`Self::save`].
    pub fn save_clip(&mut self, part: &str, clip: &Clip) -> Result<(), EngineError> {
        let tensors: Vec<StateTensor> = weights::state(clip)
            .into_iter()
            .filter(|tensor| !PYRAMID.iter().any(|part| tensor.name.starts_with(part)))
            .map(|tensor| StateTensor {
                name: public_clip_key(&tensor.name),
                ..tensor
            })
            .collect();
        self.save(part, &tensors)
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
        Open::folder(&self.root)
            .set(&self.overrides)
            .find()
            .map_err(engine)
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
        self.text_parts()?.language_model(device).map_err(engine)
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
        self.text_parts()?.tokenizer().map_err(engine)
    }

    /// The built-in data in the language model's words.
    ///
    /// # Errors
    /// Those of [`Self::tokenizer`], and ids that do not fit the preset.
    pub fn data(&self) -> Result<BuiltIn, EngineError> {
        let design = self.experiment.design;
        BuiltIn::of(design, &self.preset.spec(), self.tokenizer()?)
    }

    fn text_parts(&self) -> Result<Parts, EngineError> {
        Open::folder(&self.root)
            .set(&self.overrides)
            .purpose(deem::Purpose::Text)
            .find()
            .map_err(engine)
    }

    /// Saves what the warm start trained.
    ///
    /// # Errors
    /// Those of [`Self::save`].
    pub fn save_connected(&mut self, model: &Deem) -> Result<(), EngineError> {
        let tensors: Vec<StateTensor> = weights::state(model)
            .into_iter()
            .filter(|tensor| Component::of(&tensor.name).is_some_and(Component::is_carried))
            .collect();
        self.save("connect", &tensors)
    }
}

/// Records the autoencoder's scaling factor in a folder's `model.toml`, leaving the rest of the file as it
/// is.
///
/// # Errors
/// `Io` naming the file, `File` if it has no line for it.
pub fn set_scaling_factor(root: &Path, factor: f64) -> Result<(), EngineError> {
    let path = root.join("model.toml");
    let text = fs::read_to_string(&path).map_err(EngineError::io(&path))?;
    let mut found = false;
    let lines: Vec<String> = text
        .lines()
        .map(|line| {
            if line.starts_with("scaling_factor") && !found {
                found = true;
                format!("scaling_factor = {factor:.5}   # set by `deem pretrain autoencoder`")
            } else {
                line.to_owned()
            }
        })
        .collect();
    if !found {
        return Err(EngineError::File {
            path,
            problem: "expected a line `scaling_factor = …` in [model.autoencoder]".into(),
        });
    }
    fs::write(&path, lines.join("\n") + "\n").map_err(EngineError::io(&path))
}

/// `vision.visual.trunk.…` → `visual.trunk.…`, as open_clip writes it.
fn public_clip_key(path: &str) -> String {
    path.strip_prefix("vision.").unwrap_or(path).to_owned()
}

/// The engine's view of an error while a model is opened.
pub(crate) fn engine(error: deem::Error) -> EngineError {
    match error {
        deem::Error::Engine(error) => error,
        deem::Error::Data(error) => error.into(),
        deem::Error::Weights(error) => error.into(),
        deem::Error::File { path, problem } => EngineError::File { path, problem },
        other => EngineError::Config(other.to_string()),
    }
}
