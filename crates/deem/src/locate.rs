//! From names of weights to folders on this machine.

use std::path::{Path, PathBuf};

use deem_engine::foundation::Needs;
use deem_engine::run_config::Alternatives;
use deem_hub::{Hub, Repository, Wanted};
use deem_model::weights::indexed;

use crate::preset::{preset_folder, roots};
use crate::{Error, Event};

/// Begins the name of a part of a shipped preset, as `preset:tiny/clip`.
const PRESET: &str = "preset:";

/// Where weights are looked for.
#[derive(Clone, Debug)]
pub struct Locator {
    hub: Hub,
}

/// Weights that were found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// A name by which they are found from any folder of this machine.
    pub name: String,
    /// Where they lie: a folder, or a file.
    pub path: PathBuf,
}

impl Locator {
    /// This machine and the hub that the environment describes, `mirrors` asked after it; `offline` uses no
    /// network.
    pub fn new(mirrors: &[String], offline: bool) -> Self {
        Self {
            hub: Hub::from_env(mirrors).offline(offline),
        }
    }

    /// The first of several names that is there; downloads what is missing.
    ///
    /// # Errors
    /// `Part` with what each name lacks; `part` is the field of `[weights]` that it names.
    pub fn first(
        &self,
        part: &str,
        names: &Alternatives,
        needs: &Needs,
        tell: &mut dyn FnMut(Event),
    ) -> Result<Located, Error> {
        let mut causes = Vec::new();
        for name in names.names() {
            match self.one(name, needs, tell) {
                Ok(path) => {
                    return Ok(Located {
                        name: portable(name, &path),
                        path,
                    });
                }
                Err(error) => causes.push(error.to_string()),
            }
        }
        let problem = match causes.len() {
            0 => "no name given".into(),
            1 => causes.remove(0),
            _ => format!("none of these will do:\n- {}", causes.join("\n- ")),
        };
        Err(Error::Part {
            part: part.into(),
            problem,
        })
    }

    /// The folder or file that a name means.
    ///
    /// # Errors
    /// `File`, `Hub` or `NoPreset` with what is missing.
    pub fn one(
        &self,
        name: &str,
        needs: &Needs,
        tell: &mut dyn FnMut(Event),
    ) -> Result<PathBuf, Error> {
        if let Some(part) = name.strip_prefix(PRESET) {
            let (preset, part) = part.split_once('/').unwrap_or((part, ""));
            return local(&preset_folder(preset)?.join(part), needs);
        }
        let Some(repository) = Repository::parse(name)? else {
            return local(Path::new(name), needs);
        };
        let mut progress = |file: &str, done: u64, total: u64| {
            tell(Event::Download { file, done, total });
        };
        let wanted = Wanted {
            choose: &needs.choose,
            named: &indexed,
            expected: needs.expected,
        };
        Ok(self.hub.folder(&repository, &wanted, &mut progress)?)
    }
}

fn local(path: &Path, needs: &Needs) -> Result<PathBuf, Error> {
    if path.is_file() {
        return Ok(path.into());
    }
    if !path.is_dir() {
        return Err(Error::file(path, "not there"));
    }
    if (needs.choose)(&file_names(path, "")).is_empty() {
        return Err(Error::file(path, format!("expected {}", needs.expected)));
    }
    Ok(path.into())
}

/// A name that means the same from every folder: parts of shipped presets by the preset's name, other paths
/// from the root on.
fn portable(name: &str, path: &Path) -> String {
    if name.starts_with("hf://") || name.starts_with(PRESET) {
        return name.into();
    }
    let Ok(path) = path.canonicalize() else {
        return name.into();
    };
    for root in roots() {
        let below = root.canonicalize().ok();
        let below = below.and_then(|root| path.strip_prefix(root).map(Path::to_owned).ok());
        if let Some(below) = below {
            let parts: Vec<_> = below.iter().map(|part| part.to_string_lossy()).collect();
            return PRESET.to_owned() + &parts.join("/");
        }
    }
    path.display().to_string()
}

/// Names of the files of a folder, and of the folders in it.
pub(crate) fn file_names(folder: &Path, prefix: &str) -> Vec<String> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.path().is_file() {
            names.push(name);
        } else if prefix.is_empty() {
            names.extend(file_names(&entry.path(), &format!("{name}/")));
        }
    }
    names.sort();
    names
}
