//! What the options of all commands say.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use deem::{Connection, Event, Model, Open, Preset, Purpose, preset_folder};
use deem_engine::config::{ModelSpec, StageConfig};
use deem_engine::run_config::RunConfig;
use deem_engine::{Compute, Precision};
use deem_experiment::standins::StandIns;

use crate::args::ModelChoice;
use crate::progress::Progress;

/// The preset that serves unless another is named.
const PRESET: &str = "tiny";

/// Where `deem reproduce` leaves the model that feedback corrected.
const REPRODUCED: &str = "runs/reproduce/feedback/seed-1";

/// Which preset to use, and where to compute.
pub struct Setup {
    /// Name of the preset, if one was named.
    pub preset: Option<String>,
    /// Folder of the stand-ins, if not a shipped preset's.
    pub folder: Option<PathBuf>,
    /// Overrides of the preset or of the run's file.
    pub overrides: Vec<String>,
    /// Name of the device.
    pub device: String,
    /// Float type of activations; default: what the device is made for.
    pub precision: Option<Precision>,
}

impl Setup {
    /// The same preset as it is: where overrides concern another file.
    pub fn without_overrides(&self) -> Self {
        Self {
            preset: self.preset.clone(),
            folder: self.folder.clone(),
            overrides: Vec::new(),
            device: self.device.clone(),
            precision: self.precision,
        }
    }

    /// Opens the stand-ins, for what only making and studying them needs.
    pub fn open(&self) -> Result<StandIns> {
        Ok(StandIns::open(&self.preset_folder()?, &self.overrides)?)
    }

    /// The same with what was made anew in a folder that lies upon theirs.
    pub fn open_with(&self, overlay: &Path) -> Result<StandIns> {
        let (folder, overrides) = (self.preset_folder()?, &self.overrides);
        Ok(StandIns::with_overlay(&folder, overrides, overlay)?)
    }

    /// The folder of the preset.
    pub fn preset_folder(&self) -> Result<PathBuf> {
        match (&self.preset, &self.folder) {
            (None, Some(folder)) => Ok(folder.clone()),
            (name, _) => Ok(preset_folder(name.as_deref().unwrap_or(PRESET))?),
        }
    }

    /// The model and the stage of a run's file. Without `[model]` it concerns the preset.
    pub fn run(&self, file: &Path) -> Result<(ModelSpec, StageConfig)> {
        let run = RunConfig::read(file, &self.overrides)?;
        let spec = match (&run.model, run.max_tokens) {
            (Some(model), Some(max_tokens)) => ModelSpec {
                max_tokens,
                model: model.clone(),
            },
            (Some(_), None) => bail!("{}: [model] without max_tokens", file.display()),
            (None, _) => run.spec(&Preset::open(&self.preset_folder()?, &[])?.spec()),
        };
        Ok((spec, run.stage))
    }

    /// Looks for the device.
    pub fn compute(&self) -> Result<Compute> {
        Ok(Compute::named(&self.device, self.precision)?)
    }

    /// A model that is about to be opened: the run's file if there is one, else the preset; what `trained` names
    /// upon it.
    pub fn model(
        &self,
        config: Option<&Path>,
        trained: Option<&str>,
        offline: bool,
    ) -> Result<Open<'static>> {
        let open = match (config, &self.preset, &self.folder) {
            // A file with a model of its own needs no preset.
            (Some(file), None, None) => Open::run_file(file, None),
            (Some(file), _, _) => Open::run_file(file, Some(&self.preset_folder()?)),
            (None, None, Some(folder)) => Open::folder(folder),
            (None, name, _) => Open::preset(name.as_deref().unwrap_or(PRESET)),
        };
        let open = match trained {
            Some(name) => open.trained(name),
            None => open,
        };
        Ok(open
            .set(&self.overrides)
            .offline(offline)
            .on(&self.device, self.precision)
            .listen(downloads()))
    }

    /// Loads the chosen model, and says what it cannot do yet.
    pub fn load(&self, choice: &ModelChoice, purpose: Purpose) -> Result<Model> {
        let reproduced = self.reproduced(choice);
        let trained = choice.model.as_deref().or(reproduced);
        let open = self.model(choice.config.as_deref(), trained, choice.offline)?;
        let model = open.purpose(purpose).load()?;
        match model.connection() {
            Connection::WarmStart => match &choice.model {
                Some(name) => eprintln!(
                    "note: {name} is no trained run; its warm start answers (`deem reproduce` and `deem train` train \
                     one)"
                ),
                None => eprintln!(
                    "note: no trained run found; using the warm start (`deem reproduce` trains one)"
                ),
            },
            Connection::Untrained => eprintln!(
                "note: what connects pictures to this language model is untrained (`deem pretrain connect` trains \
                 it for presets, its --install puts it there, --model names trained weights); text works"
            ),
            Connection::Trained => {}
        }
        Ok(model)
    }

    /// The result of `deem reproduce`, if it is of this preset and nothing else was chosen.
    fn reproduced(&self, choice: &ModelChoice) -> Option<&'static str> {
        let chosen = choice.model.is_some() || choice.config.is_some() || self.folder.is_some();
        let path = Path::new(REPRODUCED).join(deem::DESCRIPTION);
        if chosen || !self.overrides.is_empty() || !path.is_file() {
            return None;
        }
        let description = deem::Description::read(&path).ok()?;
        let preset = self.preset.as_deref().unwrap_or(PRESET);
        (description.name == preset).then_some(REPRODUCED)
    }
}

/// The folder of a file, from which relative paths in it start.
pub fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// Shows a bar for each file that arrives.
pub fn downloads() -> impl FnMut(Event) + Send {
    let mut bar: Option<(String, Progress)> = None;
    move |event: Event| {
        if let Event::Download { file, done, total } = event {
            if bar.as_ref().is_none_or(|(name, _)| name != file) {
                bar = Some((file.to_owned(), Progress::new(file, total)));
            }
            if let Some((_, bar)) = &mut bar {
                bar.set(done, "bytes");
            }
        }
    }
}
