//! The shipped stand-in foundation models: where they lie, and how they become a [`Deem`].
//!
//! ```text
//! assets/standins/<preset>/
//!   preset.toml                    configuration of networks, pre-training and stages
//!   SHA256SUMS                     checksum of every weights file
//!   clip/model.safetensors         image tower (open_clip keys) and text tower (transformers keys)
//!   autoencoder/…                  diffusers AutoencoderKL
//!   unet/…, text_encoder/…         diffusers UNet2DConditionModel, transformers CLIPTextModel
//!   llm/…                          transformers LlamaForCausalLM
//!   connect/model.safetensors      resamplers, projections, MMFS after the warm start
//!   */README.md                    model card
//! ```
//!
//! A preset may share another's parts (`shares`), and have a published language model (`language_model`).

mod language;

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use deem_model::autoencoder::Autoencoder;
use deem_model::clip::pyramid::VisionConfig;
use deem_model::clip::text::ClipText;
use deem_model::deem::Deem;
use deem_model::init;
use deem_model::unet::UNet;
use deem_model::weights::init::{Fill, initialize, initialize_rest};
use deem_model::weights::{self, Checksum, LoadOptions, StateTensor, WeightsFile, load};
use safetensors::Dtype;

use deem_engine::EngineError;
use deem_engine::config;
use deem_engine::train::weights_checksum;

use crate::config::Preset;
use crate::pretrain::Clip;

/// Parameters of a [`Deem`] that the warm start trains and that `connect` therefore holds.
const CONNECTED: [&str; 5] = [
    "image_encoder.",
    "image_decoder.",
    "text_decoder.",
    "soi_token",
    ".mmfs.",
];

/// Name of the list of checksums.
const CHECKSUMS: &str = "SHA256SUMS";

/// Parts of an image tower that are not CLIP's.
const PYRAMID: [&str; 1] = ["vision.adapter"];

/// A folder of stand-ins.
#[derive(Clone, Debug)]
pub struct StandIns {
    root: PathBuf,
    preset: Preset,
    checksums: BTreeMap<String, String>,
    shared: Option<Box<StandIns>>,
}

impl StandIns {
    /// The stand-ins in a folder.
    ///
    /// # Errors
    /// `Io` or `Config` if the preset cannot be read.
    pub fn open(root: &Path, overrides: &[String]) -> Result<Self, EngineError> {
        let preset: Preset = config::read(&root.join("preset.toml"), overrides)?;
        let shared = preset.shares.as_ref();
        let shared = shared.map(|folder| Self::open(&root.join(folder), &[]));
        Ok(Self {
            root: root.into(),
            checksums: recorded(&root.join(CHECKSUMS))?,
            shared: shared.transpose()?.map(Box::new),
            preset,
        })
    }

    /// The folder that ships with the program: `$DEEM_ASSETS/standins/<name>`, or the same below
    /// `assets` in the current folder or the source tree.
    pub fn builtin(name: &str) -> PathBuf {
        let folder = |assets: PathBuf| assets.join("standins").join(name);
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets");
        std::env::var_os("DEEM_ASSETS")
            .map(|assets| folder(assets.into()))
            .into_iter()
            .chain([folder("assets".into()), folder(source)])
            .find(|path| path.join("preset.toml").is_file())
            .unwrap_or_else(|| folder("assets".into()))
    }

    /// The configuration.
    pub fn preset(&self) -> &Preset {
        &self.preset
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
        if let Some(path) = &self.preset.language_model {
            sums.insert("language_model".into(), weights_checksum(path)?);
        }
        Ok(sums)
    }

    /// Fingerprint of the stand-ins: their checksums, and which language model they have.
    pub fn identity(&self) -> String {
        let mut own = self.listing();
        if let Some(path) = &self.preset.language_model {
            own.push_str(&path.display().to_string());
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
        self.contrastive("miner", &self.preset.miner, device)
    }

    fn contrastive(
        &self,
        part: &str,
        vision: &VisionConfig,
        device: &Device,
    ) -> Result<Clip, EngineError> {
        let clip = Clip::new(vision, &self.preset.clip_text, device);
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
        let model = ClipText::new(&self.preset.diffusion_text, device);
        Ok(load(
            model,
            &self.file("text_encoder")?,
            &LoadOptions::default(),
        )?)
    }

    /// A whole model: new parts initialised from `seed`, foundation models loaded.
    ///
    /// # Errors
    /// Those of [`Self::file`], and weights that do not fit.
    pub fn assemble(&self, seed: u64, device: &Device) -> Result<Deem, EngineError> {
        let preset = &self.preset.model;
        let mut model =
            Deem::new(preset, device).map_err(|e| EngineError::Config(e.to_string()))?;
        let vision = LoadOptions {
            rename: Some(&|key: &str| key.to_owned()),
            allow_missing: &["adapter"],
            allow_unused: &["text_model.", "logit_scale"],
            ..LoadOptions::default()
        };
        model.image_encoder.vision =
            load(model.image_encoder.vision, &self.file("clip")?, &vision)?;
        let whole = LoadOptions::default();
        model.llama = self.language(model.llama)?;
        model.unet = load(model.unet, &self.file("unet")?, &whole)?;
        model.autoencoder = load(model.autoencoder, &self.file("autoencoder")?, &whole)?;
        let rules = init::rules(preset);
        let rules: Vec<(&str, Fill)> = rules.iter().map(|(p, f)| (p.as_str(), *f)).collect();
        Ok(initialize_rest(model, seed, &rules))
    }

    /// A whole model with random values, also where training starts with zeros (gates, offsets): every
    /// part does something and gets a gradient. For measurements, which need no weights.
    ///
    /// # Errors
    /// `Config` if the preset's dimensions do not fit.
    pub fn random(&self, seed: u64, device: &Device) -> Result<Deem, EngineError> {
        let model = Deem::new(&self.preset.model, device)
            .map_err(|error| EngineError::Config(error.to_string()))?;
        let rules = [
            ("gate", Fill::Constant(0.5)),
            ("soi_token", Fill::Normal(0.02)),
            ("sampling_offsets.bias", Fill::Uniform(1.0)),
        ];
        Ok(initialize(model, seed, &rules))
    }

    /// A whole model after the warm start: what every arm begins with.
    ///
    /// # Errors
    /// Those of [`Self::assemble`].
    pub fn connected(&self, device: &Device) -> Result<Deem, EngineError> {
        let model = self.assemble(0, device)?;
        let frozen = LoadOptions {
            allow_missing: &["llama.", "unet.", "autoencoder."],
            ..LoadOptions::default()
        };
        Ok(load(model, &self.file("connect")?, &frozen)?)
    }

    /// Saves what the warm start trained.
    ///
    /// # Errors
    /// Those of [`Self::save`].
    pub fn save_connected(&mut self, model: &Deem) -> Result<(), EngineError> {
        let tensors: Vec<StateTensor> = weights::state(model)
            .into_iter()
            .filter(|tensor| {
                let name = &tensor.name;
                CONNECTED.iter().any(|part| {
                    if part.starts_with('.') {
                        name.contains(part)
                    } else {
                        name.starts_with(part)
                    }
                })
            })
            .collect();
        self.save("connect", &tensors)
    }
}

/// Checksums by file, from a list as `sha256sum` writes it; none if there is no list.
fn recorded(sums: &Path) -> Result<BTreeMap<String, String>, EngineError> {
    let text = match fs::read_to_string(sums) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(EngineError::io(sums)(error)),
    };
    Ok(text
        .lines()
        .filter_map(|line| line.split_once("  "))
        .map(|(sum, name)| (name.to_owned(), sum.to_owned()))
        .collect())
}

fn listed(checksums: &BTreeMap<String, String>) -> String {
    let lines = checksums.iter();
    lines
        .map(|(name, sum)| format!("{sum}  {name}\n"))
        .collect()
}

/// Records the autoencoder's scaling factor in a folder's preset, leaving the rest of the file as it
/// is.
///
/// # Errors
/// `Io` naming the file, `File` if the preset has no line for it.
pub fn set_scaling_factor(root: &Path, factor: f64) -> Result<(), EngineError> {
    let path = root.join("preset.toml");
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
