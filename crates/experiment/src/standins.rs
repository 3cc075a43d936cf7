//! The shipped stand-in foundation models: where they lie, and how they become a [`Deem`](deem_model::deem::Deem).
//!
//! ```text
//! assets/standins/<preset>/
//!   model.toml                     the networks, and where their parts lie (a preset of the crate `deem`)
//!   experiment.toml                pre-training, stages, sizes of benchmarks
//!   SHA256SUMS                     checksum of every weights file
//!   clip/model.safetensors         image tower (open_clip keys) and text tower (transformers keys)
//!   clip-attributes/…, miner/…     as clip
//!   autoencoder/…                  diffusers AutoencoderKL
//!   unet/…, text_encoder/…         diffusers UNet2DConditionModel, transformers CLIPTextModel
//!   llm/…                          transformers LlamaForCausalLM
//!   connect/model.safetensors      resamplers, projections, MMFS after the warm start
//!   README.md                      model card
//! ```
//!
//! The parts that the model is made of are found and put together by the crate `deem`, as those of any model; here
//! is what only making and judging them needs. A preset may share another's parts (`shares`).
//!
//! What is made anew is never written there, but into an overlay ([`StandIns::with_overlay`]): a folder of the same
//! layout that holds only what was made, and serves before the folder that it lies upon. [`StandIns::install`] puts it
//! in place.

mod install;
mod networks;
mod overlay;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use deem::Preset;
use deem_engine::config;
use deem_engine::foundation::{CHECKSUMS, listed, recorded};
use deem_engine::{EngineError, Precision};
use deem_model::weights::{self, Checksum, WeightsFile};

use self::overlay::Overlay;
use crate::config::Experiment;

/// Every part that is made.
const PARTS: [&str; 8] = [
    "clip",
    "clip-attributes",
    "miner",
    "autoencoder",
    "unet",
    "text_encoder",
    "llm",
    "connect",
];

/// The file of a [`Preset`].
const MODEL: &str = "model.toml";

/// The file of an [`Experiment`].
const EXPERIMENT: &str = "experiment.toml";

/// The model card.
const CARD: &str = "README.md";
/// Name of the sheet of what the diffusion model draws.
const SAMPLES: &str = "samples.png";

/// A folder of stand-ins.
#[derive(Clone, Debug)]
pub struct StandIns {
    root: PathBuf,
    /// What was made anew, and serves before what lies in the folder.
    overlay: Option<Overlay>,
    preset: Preset,
    experiment: Experiment,
    /// Overrides of both files, as they were asked for.
    stated: Vec<String>,
    /// Overrides of the preset, with what the overlay says.
    overrides: Vec<String>,
    /// Of the folder, and of the overlay before it.
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
        Self::upon(root, overrides, None)
    }

    /// The stand-ins in a folder, with what was made anew in `overlay`, which need not exist yet. What [`Self::save`] and its
    /// like write goes there, and what lies there serves before the folder's own.
    ///
    /// # Errors
    /// As [`Self::open`]; `File` if the overlay was made upon another preset.
    pub fn with_overlay(
        root: &Path,
        overrides: &[String],
        overlay: &Path,
    ) -> Result<Self, EngineError> {
        Self::upon(root, overrides, Some(Overlay::open(overlay)?))
    }

    fn upon(root: &Path, stated: &[String], overlay: Option<Overlay>) -> Result<Self, EngineError> {
        let (mut own, others): (Vec<String>, Vec<String>) =
            stated.iter().cloned().partition(|entry| {
                let field = entry.split(['.', '=']).next().unwrap_or_default().trim();
                Preset::FIELDS.contains(&field)
            });
        let mut preset = Preset::open(root, &own).map_err(engine)?;
        let mut checksums = recorded(&root.join(CHECKSUMS))?;
        if let Some(overlay) = &overlay {
            own = overlay.overrides(root, &preset, own)?;
            preset = Preset::open(root, &own).map_err(engine)?;
            checksums.extend(overlay.checksums().clone());
        }
        let file = root.join(EXPERIMENT);
        let experiment: Experiment = config::read(&file, &others)?;
        experiment.check().map_err(|problem| EngineError::File {
            path: file,
            problem,
        })?;
        let shared = experiment.shares.as_ref();
        let shared = shared.map(|folder| Self::open(&root.join(folder), &[]));
        Ok(Self {
            root: root.into(),
            shared: shared.transpose()?.map(Box::new),
            overlay,
            preset,
            experiment,
            stated: stated.into(),
            overrides: own,
            checksums,
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
        if !self.checksums.contains_key(&file_of("llm")) {
            let description = self.parts()?.describe(Precision::F32).map_err(engine)?;
            sums.extend(description.checksums());
        }
        Ok(sums)
    }

    /// Fingerprint of the stand-ins: their checksums, and which language model they have.
    pub fn identity(&self) -> String {
        let mut own = self.listing();
        if !self.checksums.contains_key(&file_of("llm")) {
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
        let place = self.place(part);
        place.map_or_else(String::new, |(_, sum)| sum.to_owned())
    }

    /// Opens a part's weights and verifies their checksum.
    ///
    /// # Errors
    /// `Weights` if the file is missing or damaged; `File` if its checksum was never recorded.
    pub fn file(&self, part: &str) -> Result<WeightsFile, EngineError> {
        let (path, expected) = self.place(part).ok_or_else(|| EngineError::File {
            path: self.root.join(CHECKSUMS),
            problem: format!(
                "no checksum of {}; make the stand-ins with `deem pretrain all`, and put them here with its --install",
                file_of(part)
            ),
        })?;
        Ok(WeightsFile::open_verified(&path, expected)?)
    }

    /// Where the weights of a part lie, with their recorded checksum; nothing if it was never made.
    fn place(&self, part: &str) -> Option<(PathBuf, &str)> {
        let name = file_of(part);
        if let Some(sum) = self.checksums.get(&name) {
            let overlay = self.overlay.as_ref().filter(|overlay| overlay.has(part));
            let folder = overlay.map_or(self.root(), Overlay::folder);
            return Some((folder.join(name), sum));
        }
        // What connects the parts is each preset's own.
        let shared = self.shared.as_ref().filter(|_| part != "connect")?;
        shared.place(part)
    }
}

/// The file of a part's weights, below a folder of stand-ins.
fn file_of(part: &str) -> String {
    format!("{part}/model.safetensors")
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
