//! Looking for a run's result at a path: a run's directory, its checkpoint, a stage's directory, an exported
//! folder, a file of weights.

use std::path::{Path, PathBuf};

use deem_model::weights::weight_files;

use crate::Error;
use crate::description::{DESCRIPTION, Description};
use crate::locate::file_names;

/// Folders of a run that hold weights, best first; the second is left if the program was ended at the wrong
/// moment.
const CHECKPOINTS: [&str; 2] = ["checkpoint", "checkpoint.previous"];

/// Weights that a run made, and what they say of themselves.
#[derive(Clone, Debug)]
pub(crate) struct RunResult {
    /// File, or index of shards.
    pub weights: PathBuf,
    /// Description and where it lies, if there is one.
    pub description: Option<(PathBuf, Description)>,
}

/// The result at a path, if there is one; what was looked for in vain is added to `tried`.
///
/// # Errors
/// `File` for a damaged description, or stages of which none is the last.
pub(crate) fn look(path: &Path, tried: &mut Vec<String>) -> Result<Option<RunResult>, Error> {
    if path.is_file() {
        return of_weights(path).map(Some);
    }
    if !path.is_dir() {
        tried.push(format!("{}: not there", path.display()));
        return Ok(None);
    }
    if let Some(weights) = weights_of(path) {
        return of_weights(&weights).map(Some);
    }
    let mut stages = Vec::new();
    for name in file_names(path, "") {
        let stage = name.strip_suffix(&format!("/{DESCRIPTION}"));
        if let Some(weights) = stage.and_then(|stage| weights_of(&path.join(stage))) {
            stages.push(of_weights(&weights)?);
        }
    }
    let trained = |result: &RunResult| {
        let described = result.description.as_ref();
        described.map_or(0, |(_, description)| description.trained.stages.len())
    };
    // The stages of one run lie in folders of their names; anything else is a folder of several runs.
    let of_one_run = stages.len() < 2 || stages.iter().all(|result| named_by_stage(path, result));
    if of_one_run {
        let most = stages.iter().map(&trained).max().unwrap_or(0);
        stages.retain(|result| trained(result) == most);
    }
    match stages.len() {
        0 => {
            let looked = ["model.safetensors", "checkpoint/model.safetensors"];
            tried.push(format!(
                "{}: neither {} nor a stage's directory in it",
                path.display(),
                looked.join(" nor ")
            ));
            Ok(None)
        }
        1 => Ok(stages.pop()),
        _ => {
            let names: Vec<String> = stages
                .iter()
                .map(|r| r.weights.display().to_string())
                .collect();
            let problem =
                format!("several results, none of which is the last; name one of {names:?}");
            Err(Error::file(path, problem))
        }
    }
}

/// Whether a result lies in a folder of its last stage's name.
fn named_by_stage(path: &Path, result: &RunResult) -> bool {
    let folder = result.weights.strip_prefix(path).ok();
    let folder = folder.and_then(|below| below.components().next());
    let described = result.description.as_ref();
    let stage = described.and_then(|(_, description)| description.trained.stages.last());
    match (folder, stage) {
        (Some(folder), Some(stage)) => folder.as_os_str() == stage.as_str(),
        _ => false,
    }
}

/// Weights in a folder, or in its checkpoint.
fn weights_of(folder: &Path) -> Option<PathBuf> {
    let places = [folder.to_owned()].into_iter();
    let mut places = places.chain(CHECKPOINTS.map(|name| folder.join(name)));
    places.find_map(|place| {
        let names: Vec<String> = file_names(&place, "")
            .into_iter()
            .filter(|name| name.starts_with("model") && !name.contains('/'))
            .collect();
        let found = weight_files(&names, "safetensors");
        found.first().map(|name| place.join(name))
    })
}

fn of_weights(weights: &Path) -> Result<RunResult, Error> {
    let folder = weights.parent().unwrap_or(Path::new("."));
    let folder = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    // `.` has a parent only once it has a name.
    let named = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let inside = named
        .file_name()
        .is_some_and(|name| CHECKPOINTS.iter().any(|own| *own == name));
    let above = inside.then(|| named.parent()).flatten();
    let places = [Some(folder), above].into_iter().flatten();
    let mut paths = places.map(|place| place.join(DESCRIPTION));
    let path = paths.find(|path| path.is_file());
    let described = path.map(|path| Description::read(&path).map(|found| (path, found)));
    Ok(RunResult {
        description: described.transpose()?,
        weights: weights.into(),
    })
}
