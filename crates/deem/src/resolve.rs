//! From what was asked for to the parts of a model: the one place where names of models are understood.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use deem_engine::EngineError;
use deem_engine::config::ModelSpec;
use deem_engine::run_config::{Alternatives, RunConfig, WeightSources};
use deem_engine::train::parameters::list;
use deem_model::component::DRAWING;
use deem_model::deem::Deem;
use deem_model::weights::WeightsFile;
use serde_json::Value;

use crate::description::{Description, Part, Progress, RESULT};
use crate::fingerprint::fingerprint;
use crate::open::{Listener, Source};
use crate::parts::{BUILT_IN, Found};
use crate::result::{RunResult, look};
use crate::{Error, Event, Locator, Open, Parts, Preset, Purpose, preset_folder};

pub(crate) fn find(open: Open) -> Result<Parts, Error> {
    let mut finder = Finder {
        overrides: open.overrides,
        purpose: open.purpose,
        offline: open.offline,
        listener: open.listener,
    };
    let result = open.result.as_deref();
    match open.source {
        Source::Result => finder.named(result.unwrap_or_default(), None),
        Source::Preset(name) => {
            let folder = preset_folder(&name);
            match result {
                // What describes itself needs no preset.
                Some(name) => finder.named(name, folder.ok().map(Place::Default)),
                None => finder.preset(&folder?),
            }
        }
        Source::Folder(folder) => match result {
            Some(name) => finder.named(name, Some(Place::Stated(folder))),
            None => finder.preset(&folder),
        },
        Source::RunFile(file, preset) => finder.run_file(&file, preset, result),
    }
}

/// Where the base of a result is looked for, beside where the result says.
enum Place {
    /// A preset that serves for results that say nothing.
    Default(PathBuf),
    /// A preset that is to be used.
    Stated(PathBuf),
}

struct Finder<'a> {
    overrides: Vec<String>,
    purpose: Purpose,
    offline: bool,
    listener: Listener<'a>,
}

impl Finder<'_> {
    /// A model by any name.
    fn named(&mut self, name: &str, place: Option<Place>) -> Result<Parts, Error> {
        let mut tried = Vec::new();
        let path = if name.starts_with("hf://") {
            self.locator(&[]).one(name, &RESULT, &mut *self.listener)?
        } else {
            PathBuf::from(name)
        };
        if let Some(result) = look(&path, &mut tried)? {
            return match (&result.description, place) {
                (Some(_), Some(Place::Stated(folder))) => {
                    let preset = Preset::open(&folder, &[])?;
                    let base = self.base(&preset.name, &preset.spec(), &preset.weights)?;
                    self.upon(base, result)
                }
                (Some(_), _) => self.described(result),
                (None, Some(Place::Default(folder) | Place::Stated(folder))) => {
                    let base = self.preset_base(&folder)?;
                    self.upon(base, result)
                }
                (None, None) => Err(undescribed(&result.weights)),
            };
        }
        if path.join("model.toml").is_file() {
            return self.preset(&path);
        }
        match preset_folder(name) {
            Ok(folder) => self.preset(&folder),
            Err(error) => {
                tried.push(error.to_string());
                Err(Error::NotFound {
                    name: name.into(),
                    tried,
                })
            }
        }
    }

    /// A preset, with what connects its parts if that has been made.
    fn preset(&mut self, folder: &Path) -> Result<Parts, Error> {
        self.preset_base(folder)
    }

    fn preset_base(&mut self, folder: &Path) -> Result<Parts, Error> {
        let preset = Preset::open(folder, &self.overrides)?;
        let spec = preset.spec();
        let valid = spec.model.validate();
        valid.map_err(|error| EngineError::Config(format!("{}: {error}", folder.display())))?;
        self.base(&preset.name, &spec, &preset.weights)
    }

    /// What a run's file describes.
    fn run_file(
        &mut self,
        file: &Path,
        preset: Option<PathBuf>,
        result: Option<&str>,
    ) -> Result<Parts, Error> {
        let run = RunConfig::read(file, &self.overrides)?;
        let Some(model) = &run.model else {
            let folder = preset.map_or_else(|| preset_folder("tiny"), Ok)?;
            let preset = Preset::open(&folder, &[])?;
            let spec = run.spec(&preset.spec());
            return match result {
                Some(name) => {
                    let overrides = std::mem::take(&mut self.overrides);
                    let found = self.named(name, Some(Place::Default(folder)));
                    self.overrides = overrides;
                    let max_tokens = run.max_tokens;
                    found.map(|mut parts| {
                        parts.spec.max_tokens = max_tokens.unwrap_or(parts.spec.max_tokens);
                        parts
                    })
                }
                None => self.base(&preset.name, &spec, &preset.weights),
            };
        };
        let wrong = |problem: &str| Error::file(file, problem);
        let weights = run.weights.as_ref().ok_or_else(|| {
            wrong(
                "[model] without [weights]: say where its weights come from (docs/checkpoints.md)",
            )
        })?;
        let max_tokens = run.max_tokens.ok_or_else(|| {
            wrong("[model] without max_tokens: say how long a sequence the model reads, in tokens")
        })?;
        let spec = ModelSpec {
            max_tokens,
            model: model.clone(),
        };
        let name = file.file_stem().unwrap_or_default().to_string_lossy();
        let names = WeightSources {
            trained: None,
            ..weights.clone()
        };
        let base = self.base(&name, &spec, &names)?;
        let stated = result.map(|name| Alternatives::One(name.into()));
        let stated = stated.as_ref().or(weights.trained.as_ref());
        match stated.filter(|names| !names.names().is_empty()) {
            Some(names) => {
                let result = self.result(names, &weights.mirrors)?;
                self.upon(base, result)
            }
            None => Ok(base),
        }
    }

    /// The first of several results that is there.
    fn result(&mut self, names: &Alternatives, mirrors: &[String]) -> Result<RunResult, Error> {
        let mut tried = Vec::new();
        for name in names.names() {
            let path = if name.starts_with("hf://") {
                match self
                    .locator(mirrors)
                    .one(name, &RESULT, &mut *self.listener)
                {
                    Ok(path) => path,
                    Err(error) => {
                        tried.push(error.to_string());
                        continue;
                    }
                }
            } else {
                PathBuf::from(name)
            };
            if let Some(result) = look(&path, &mut tried)? {
                return Ok(result);
            }
        }
        Err(Error::NotFound {
            name: names.names().join(", "),
            tried,
        })
    }

    /// A result that says what it is made of.
    fn described(&mut self, result: RunResult) -> Result<Parts, Error> {
        let Some((path, description)) = result.description else {
            return Err(undescribed(&result.weights));
        };
        let mut parts = Parts {
            name: description.name.clone(),
            spec: description.spec_with(&self.overrides, &path)?,
            purpose: self.purpose,
            base: Vec::new(),
            weights: Some(result.weights.clone()),
            trained: description.trained.clone(),
        };
        if description.whole {
            parts.base.push(whole(&result.weights));
            parts.weights = None;
            return Ok(parts);
        }
        check_complete(&result.weights, &description)?;
        let locator = self.locator(&[]);
        for base in &description.base {
            if !self.needs(base.part) {
                continue;
            }
            let found = self.locate(&locator, base.part, &Alternatives::One(base.name.clone()))?;
            self.verify(&path, &description, &found)?;
            parts.base.push(found);
        }
        Ok(parts)
    }

    /// A result upon parts that were found elsewhere.
    fn upon(&mut self, mut parts: Parts, result: RunResult) -> Result<Parts, Error> {
        match &result.description {
            Some((path, description)) if description.whole => {
                check_networks(path, description, &parts.spec)?;
                parts.base = vec![whole(&result.weights)];
                parts.trained = description.trained.clone();
                return Ok(parts);
            }
            Some((path, description)) => {
                check_networks(path, description, &parts.spec)?;
                check_complete(&result.weights, description)?;
                for found in &parts.base.clone() {
                    self.verify(path, description, found)?;
                }
                // What connected the parts may be known to the result alone.
                let connection = description
                    .base
                    .iter()
                    .find(|base| base.part == Part::Trained);
                let known = parts.base.iter().any(|found| found.part == Part::Trained);
                if let Some(base) = connection.filter(|_| !known) {
                    let locator = self.locator(&[]);
                    let names = Alternatives::One(base.name.clone());
                    let found = self.locate(&locator, base.part, &names)?;
                    self.verify(path, description, &found)?;
                    parts.base.push(found);
                }
                parts.trained = description.trained.clone();
            }
            None => parts.trained = self.proven(&result.weights, &parts.spec)?,
        }
        parts.weights = Some(result.weights);
        Ok(parts)
    }

    /// Shows that weights which say nothing are all that this purpose needs.
    fn proven(&self, path: &Path, spec: &ModelSpec) -> Result<Progress, Error> {
        let file = WeightsFile::open(path)?;
        let keys: BTreeSet<&str> = file.keys().collect();
        let drawing = |name: &str| DRAWING.iter().any(|part| name.starts_with(part));
        let draws = self.purpose == Purpose::Everything;
        let expected: Vec<String> = parameters(spec)?
            .into_iter()
            .filter(|name| draws || !drawing(name))
            .collect();
        let missing: Vec<String> = expected
            .iter()
            .filter(|name| !keys.contains(name.as_str()))
            .cloned()
            .collect();
        if missing.is_empty() {
            return Ok(Progress::default().after("unknown", expected));
        }
        Err(Error::Incomplete {
            path: path.into(),
            missing,
            of: expected.len(),
            remedy: "There is no model.json that says what was trained before, so all of them are expected here; \
                     open the run's directory instead, or train again with this version"
                .into(),
        })
    }

    /// Finds the parts of `[weights]` that the purpose needs.
    fn base(
        &mut self,
        name: &str,
        spec: &ModelSpec,
        weights: &WeightSources,
    ) -> Result<Parts, Error> {
        let locator = self.locator(&weights.mirrors);
        let tokenizer = weights.tokenizer.as_ref().unwrap_or(&weights.llama);
        // What connects the parts may have to be made yet.
        let connection = weights.trained.as_ref();
        let connection = connection.filter(|names| names.names().iter().any(|n| exists(n)));
        let wanted = [
            (Part::Vision, Some(&weights.vision)),
            (Part::Llama, Some(&weights.llama)),
            (Part::Tokenizer, Some(tokenizer)),
            (Part::Diffusion, Some(&weights.diffusion)),
            (Part::Trained, connection),
        ];
        let mut base = Vec::new();
        for (part, names) in wanted {
            let Some(names) = names.filter(|_| self.needs(part)) else {
                continue;
            };
            let found = self.locate(&locator, part, names);
            base.push(found.map_err(|error| hinted(error, weights.hint.as_deref()))?);
        }
        Ok(Parts {
            name: name.into(),
            spec: spec.clone(),
            purpose: self.purpose,
            base,
            weights: None,
            trained: Progress::default(),
        })
    }

    fn locate(
        &mut self,
        locator: &Locator,
        part: Part,
        names: &Alternatives,
    ) -> Result<Found, Error> {
        if part == Part::Tokenizer && names.names() == [BUILT_IN] {
            return Ok(Found {
                part,
                name: BUILT_IN.into(),
                path: PathBuf::new(),
            });
        }
        let found = locator.first(part.name(), names, part.needs(), &mut *self.listener)?;
        Ok(Found {
            part,
            name: found.name,
            path: found.path,
        })
    }

    /// Checks that a part is the one that a result was trained on.
    fn verify(
        &mut self,
        path: &Path,
        description: &Description,
        found: &Found,
    ) -> Result<(), Error> {
        let base = description.base.iter().find(|base| base.part == found.part);
        let Some(base) = base.filter(|base| base.name != BUILT_IN) else {
            return Ok(());
        };
        (self.listener)(Event::Verify {
            part: found.part.name(),
        });
        let now = fingerprint(&found.path, found.part.needs())?;
        let differs = base
            .files
            .iter()
            .find(|(file, sum)| now.get(*file) != Some(*sum));
        match differs {
            None => Ok(()),
            Some((file, expected)) => Err(Error::OtherBase {
                description: path.into(),
                part: format!("{} ({})", found.part.name(), found.path.display()),
                file: file.clone(),
                expected: expected.clone(),
                found: now.get(file).cloned().unwrap_or_else(|| "nothing".into()),
            }),
        }
    }

    fn locator(&self, mirrors: &[String]) -> Locator {
        Locator::new(mirrors, self.offline)
    }

    /// Whether a part is needed for what the model is opened for.
    fn needs(&self, part: Part) -> bool {
        match part {
            Part::Vision => self.purpose > Purpose::Text,
            Part::Diffusion => self.purpose == Purpose::Everything,
            Part::Llama | Part::Tokenizer | Part::Trained | Part::Whole => true,
        }
    }
}

/// Paths of all parameters of a model.
pub(crate) fn parameters(spec: &ModelSpec) -> Result<Vec<String>, Error> {
    let model = Deem::new(&spec.model, &Device::flex());
    let model = model.map_err(|error| EngineError::Config(error.to_string()))?;
    Ok(list(&model).into_iter().map(|(path, ..)| path).collect())
}

/// Checks that weights hold everything that was trained.
fn check_complete(path: &Path, description: &Description) -> Result<(), Error> {
    let file = WeightsFile::open(path)?;
    let keys: BTreeSet<&str> = file.keys().collect();
    let trained = &description.trained.parameters;
    let missing: Vec<String> = trained
        .iter()
        .filter(|name| !keys.contains(name.as_str()))
        .cloned()
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Error::Incomplete {
        path: path.into(),
        missing,
        of: trained.len(),
        remedy: format!(
            "They were trained in {}; without them it would be another model. Train the last stage again from a \
             complete result of the stage before it",
            description.trained.stages.join(", ")
        ),
    })
}

/// Checks that a result was trained as the networks that a configuration describes; only picture sizes may
/// differ.
fn check_networks(path: &Path, description: &Description, spec: &ModelSpec) -> Result<(), Error> {
    let fields = |spec: &ModelSpec| serde_json::to_value(&spec.model).unwrap_or(Value::Null);
    let (then, now) = (fields(&description.spec), fields(spec));
    let free = ["image_size", "diffusion_size"];
    let differs = then.as_object().into_iter().flatten();
    let mut differs = differs.filter(|(name, value)| {
        !free.contains(&name.as_str()) && now.get(name.as_str()) != Some(*value)
    });
    match differs.next() {
        None => Ok(()),
        Some((name, _)) => Err(Error::OtherModel {
            description: path.into(),
            difference: format!("model.{name}"),
        }),
    }
}

/// An exported folder, given its weights.
fn whole(weights: &Path) -> Found {
    let folder = weights.parent().unwrap_or(Path::new("."));
    let place = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    Found {
        part: Part::Whole,
        name: place.display().to_string(),
        path: folder.into(),
    }
}

fn undescribed(weights: &Path) -> Error {
    Error::file(
        weights,
        "weights without a model.json that says what they are; open the run's directory or an exported folder, or \
         name the preset or the run's file that they belong to",
    )
}

/// Whether a name may be there: paths are looked at, other names must be tried.
fn exists(name: &str) -> bool {
    name.contains(':') || Path::new(name).exists()
}

fn hinted(error: Error, hint: Option<&str>) -> Error {
    match (error, hint) {
        (Error::Part { part, problem }, Some(hint)) => Error::Part {
            part,
            problem: format!("{problem}; {hint}"),
        },
        (error, _) => error,
    }
}
