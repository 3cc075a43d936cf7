//! Presets: models that ship with their configuration, each a folder of `assets/standins`.
//!
//! ```text
//! assets/standins/<name>/
//!   model.toml         what the model is, and where its parts lie
//!   SHA256SUMS         checksum of every weights file
//!   clip/, llm/, …     the parts
//! ```

use std::path::{Path, PathBuf};

use deem_engine::config::{self, ModelSpec};
use deem_engine::run_config::WeightSources;
use deem_model::deem::DeemConfig;
use serde::{Deserialize, Serialize};

use crate::Error;

/// Name of a preset's file.
const FILE: &str = "model.toml";

/// A model's specification: its networks, and where the weights of its parts lie.
///
/// ```
/// # fn main() -> Result<(), deem::Error> {
/// let preset = deem::Preset::open(&deem::preset_folder("tiny")?, &["max_tokens=99".into()])?;
/// assert_eq!((preset.name.as_str(), preset.max_tokens), ("tiny", 99));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preset {
    /// Name, for reports.
    pub name: String,
    /// Longest sequence in tokens.
    pub max_tokens: usize,
    /// Where its parts lie. What begins with `./` or `../` lies beside the preset.
    pub weights: WeightSources,
    /// The networks.
    pub model: DeemConfig,
}

impl Preset {
    /// Fields of a preset's file: overrides of others belong elsewhere.
    pub const FIELDS: [&str; 4] = ["name", "max_tokens", "weights", "model"];

    /// Reads the preset of a folder, with overrides as `model.image_size=128`. Its parts need not be there.
    ///
    /// # Errors
    /// `NoPreset` if the folder is none, `Engine` naming a field that is wrong.
    pub fn open(folder: &Path, overrides: &[String]) -> Result<Self, Error> {
        let file = folder.join(FILE);
        if !file.is_file() {
            return Err(Error::NoPreset {
                name: folder.display().to_string(),
                known: preset_names(),
                file,
            });
        }
        Ok(config::read(&file, overrides)?)
    }

    /// The networks, and how long a sequence they read.
    pub fn spec(&self) -> ModelSpec {
        ModelSpec {
            max_tokens: self.max_tokens,
            model: self.model.clone(),
        }
    }
}

/// The folder of a shipped preset: `$DEEM_ASSETS/standins/<name>`, or the same below `assets` in the current
/// folder, beside the program, in `../share/deem` from there, or in the source tree.
///
/// # Errors
/// `NoPreset` listing those that exist; `File` if `DEEM_ASSETS` names a folder without presets.
pub fn preset_folder(name: &str) -> Result<PathBuf, Error> {
    if let Some(stated) = stated()
        && !stated.join("standins").is_dir()
    {
        return Err(Error::file(
            &stated,
            "DEEM_ASSETS: expected the folder `assets` of deem's sources, or a copy of it; it has no folder `standins`",
        ));
    }
    let plain = !name.is_empty() && !name.contains(['/', '\\']) && !name.starts_with('.');
    let places = roots().into_iter().map(|root| root.join(name));
    let found = places
        .into_iter()
        .find(|folder| folder.join(FILE).is_file());
    found.filter(|_| plain).ok_or_else(|| Error::NoPreset {
        name: name.into(),
        known: preset_names(),
        file: roots()[0].join(name).join(FILE),
    })
}

/// Names of the shipped presets.
pub fn preset_names() -> Vec<String> {
    let entries = roots()
        .into_iter()
        .filter_map(|root| std::fs::read_dir(root).ok());
    let mut names: Vec<String> = entries
        .flatten()
        .flatten()
        .filter(|entry| entry.path().join(FILE).is_file())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names.dedup();
    names
}

/// What `DEEM_ASSETS` says.
fn stated() -> Option<PathBuf> {
    let stated = std::env::var_os("DEEM_ASSETS").filter(|stated| !stated.is_empty());
    stated.map(PathBuf::from)
}

/// Folders of presets, the first that has one first: where `DEEM_ASSETS` says, below the current folder, beside the
/// program or where it is installed, in the source tree it was built from.
pub(crate) fn roots() -> Vec<PathBuf> {
    let program = std::env::current_exe().ok();
    let program = program.as_deref().and_then(Path::parent);
    let installed = program.map(|folder| [folder.join("assets"), folder.join("../share/deem")]);
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets");
    let assets = stated().into_iter().chain(["assets".into()]);
    let assets = assets
        .chain(installed.into_iter().flatten())
        .chain([source]);
    assets.map(|assets| assets.join("standins")).collect()
}
