//! Finding, reading and writing the files of a benchmark.

use std::collections::HashSet;
use std::fmt::Display;
use std::hash::Hash;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::DataError;

/// A file that has been read, with its name for errors.
pub(super) struct Loaded<T> {
    pub name: String,
    pub content: T,
}

/// Reads a JSON file.
///
/// # Errors
/// `Io`; `Malformed` naming file, line and column.
pub(super) fn read_json<T: DeserializeOwned>(
    file: &Path,
    expected: &str,
) -> Result<Loaded<T>, DataError> {
    let name = file.display().to_string();
    let text = std::fs::read_to_string(file).map_err(|e| DataError::io(file, e))?;
    let content = serde_json::from_str(text.trim_start_matches('\u{feff}')).map_err(|e| {
        let place = format!("line {}, column {}", e.line(), e.column());
        DataError::malformed(&name, place, expected, e.to_string())
    })?;
    Ok(Loaded { name, content })
}

/// Reads a file of JSON records, one a line or all in a list, each with its place.
///
/// # Errors
/// `Io`; `Malformed` naming file and place.
pub(super) fn read_records<T: DeserializeOwned>(
    file: &Path,
    expected: &str,
) -> Result<Loaded<Vec<(String, T)>>, DataError> {
    let name = file.display().to_string();
    let text = std::fs::read_to_string(file).map_err(|e| DataError::io(file, e))?;
    let text = text.trim_start_matches('\u{feff}');
    let wrong = |place: &str, error: serde_json::Error| {
        DataError::malformed(&name, place, expected, error.to_string())
    };
    let content: Result<Vec<(String, T)>, DataError> = if text.trim_start().starts_with('[') {
        let list: Vec<Value> = serde_json::from_str(text).map_err(|error| {
            let place = format!("line {}, column {}", error.line(), error.column());
            let expected = format!("{expected} on each line, or a list of them");
            DataError::malformed(&name, place, expected, error.to_string())
        })?;
        let records = list.into_iter().enumerate().map(|(number, value)| {
            let place = format!("record {}", number + 1);
            let record = T::deserialize(value).map_err(|error| wrong(&place, error))?;
            Ok((place, record))
        });
        records.collect()
    } else {
        let lines = text.lines().enumerate();
        let lines = lines.filter(|(_, line)| !line.trim().is_empty());
        let records = lines.map(|(number, line)| {
            let place = format!("line {}", number + 1);
            let record = serde_json::from_str(line).map_err(|error| wrong(&place, error))?;
            Ok((place, record))
        });
        records.collect()
    };
    Ok(Loaded {
        content: content?,
        name,
    })
}

impl<T> Loaded<T> {
    /// A record that breaks the format.
    pub(super) fn broken(
        &self,
        place: impl Into<String>,
        expected: impl Into<String>,
        found: impl Display,
    ) -> DataError {
        DataError::malformed(&self.name, place, expected, found.to_string())
    }

    /// Refuses a second record of the same thing.
    pub(super) fn once<K: Hash + Eq + Display + Clone>(
        &self,
        seen: &mut HashSet<K>,
        key: &K,
        place: &str,
    ) -> Result<(), DataError> {
        if seen.insert(key.clone()) {
            return Ok(());
        }
        Err(self.broken(place, "each once", key))
    }

    /// Refuses a file without items.
    pub(super) fn some<I>(&self, items: Vec<I>) -> Result<Vec<I>, DataError> {
        if items.is_empty() {
            return Err(DataError::Empty {
                what: self.name.clone(),
                hint: "it has no question".into(),
            });
        }
        Ok(items)
    }
}

/// The file of a folder (or of a folder in it) that passes `choose`: exactly one.
///
/// # Errors
/// `Io`; `Malformed` naming what the folder holds, if none or several do.
pub(super) fn one_file(
    folder: &Path,
    expected: &str,
    choose: impl Fn(&str) -> bool,
) -> Result<PathBuf, DataError> {
    let own = names(folder)?;
    let mut found: Vec<PathBuf> = Vec::new();
    for name in &own {
        let path = folder.join(name);
        if path.is_file() {
            found.extend(choose(name).then_some(path));
        } else if path.is_dir() && is_annotations(name) {
            let inner = names(&path)?.into_iter().filter(|name| choose(name));
            found.extend(inner.map(|name| path.join(name)));
        }
    }
    match found.as_slice() {
        [one] => Ok(one.clone()),
        [] => Err(layout(folder, expected, &own)),
        [first, second, ..] => Err(DataError::malformed(
            folder.display().to_string(),
            "folder",
            format!("one file: {expected}"),
            format!("{} and {}", first.display(), second.display()),
        )),
    }
}

/// Folders into which people unpack annotation files.
fn is_annotations(name: &str) -> bool {
    matches!(
        name.to_lowercase().as_str(),
        "annotations" | "questions" | "data"
    )
}

/// The JSON file of a folder: `preferred` if it is there, else the only one.
///
/// # Errors
/// `Io`; `Malformed` naming what the folder holds, if it has none or several.
pub fn only_json(folder: &Path, preferred: &str) -> Result<PathBuf, DataError> {
    let wanted = folder.join(preferred);
    if wanted.is_file() {
        return Ok(wanted);
    }
    let names = names(folder)?;
    let json: Vec<&String> = names.iter().filter(|n| n.ends_with(".json")).collect();
    match json.as_slice() {
        [one] => Ok(folder.join(one)),
        [] => Err(layout(
            folder,
            format!("{preferred} (or one .json file)"),
            &names,
        )),
        _ => Err(layout(
            folder,
            format!("{preferred}, or one .json file alone"),
            &names,
        )),
    }
}

/// A folder that does not have what it should.
pub(super) fn layout(folder: &Path, expected: impl Into<String>, names: &[String]) -> DataError {
    const SHOWN: usize = 6;
    let mut found = names
        .iter()
        .take(SHOWN)
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(", ");
    if names.len() > SHOWN {
        found.push_str(&format!(" and {} more", names.len() - SHOWN));
    }
    if names.is_empty() {
        found = "nothing".into();
    }
    DataError::malformed(folder.display().to_string(), "folder", expected, found)
}

/// Names of what lies in a folder, sorted.
///
/// # Errors
/// `Io` naming the folder.
pub(super) fn names(folder: &Path) -> Result<Vec<String>, DataError> {
    let entries = std::fs::read_dir(folder).map_err(|e| DataError::io(folder, e))?;
    let mut names: Vec<String> = entries
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    Ok(names)
}

/// Writes a file, making its folder.
///
/// # Errors
/// `Io`.
pub(super) fn write_file(path: &Path, bytes: &[u8]) -> Result<(), DataError> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|e| DataError::io(folder, e))?;
    }
    std::fs::write(path, bytes).map_err(|e| DataError::io(path, e))
}
