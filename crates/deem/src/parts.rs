//! What a model is made of, found on this machine.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use deem_data::text::TextTokenizer;
use deem_engine::Precision;
use deem_engine::config::ModelSpec;
use deem_engine::foundation::{Foundation, Language, empty, fill_whole, replace_but, tokenizer_at};
use deem_engine::train::parameters::changed;
use deem_engine::train::{LoraConfig, ParameterGroup};
use deem_model::component::DRAWING;
use deem_model::deem::Deem;
use deem_model::llama::Llama;
use deem_model::weights::init::{Fill, initialize};

use crate::description::{Base, Description, Part, Progress};
use crate::fingerprint::fingerprint;
use crate::{Error, Purpose};

/// The tokenizer of the built-in world.
pub const BUILT_IN: &str = "built-in";

/// How much a model can do: what the foundation models understand of each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connection {
    /// Pictures mean nothing to the language model: nothing has connected them.
    Untrained,
    /// What connects them was trained beforehand, no stage has run.
    WarmStart,
    /// Stages have been trained.
    Trained,
}

/// A part, found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub part: Part,
    pub name: String,
    pub path: PathBuf,
}

/// What a model is made of: networks, and where the weights of every part lie on this machine.
///
/// ```
/// # fn main() -> Result<(), deem::Error> {
/// let parts = deem::Open::preset("tiny").find()?;
/// let tokenizer = parts.tokenizer()?;
/// assert_eq!(i64::from(tokenizer.special().soi), parts.spec().model.tokens.soi);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Parts {
    pub(crate) name: String,
    pub(crate) spec: ModelSpec,
    pub(crate) purpose: Purpose,
    pub(crate) base: Vec<Found>,
    /// What stages have trained.
    pub(crate) weights: Option<PathBuf>,
    pub(crate) trained: Progress,
}

impl Parts {
    /// Name of the model.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Networks and length.
    pub fn spec(&self) -> &ModelSpec {
        &self.spec
    }

    /// What stages have trained so far.
    pub fn trained(&self) -> &Progress {
        &self.trained
    }

    /// Weights that a run made, if there are any.
    pub fn weights(&self) -> Option<&Path> {
        self.weights.as_deref()
    }

    /// How much the parts understand of each other.
    pub fn connection(&self) -> Connection {
        if self.weights.is_some() || !self.trained.stages.is_empty() {
            Connection::Trained
        } else if self
            .path(Part::Trained)
            .or(self.path(Part::Whole))
            .is_some()
        {
            Connection::WarmStart
        } else {
            Connection::Untrained
        }
    }

    /// Where the model comes from, in words.
    pub fn source(&self) -> String {
        let result = self.weights.as_deref().or(self.path(Part::Whole));
        match (result, self.connection()) {
            (Some(path), _) => path.display().to_string(),
            (None, Connection::WarmStart) => "warm start".into(),
            (None, _) => self.name.clone(),
        }
    }

    /// The model: everything loaded, the rest drawn from `seed`.
    ///
    /// # Errors
    /// `Engine` naming a configuration, a file or keys that do not fit.
    pub fn assemble(&self, seed: u64, device: &Device) -> Result<Deem, Error> {
        self.assemble_as(seed, device, false)
    }

    /// The model without values: they take no memory until [`Self::fill`] puts them there.
    ///
    /// # Errors
    /// `Engine` if the numbers of the configuration do not fit together.
    pub fn empty(&self, device: &Device) -> Result<Deem, Error> {
        Ok(empty(&self.spec.model, device)?)
    }

    /// As [`Self::assemble`], into a model that is [empty](Self::empty).
    ///
    /// # Errors
    /// As there.
    pub fn fill(&self, model: Deem, seed: u64) -> Result<Deem, Error> {
        self.fill_as(model, seed, false)
    }

    /// As [`Self::assemble`]; with `packed`, quantised matrices of the language model stay so.
    pub(crate) fn assemble_as(
        &self,
        seed: u64,
        device: &Device,
        packed: bool,
    ) -> Result<Deem, Error> {
        self.fill_as(self.empty(device)?, seed, packed)
    }

    fn fill_as(&self, mut model: Deem, seed: u64, packed: bool) -> Result<Deem, Error> {
        let config = &self.spec.model;
        let skip: &[&str] = match self.purpose {
            Purpose::Text => &["image_encoder.", "unet.", "autoencoder.", "image_decoder."],
            Purpose::Answers => &DRAWING,
            Purpose::Everything => &[],
        };
        let upon = |model| {
            let mut weights = self.weights.iter();
            weights.try_fold(model, |model, path| replace_but(model, path, skip))
        };
        if let Some(folder) = self.path(Part::Whole) {
            return Ok(upon(fill_whole(model, folder, skip)?)?);
        }
        let trained = self.path(Part::Trained).map(Path::to_owned);
        let language = Language {
            packed,
            ..self.language()?
        };
        if self.purpose == Purpose::Text {
            model.llama = language.fill(model.llama, &config.llama)?;
            if let Some(path) = trained {
                model = replace_but(model, &path, skip)?;
            }
            return Ok(upon(model)?);
        }
        let foundation = Foundation {
            vision: self.need(Part::Vision)?,
            language,
            diffusion: (self.purpose == Purpose::Everything)
                .then(|| self.need(Part::Diffusion))
                .transpose()?,
            trained: trained.into_iter().chain(self.weights.clone()).collect(),
        };
        Ok(foundation.fill(model, config, seed)?)
    }

    /// A model of this specification with random values, also where training starts with zeros (gates,
    /// offsets): for measurements, which need no weights.
    ///
    /// # Errors
    /// `Engine` if the numbers of the configuration do not fit together.
    pub fn random(spec: &ModelSpec, seed: u64, device: &Device) -> Result<Deem, Error> {
        Ok(Self::randomized(empty(&spec.model, device)?, seed))
    }

    /// As [`Self::random`], into a model that has no values yet.
    pub fn randomized(model: Deem, seed: u64) -> Deem {
        let rules = [
            ("gate", Fill::Constant(0.5)),
            ("soi_token", Fill::Normal(0.02)),
            ("sampling_offsets.bias", Fill::Uniform(1.0)),
        ];
        initialize(model, seed, &rules)
    }

    /// Words to ids.
    ///
    /// # Errors
    /// `Engine` if it is no tokenizer, or does not fit the model.
    pub fn tokenizer(&self) -> Result<TextTokenizer, Error> {
        let config = &self.spec.model;
        match self.path(Part::Whole) {
            Some(folder) => Ok(tokenizer_at(folder, config)?),
            None => Ok(self.language()?.tokenizer(config)?),
        }
    }

    /// The language model alone, without MMFS layers.
    ///
    /// # Errors
    /// `Engine` naming a file or keys that do not fit.
    pub fn language_model(&self, device: &Device) -> Result<Llama, Error> {
        let config = &self.spec.model.llama;
        Ok(self
            .language()?
            .fill(Llama::new(config, None, device), config)?)
    }

    /// The same parts without what connects them: where the warm start begins.
    #[must_use]
    pub fn unconnected(mut self) -> Self {
        self.base.retain(|found| found.part != Part::Trained);
        self
    }

    /// The same model once a stage has trained the parameters that `groups` select, or the layers that `lora` puts
    /// adapters on. Its weights are to hold these and all that [`Self::trained`] listed before.
    ///
    /// # Errors
    /// `Engine` if a pattern selects nothing.
    pub fn after(
        &self,
        stage: &str,
        groups: &[ParameterGroup],
        lora: &[LoraConfig],
    ) -> Result<Self, Error> {
        let changed = changed(self.empty(&Device::flex())?, groups, lora)?;
        Ok(Self {
            trained: self.trained.after(stage, changed),
            ..self.clone()
        })
    }

    /// The same model with what a stage has trained, see [`Self::after`].
    #[must_use]
    pub fn with_weights(mut self, weights: &Path) -> Self {
        self.weights = Some(weights.to_owned());
        self
    }

    /// What a run keeps beside the weights of this model, see [`Self::after`].
    ///
    /// # Errors
    /// `Io` naming a file of a part that cannot be read.
    ///
    /// ```
    /// # fn main() -> Result<(), deem::Error> {
    /// let parts = deem::Open::preset("tiny").purpose(deem::Purpose::Text).find()?;
    /// let description = parts.describe(deem::Precision::F32)?;
    /// assert!(description.base.iter().all(|base| base.name == "built-in" || !base.files.is_empty()));
    /// # Ok(())
    /// # }
    /// ```
    pub fn describe(&self, precision: Precision) -> Result<Description, Error> {
        let mut description = Description::new(&self.name, &self.spec, &precision.to_string());
        description.trained = self.trained.clone();
        description.base = self.base.iter().map(based).collect::<Result<_, _>>()?;
        Ok(description)
    }

    fn language(&self) -> Result<Language, Error> {
        let tokenizer = self.base.iter().find(|found| found.part == Part::Tokenizer);
        let llama = self.need(Part::Llama)?;
        let tokenizer = match tokenizer {
            Some(found) if found.name == BUILT_IN => None,
            Some(found) => Some(found.path.clone()),
            None => Some(llama.clone()),
        };
        Ok(Language {
            llama,
            tokenizer,
            packed: false,
        })
    }

    fn path(&self, part: Part) -> Option<&Path> {
        let found = self.base.iter().find(|found| found.part == part);
        found.map(|found| found.path.as_path())
    }

    fn need(&self, part: Part) -> Result<PathBuf, Error> {
        let path = self.path(part).map(Path::to_owned);
        path.ok_or_else(|| Error::Part {
            part: part.name().into(),
            problem: "no name given".into(),
        })
    }
}

/// A part with its checksums.
fn based(found: &Found) -> Result<Base, Error> {
    let files = if found.name == BUILT_IN {
        Default::default()
    } else {
        fingerprint(&found.path, found.part.needs())?
    };
    Ok(Base {
        part: found.part,
        name: found.name.clone(),
        files,
    })
}
