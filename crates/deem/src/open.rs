//! Which model to open, and how.

use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::tensor::Device;
use deem_engine::{Compute, Precision};

use crate::{Error, Model, Parts};

/// What a model is opened for; what that does not need is neither looked for nor loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// Text alone: the language model.
    Text,
    /// Questions about pictures: no diffusion model.
    Answers,
    /// Everything: drawing and adapting, too.
    #[default]
    Everything,
}

impl Purpose {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Text => "text alone",
            Self::Answers => "answers",
            Self::Everything => "everything",
        }
    }
}

/// What happens while a model is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A file arrives from a hub.
    Download {
        /// Its name.
        file: &'a str,
        /// Bytes so far.
        done: u64,
        /// Bytes in all.
        total: u64,
    },
    /// The checksums of a part are compared.
    Verify {
        /// Field of `[weights]`.
        part: &'static str,
    },
}

/// Hears what happens while a model is opened.
pub(crate) type Listener<'a> = Box<dyn FnMut(Event) + Send + 'a>;

/// Where the base of a model comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// A shipped preset.
    Preset(String),
    /// The folder of a preset.
    Folder(PathBuf),
    /// A run's TOML file with `[model]` and `[weights]`; without them, on a preset's folder.
    RunFile(PathBuf, Option<PathBuf>),
    /// A result says itself what it is made of.
    Result,
}

/// A model that is about to be opened.
///
/// ```
/// # fn main() -> Result<(), deem::Error> {
/// let model = deem::Open::preset("tiny").purpose(deem::Purpose::Answers).load()?;
/// assert_eq!(model.name(), "tiny");
/// let Err(error) = deem::Open::named("tinny").load() else { unreachable!() };
/// assert!(error.to_string().contains("tinny"));
/// # Ok(())
/// # }
/// ```
pub struct Open<'a> {
    pub(crate) source: Source,
    pub(crate) result: Option<String>,
    pub(crate) overrides: Vec<String>,
    pub(crate) purpose: Purpose,
    pub(crate) offline: bool,
    pub(crate) listener: Listener<'a>,
    device: String,
    precision: Option<Precision>,
}

impl<'a> Open<'a> {
    fn of(source: Source, result: Option<String>) -> Self {
        Self {
            source,
            result,
            overrides: Vec::new(),
            purpose: Purpose::default(),
            offline: false,
            listener: Box::new(|_| {}),
            device: "cpu".into(),
            precision: None,
        }
    }

    /// A shipped preset.
    pub fn preset(name: &str) -> Self {
        Self::of(Source::Preset(name.into()), None)
    }

    /// The preset that lies in a folder.
    pub fn folder(folder: &Path) -> Self {
        Self::of(Source::Folder(folder.into()), None)
    }

    /// The `[model]` of a run's TOML file, of the weights that its `[weights]` names. A file without them
    /// concerns the preset in `preset`, or the shipped preset `tiny`.
    pub fn run_file(file: &Path, preset: Option<&Path>) -> Self {
        Self::of(
            Source::RunFile(file.into(), preset.map(Path::to_owned)),
            None,
        )
    }

    /// A model by any name: a run's directory, its `checkpoint`, a stage's directory, an exported folder, one of
    /// these on a hub (`hf://owner/name`), the folder or name of a preset, or a `.safetensors` file that
    /// describes itself or is complete.
    pub fn named(name: &str) -> Self {
        Self::of(Source::Result, Some(name.into()))
    }

    /// What a run has trained, by a name as for [`Self::named`]: instead of the preset's or the run file's own.
    #[must_use]
    pub fn trained(mut self, name: &str) -> Self {
        self.result = Some(name.into());
        self
    }

    /// Overrides fields of the preset, the run's file or the result's specification, as
    /// `model.image_size=128`.
    #[must_use]
    pub fn set(mut self, overrides: &[String]) -> Self {
        self.overrides.extend_from_slice(overrides);
        self
    }

    /// What it is opened for; default: everything.
    #[must_use]
    pub fn purpose(mut self, purpose: Purpose) -> Self {
        self.purpose = purpose;
        self
    }

    /// Uses no network.
    #[must_use]
    pub fn offline(mut self, offline: bool) -> Self {
        self.offline = offline;
        self
    }

    /// Where to compute (`cpu`, `cuda:N`, `wgpu:N`), and in which float type; default: what the device is made
    /// for.
    #[must_use]
    pub fn on(mut self, device: &str, precision: Option<Precision>) -> Self {
        self.device = device.into();
        self.precision = precision;
        self
    }

    /// Hears what happens meanwhile.
    #[must_use]
    pub fn listen(mut self, listener: impl FnMut(Event) + Send + 'a) -> Self {
        self.listener = Box::new(listener);
        self
    }

    /// Finds everything that the model is made of, without loading it.
    ///
    /// # Errors
    /// `NotFound`, `NoPreset`, `Part`, `Hub` for what is not there; `Incomplete`, `OtherBase`, `OtherModel` for
    /// what is not the model that was trained; `Engine` for a wrong configuration.
    pub fn find(self) -> Result<Parts, Error> {
        crate::resolve::find(self)
    }

    /// Loads the model, ready to be used.
    ///
    /// # Errors
    /// Those of [`Self::find`], of the device, and weights that do not fit.
    pub fn load(self) -> Result<Model, Error> {
        let compute = Compute::named(&self.device, self.precision)?;
        let parts = self.find()?;
        // Kernels for packed matrices are the CPU's, in 32 bits.
        let packed = compute.device == Device::flex() && compute.precision == Precision::F32;
        let network = parts.assemble_as(0, &compute.device, packed)?.no_grad();
        Model::new(&parts, network, compute)
    }
}
