//! Stand-ins that were made anew, put in place: into the folder that they lie upon, into another one of the same networks,
//! or with everything else into a new one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use deem_engine::EngineError;
use deem_engine::foundation::{CHECKSUMS, listed, recorded};
use deem_engine::run_config::Alternatives;
use deem_model::weights::WeightsFile;
use serde_json::{Value, json};

use super::overlay::{Overlay, beside, copy_whole, sources, write_whole};
use super::{CARD, EXPERIMENT, MODEL, PARTS, SAMPLES, StandIns, file_of};

impl StandIns {
    /// Puts what lies in the overlay into a folder of stand-ins, which then opens as exactly these: weights, scaling factor,
    /// model card, checksums. A new or empty folder gets everything. Each file appears whole or not at all, the list of
    /// checksums last. Returns the names of the files that were written; none if all were there.
    ///
    /// # Errors
    /// `File` naming what keeps the folder from opening as these stand-ins, `Weights` if a part of them is damaged, before
    /// anything is written; `Io` naming a file.
    pub fn install(&self, target: &Path) -> Result<Vec<String>, EngineError> {
        let overlay = self.overlay()?;
        if overlay.checksums().is_empty() && !overlay.folder().join(CARD).is_file() {
            return Err(EngineError::File {
                path: overlay.folder().join(CHECKSUMS),
                problem: "nothing has been made yet, expected a part or a card to install; `deem pretrain` makes them"
                    .into(),
            });
        }
        let target = std::path::absolute(target).map_err(EngineError::io(target))?;
        if target.join(EXPERIMENT).is_file() {
            return self.install_into(&target);
        }
        if is_empty(&target)? {
            return self.install_anew(&target);
        }
        Err(EngineError::File {
            path: target.join(EXPERIMENT),
            problem: "not there; it says how the stand-ins beside it are made, so this is no folder of stand-ins. Expected \
                      one, as a preset's, or a new or empty folder, which gets everything"
                .into(),
        })
    }

    /// Makes a folder of stand-ins, which appears whole or not at all.
    fn install_anew(&self, target: &Path) -> Result<Vec<String>, EngineError> {
        let files = self.configuration()?;
        let stage = beside(target, ".part");
        remove(&stage)?;
        fs::create_dir_all(&stage).map_err(EngineError::io(&stage))?;
        let filled = files
            .iter()
            .try_for_each(|name| copy_whole(&self.root.join(name), &stage.join(name)))
            .and_then(|()| self.install_into(&stage));
        let put = filled.and_then(|written| {
            if target.exists() {
                fs::remove_dir(target).map_err(EngineError::io(target))?;
            }
            fs::rename(&stage, target).map_err(EngineError::io(target))?;
            Ok(files.into_iter().chain(written).collect::<BTreeSet<_>>())
        });
        if put.is_err() {
            remove(&stage)?;
        }
        Ok(put?.into_iter().collect())
    }

    /// Names of the files that say what the stand-ins are, all of which must mean the same elsewhere.
    fn configuration(&self) -> Result<Vec<String>, EngineError> {
        let mut files = Vec::new();
        let failed = EngineError::io(&self.root);
        for entry in fs::read_dir(&self.root).map_err(failed)? {
            let entry = entry.map_err(EngineError::io(&self.root))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let toml = name.ends_with(".toml");
            if !entry.path().is_file() || !(toml || [CARD, SAMPLES].contains(&name.as_str())) {
                continue;
            }
            if toml {
                let path = entry.path();
                let text = fs::read_to_string(&path).map_err(EngineError::io(&path))?;
                let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
                    EngineError::Config(format!("{}: {error}", path.display()))
                })?;
                for field in ["extends", "shares"] {
                    if let Some(found) = table.get(field) {
                        return Err(EngineError::File {
                            path,
                            problem: format!(
                                "{field}: would mean another place in a new folder; expected a file that stands alone, \
                                 found {found}. Install into {} or into a copy of it that lies beside the same folders",
                                self.root.display()
                            ),
                        });
                    }
                }
            }
            files.push(name);
        }
        files.sort();
        Ok(files)
    }

    /// Fills a folder of stand-ins.
    fn install_into(&self, target: &Path) -> Result<Vec<String>, EngineError> {
        let overlay = self.overlay()?;
        let there = Self::open(target, &self.stated)?;
        self.check_networks(&there)?;
        self.check_sources(&there)?;
        let parts = self.parts_lacking(&there)?;
        let factor = self.preset.model.autoencoder.scaling_factor;
        let model = target.join(MODEL);
        let text = (factor != there.preset.model.autoencoder.scaling_factor)
            .then(|| with_scaling_factor(&model, factor))
            .transpose()?;

        let mut written = Vec::new();
        let mut sums = BTreeMap::new();
        for (part, path, sum) in parts {
            let name = file_of(part);
            let folder = target.join(part);
            fs::create_dir_all(&folder).map_err(EngineError::io(&folder))?;
            copy_whole(&path, &target.join(&name))?;
            written.push(name.clone());
            sums.insert(name, sum);
        }
        if let Some(text) = text {
            write_whole(&model, &text)?;
            written.push(MODEL.into());
        }
        for name in [CARD, SAMPLES] {
            let [own, theirs] = [overlay.folder(), target].map(|folder| folder.join(name));
            if own.is_file() && fs::read(&own).ok() != fs::read(&theirs).ok() {
                copy_whole(&own, &theirs)?;
                written.push(name.into());
            }
        }
        // Last: until then, weights that have changed are refused, and installing again mends that.
        if !sums.is_empty() {
            let list = target.join(CHECKSUMS);
            let mut all = recorded(&list)?;
            all.extend(sums);
            write_whole(&list, listed(&all))?;
            written.push(CHECKSUMS.into());
        }
        Ok(written)
    }

    /// The parts that another folder has not, or others, each verified, with their checksums.
    fn parts_lacking(
        &self,
        there: &Self,
    ) -> Result<Vec<(&'static str, PathBuf, String)>, EngineError> {
        let mut lacking = Vec::new();
        for part in PARTS {
            match (self.place(part), there.place(part)) {
                (None, None) => {}
                (None, Some((path, _))) => {
                    return Err(EngineError::File {
                        path,
                        problem: format!(
                            "a part that {} has not; what is installed would become another model beside it. Remove it \
                             and its line in {CHECKSUMS}, or make and install with `--standins {}`",
                            self.root.display(),
                            there.root.display()
                        ),
                    });
                }
                (Some((_, own)), Some((path, theirs))) if own == theirs && path.is_file() => {}
                (Some((path, sum)), _) => {
                    WeightsFile::open_verified(&path, sum)?;
                    lacking.push((part, path, sum.to_owned()));
                }
            }
        }
        Ok(lacking)
    }

    fn check_networks(&self, there: &Self) -> Result<(), EngineError> {
        let (own, theirs) = (self.networks(), there.networks());
        let differs = own
            .iter()
            .find(|(field, own)| theirs.get(*field) != Some(*own));
        let Some((field, _)) = differs else {
            return Ok(());
        };
        let of_preset = field.starts_with("model.") || field == "max_tokens";
        let file = if of_preset { MODEL } else { EXPERIMENT };
        Err(EngineError::File {
            path: there.root.join(file),
            problem: format!(
                "{field}: expected what {} has with the same --set, whose stand-ins fit no other networks; install into a \
                 copy of it, or into a new folder",
                self.root.join(file).display()
            ),
        })
    }

    /// What weights must fit, by field.
    fn networks(&self) -> BTreeMap<String, Value> {
        let mut model = self.preset.model.clone();
        // Comes with the autoencoder.
        model.autoencoder.scaling_factor = 1.0;
        let experiment = &self.experiment;
        let mut fields = BTreeMap::from([
            ("max_tokens".to_owned(), json!(self.preset.max_tokens)),
            ("miner".to_owned(), json!(experiment.miner)),
            ("clip_text".to_owned(), json!(experiment.clip_text)),
            (
                "diffusion_text".to_owned(),
                json!(experiment.diffusion_text),
            ),
        ]);
        if let Value::Object(model) = json!(model) {
            let model = model.into_iter();
            fields.extend(model.map(|(field, value)| (format!("model.{field}"), value)));
        }
        fields
    }

    /// Checks that a part which lies beside one preset lies beside the other, and elsewhere in the same place.
    fn check_sources(&self, there: &Self) -> Result<(), EngineError> {
        let theirs = sources(&there.preset.weights);
        for ((field, own), (_, theirs)) in sources(&self.preset.weights).into_iter().zip(theirs) {
            let (own, theirs) = (self.meaning(own), there.meaning(theirs));
            if own != theirs {
                return Err(EngineError::File {
                    path: there.root.join(MODEL),
                    problem: format!(
                        "weights.{field}: expected [{}], as {} has it, found [{}]: what is installed here would not be what \
                         is opened",
                        own.join(", "),
                        self.root.display(),
                        theirs.join(", ")
                    ),
                });
            }
        }
        Ok(())
    }

    /// Names of `[weights]`, the same from everywhere: seen from the folder what lies in it, else from the root on.
    fn meaning(&self, names: Option<&Alternatives>) -> Vec<String> {
        let overlay = self.overlay.as_ref().map(Overlay::folder);
        let folders = || overlay.into_iter().chain([self.root()]);
        let names = names.map_or(&[][..], Alternatives::names);
        let same = names.iter().map(|name| {
            let path = Path::new(name);
            let mut inside = folders().filter_map(|folder| path.strip_prefix(folder).ok());
            match inside.find(|below| !below.starts_with("..")) {
                Some(below) => format!("./{}", below.display()),
                None => path
                    .canonicalize()
                    .map_or_else(|_| name.clone(), |path| path.display().to_string()),
            }
        });
        same.collect()
    }
}

/// A folder that does not exist is empty, too.
fn is_empty(folder: &Path) -> Result<bool, EngineError> {
    match fs::read_dir(folder) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(EngineError::io(folder)(error)),
    }
}

fn remove(folder: &Path) -> Result<(), EngineError> {
    if folder.exists() {
        fs::remove_dir_all(folder).map_err(EngineError::io(folder))?;
    }
    Ok(())
}

/// The text of a `model.toml` with the autoencoder's scaling factor, and the rest as it is.
fn with_scaling_factor(path: &Path, factor: f64) -> Result<String, EngineError> {
    let text = fs::read_to_string(path).map_err(EngineError::io(path))?;
    let mut found = false;
    let lines: Vec<String> = text
        .lines()
        .map(|line| {
            if line.starts_with("scaling_factor") && !found {
                found = true;
                let factor = toml::Value::from(factor);
                format!("scaling_factor = {factor}   # set by `deem pretrain autoencoder`")
            } else {
                line.to_owned()
            }
        })
        .collect();
    if !found {
        return Err(EngineError::File {
            path: path.into(),
            problem: format!(
                "expected a line `scaling_factor = …` in [model.autoencoder], to become that of the autoencoder that is \
                 installed, {factor}"
            ),
        });
    }
    Ok(lines.join("\n") + "\n")
}
