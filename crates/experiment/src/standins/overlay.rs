//! Stand-ins made anew, in a folder that lies upon another one and holds nothing else:
//!
//! ```text
//! runs/pretrain/standins/
//!   model.toml                     name of the preset they belong to, scaling factor of the autoencoder made anew
//!   SHA256SUMS                     checksum of every weights file; what it does not list is not there
//!   clip/model.safetensors, …      as in a folder of stand-ins
//!   README.md                      model card with gates
//!   samples.png                    what the diffusion model draws
//! ```

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use deem::Preset;
use deem_engine::foundation::{CHECKSUMS, listed, recorded};
use deem_engine::run_config::{Alternatives, WeightSources};
use deem_engine::{EngineError, config};
use deem_model::autoencoder::Autoencoder;
use deem_model::component::Component;
use deem_model::deem::Deem;
use deem_model::weights::{self, Dtype, StateTensor, WeightsFile, state};
use image::{ImageFormat, RgbImage};
use serde::Deserialize;

use super::networks::{PYRAMID, public_clip_key};
use super::{CARD, MODEL, PARTS, SAMPLES, StandIns, file_of};
use crate::pretrain::Clip;

/// What was made anew, in a folder that need not exist yet.
#[derive(Clone, Debug)]
pub(super) struct Overlay {
    folder: PathBuf,
    checksums: BTreeMap<String, String>,
    record: Option<Record>,
}

/// What an overlay says of the model: the fields of a preset that tell which it is, or were measured.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    /// Name of the preset.
    name: String,
    /// There once an autoencoder is.
    model: Option<Measured>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Measured {
    autoencoder: Latents,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Latents {
    scaling_factor: f64,
}

impl Record {
    fn scaling_factor(&self) -> Option<f64> {
        Some(self.model.as_ref()?.autoencoder.scaling_factor)
    }

    fn to_toml(&self) -> String {
        let name = toml::Value::from(self.name.as_str());
        let mut text = format!(
            "# Of the preset of this name, what `deem pretrain` made anew; `deem pretrain --install DIR` puts it in place.\n\
             name = {name}\n"
        );
        if let Some(factor) = self.scaling_factor() {
            let factor = toml::Value::from(factor);
            text.push_str(&format!(
                "\n[model.autoencoder]\nscaling_factor = {factor}\n"
            ));
        }
        text
    }
}

impl Overlay {
    pub(super) fn open(folder: &Path) -> Result<Self, EngineError> {
        let record = folder.join(MODEL);
        let record = record
            .is_file()
            .then(|| config::read(&record, &[]))
            .transpose()?;
        Ok(Self {
            folder: folder.into(),
            checksums: recorded(&folder.join(CHECKSUMS))?,
            record,
        })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn checksums(&self) -> &BTreeMap<String, String> {
        &self.checksums
    }

    /// Whether a part was made anew.
    pub(super) fn has(&self, part: &str) -> bool {
        self.checksums.contains_key(&file_of(part))
    }

    /// Overrides of the preset in `root` with what was made anew: its scaling factor, which `stated` may override, and in
    /// place of every part that lies beside the preset the one that lies here.
    ///
    /// # Errors
    /// `File` if this was made upon another preset, or does not say upon which.
    pub(super) fn overrides(
        &self,
        root: &Path,
        preset: &Preset,
        stated: Vec<String>,
    ) -> Result<Vec<String>, EngineError> {
        let wrong = |problem| EngineError::File {
            path: self.folder.join(MODEL),
            problem,
        };
        let Some(record) = &self.record else {
            return match self.checksums.is_empty() {
                true => Ok(stated),
                false => Err(wrong(format!(
                    "not there; expected the name of the preset whose parts {CHECKSUMS} lists, and their scaling factor; \
                     choose another --output, or delete the folder and make the parts again"
                ))),
            };
        };
        if record.name != preset.name {
            return Err(wrong(format!(
                "name: stand-ins of the preset {:?} were made here, expected those of {:?}; choose another --output",
                record.name, preset.name
            )));
        }
        let factor = record
            .scaling_factor()
            .filter(|_| self.has("autoencoder"))
            .map(toml::Value::from)
            .map(|factor| format!("model.autoencoder.scaling_factor={factor}"));
        let places = sources(&preset.weights)
            .into_iter()
            .filter_map(|(field, names)| {
                let here = self.in_place_of(root, names?)?;
                Some(format!("weights.{field}={here}"))
            });
        Ok(factor.into_iter().chain(stated).chain(places).collect())
    }

    /// Writes which preset this belongs to, and the scaling factor if it is known.
    fn write_record(&self, name: &str, factor: Option<f64>) -> Result<(), EngineError> {
        let known = self.record.as_ref().and_then(Record::scaling_factor);
        let record = Record {
            name: name.into(),
            model: factor.or(known).map(|scaling_factor| Measured {
                autoencoder: Latents { scaling_factor },
            }),
        };
        if self.record.as_ref() == Some(&record) {
            return Ok(());
        }
        write_whole(&self.folder.join(MODEL), record.to_toml())
    }

    /// Names of which those beside the preset are replaced by what was made anew; nothing if there are none.
    fn in_place_of(&self, root: &Path, names: &Alternatives) -> Option<toml::Value> {
        let here = |name: &String| {
            let below = Path::new(name).strip_prefix(root).ok()?;
            // The diffusion model is the folder itself; both its parts lie here if one does.
            let made = match below.to_str()? {
                "" => LATENT.iter().any(|part| self.has(part)),
                part => self.has(part),
            };
            made.then(|| self.folder.join(below).display().to_string())
        };
        let names = names.names();
        names.iter().any(|name| here(name).is_some()).then(|| {
            let names = names.iter();
            let names: Vec<String> = names
                .map(|name| here(name).unwrap_or_else(|| name.clone()))
                .collect();
            toml::Value::from(names)
        })
    }
}

/// A denoiser and the latent space it was made for, which a model finds in one folder.
const LATENT: [&str; 2] = ["autoencoder", "unet"];

/// The fields of `[weights]` that name parts.
pub(super) fn sources(weights: &WeightSources) -> [(&'static str, Option<&Alternatives>); 5] {
    [
        ("vision", Some(&weights.vision)),
        ("llama", Some(&weights.llama)),
        ("tokenizer", weights.tokenizer.as_ref()),
        ("diffusion", Some(&weights.diffusion)),
        ("trained", weights.trained.as_ref()),
    ]
}

impl StandIns {
    /// Writes a part's weights in half precision into the overlay and records their checksum there.
    ///
    /// # Errors
    /// `Io` or `Weights` naming the file; `Config` without an overlay.
    pub fn save(&mut self, part: &str, tensors: &[StateTensor]) -> Result<(), EngineError> {
        self.keep(part, tensors, None)
    }

    /// Saves an autoencoder with the scaling factor that gives its latents unit variance.
    ///
    /// # Errors
    /// Those of [`Self::save`].
    pub fn save_autoencoder(
        &mut self,
        model: &Autoencoder,
        scaling_factor: f64,
    ) -> Result<(), EngineError> {
        // As many digits as a reader of model.toml cares for.
        let scaling_factor = (scaling_factor * 1e5).round() / 1e5;
        self.keep("autoencoder", &state(model), Some(scaling_factor))
    }

    /// Saves a contrastive stand-in under public keys, without the pyramid, which it does not train.
    ///
    /// # Errors
    /// Those of [`Self::save`].
    pub fn save_clip(&mut self, part: &str, clip: &Clip) -> Result<(), EngineError> {
        let tensors: Vec<StateTensor> = state(clip)
            .into_iter()
            .filter(|tensor| !PYRAMID.iter().any(|part| tensor.name.starts_with(part)))
            .map(|tensor| StateTensor {
                name: public_clip_key(&tensor.name),
                ..tensor
            })
            .collect();
        self.save(part, &tensors)
    }

    /// Saves what connects the parts of a model, and what else the warm start trained: all that `trained`, the weights
    /// of its last phase, holds.
    ///
    /// # Errors
    /// Those of [`Self::save`], and of a file that does not hold weights.
    pub fn save_connected(
        &mut self,
        model: &Deem,
        trained: Option<&Path>,
    ) -> Result<(), EngineError> {
        let trained = trained.map(WeightsFile::open).transpose()?;
        let is_trained = |name: &str| {
            trained
                .as_ref()
                .is_some_and(|file| file.shape(name).is_some())
        };
        let connects = |name: &str| Component::of(name).is_some_and(Component::is_carried);
        let tensors: Vec<StateTensor> = state(model)
            .into_iter()
            .filter(|tensor| connects(&tensor.name) || is_trained(&tensor.name))
            .collect();
        self.save("connect", &tensors)
    }

    /// The model card: the overlay's, else the folder's; empty if there is none.
    pub fn card(&self) -> String {
        let overlay = self.overlay.as_ref().map(|overlay| overlay.folder());
        let mut folders = overlay.into_iter().chain([self.root()]);
        let found = folders.find_map(|folder| fs::read_to_string(folder.join(CARD)).ok());
        found.unwrap_or_default()
    }

    /// Writes the model card into the overlay.
    ///
    /// # Errors
    /// `Io` naming the file; `Config` without an overlay.
    pub fn save_card(&self, text: &str) -> Result<(), EngineError> {
        self.put(CARD, text.as_bytes())?;
        Ok(())
    }

    /// Puts a sheet of what the diffusion model draws beside the overlay's card, and returns its place.
    ///
    /// # Errors
    /// `Io` naming the file; `Config` without an overlay.
    pub fn save_samples(&self, sheet: &RgbImage) -> Result<PathBuf, EngineError> {
        let mut png = std::io::Cursor::new(Vec::new());
        sheet
            .write_to(&mut png, ImageFormat::Png)
            .map_err(|error| EngineError::io(Path::new(SAMPLES))(std::io::Error::other(error)))?;
        self.put(SAMPLES, png.get_ref())
    }

    /// Writes a file of the overlay that is no part, and returns its place.
    fn put(&self, name: &str, content: &[u8]) -> Result<PathBuf, EngineError> {
        let folder = self.overlay()?.folder();
        fs::create_dir_all(folder).map_err(EngineError::io(folder))?;
        Overlay::open(folder)?.write_record(&self.preset.name, None)?;
        let path = folder.join(name);
        write_whole(&path, content)?;
        Ok(path)
    }

    /// Names of the parts that lie in the overlay.
    pub fn made(&self) -> Vec<&'static str> {
        let overlay = self.overlay.as_ref();
        let parts = PARTS.into_iter();
        parts
            .filter(|part| overlay.is_some_and(|overlay| overlay.has(part)))
            .collect()
    }

    pub(super) fn overlay(&self) -> Result<&Overlay, EngineError> {
        self.overlay.as_ref().ok_or_else(|| {
            EngineError::Config(format!(
                "{}: stand-ins are never written into their folder while they are made; open them with an overlay",
                self.root.display()
            ))
        })
    }

    fn keep(
        &mut self,
        part: &str,
        tensors: &[StateTensor],
        mut factor: Option<f64>,
    ) -> Result<(), EngineError> {
        let folder = self.overlay()?.folder().to_owned();
        // Another process may have made another part since.
        let overlay = Overlay::open(&folder)?;
        let at = |part: &str| {
            let below = folder.join(part);
            fs::create_dir_all(&below).map_err(EngineError::io(&below))?;
            Ok::<_, EngineError>(folder.join(file_of(part)))
        };
        let mut made = BTreeMap::new();
        let other = LATENT.into_iter().find(|other| *other != part);
        let other = other.filter(|other| LATENT.contains(&part) && !overlay.has(other));
        if let Some((other, (from, sum))) =
            other.and_then(|other| Some((other, self.place(other)?)))
        {
            WeightsFile::open_verified(&from, sum)?;
            copy_whole(&from, &at(other)?)?;
            made.insert(file_of(other), sum.to_owned());
            if other == "autoencoder" {
                factor = Some(self.preset.model.autoencoder.scaling_factor);
            }
        }
        let path = at(part)?;
        weights::write(tensors, &path, Dtype::F16, HashMap::new())?;
        made.insert(file_of(part), WeightsFile::open(&path)?.checksum());

        overlay.write_record(&self.preset.name, factor)?;
        // Last: what is not listed is not there, and what is listed otherwise is refused.
        let list = folder.join(CHECKSUMS);
        let mut sums = recorded(&list)?;
        sums.extend(made);
        write_whole(&list, listed(&sums))?;
        *self = Self::with_overlay(&self.root, &self.stated, &folder)?;
        Ok(())
    }
}

/// Writes a file, which appears whole or not at all.
pub(super) fn write_whole(path: &Path, content: impl AsRef<[u8]>) -> Result<(), EngineError> {
    appear(path, |part| {
        let mut file = File::create(part)?;
        file.write_all(content.as_ref())?;
        file.sync_all()
    })
}

/// Copies a file; the copy appears whole or not at all.
pub(super) fn copy_whole(from: &Path, to: &Path) -> Result<(), EngineError> {
    appear(to, |part| {
        let mut file = File::create(part)?;
        std::io::copy(&mut File::open(from)?, &mut file)?;
        file.sync_all()
    })
}

fn appear(
    path: &Path,
    write: impl FnOnce(&Path) -> std::io::Result<()>,
) -> Result<(), EngineError> {
    let part = beside(path, ".part");
    let written = write(&part).and_then(|()| fs::rename(&part, path));
    if written.is_err() {
        let _ = fs::remove_file(&part);
    }
    written.map_err(EngineError::io(path))
}

/// The same path with more at its end.
pub(super) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}
