//! Finding and writing the files of a benchmark.

use std::path::{Path, PathBuf};

use crate::DataError;

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
