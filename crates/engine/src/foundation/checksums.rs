//! Lists of checksums beside weights, as `sha256sum` writes them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use deem_model::weights::WeightsFile;

use crate::EngineError;

/// Name of a list of checksums.
pub const CHECKSUMS: &str = "SHA256SUMS";

/// Checksums by file name (with `/`), from a list; none if there is no list.
///
/// # Errors
/// `Io` naming the list.
pub fn recorded(list: &Path) -> Result<BTreeMap<String, String>, EngineError> {
    let text = match fs::read_to_string(list) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(EngineError::io(list)(error)),
    };
    Ok(parsed(&text))
}

/// The checksums of a list's text, by file name; the inverse of [`listed`].
pub(crate) fn parsed(text: &str) -> BTreeMap<String, String> {
    text.lines()
        .filter_map(|line| line.split_once("  "))
        .map(|(sum, name)| (name.to_owned(), sum.to_owned()))
        .collect()
}

/// The text of a list.
pub fn listed(checksums: &BTreeMap<String, String>) -> String {
    let lines = checksums.iter();
    lines
        .map(|(name, sum)| format!("{sum}  {name}\n"))
        .collect()
}

/// Opens weights; what a list in their folder or the one above says of them must hold. Shards are named one by
/// one in a list, and are checked so.
///
/// # Errors
/// Those of [`WeightsFile::open`], and `Weights` naming the file whose content differs.
pub(super) fn open_checked(path: &Path) -> Result<WeightsFile, EngineError> {
    let file = WeightsFile::open(path)?;
    let Some(folder) = path.parent() else {
        return Ok(file);
    };
    let own = path.file_name().unwrap_or_default().to_string_lossy();
    let sharded = path
        .extension()
        .is_some_and(|extension| extension == "json");
    let parent = folder.file_name().zip(folder.parent());
    let above = parent.map(|(name, parent)| (parent, format!("{}/", name.to_string_lossy())));
    for (place, prefix) in [(folder, String::new())].into_iter().chain(above) {
        for (name, expected) in recorded(&place.join(CHECKSUMS))? {
            let Some(name) = name.strip_prefix(&prefix) else {
                continue;
            };
            let shard = sharded && name.ends_with(".safetensors") && !name.contains('/');
            if shard || name == own {
                WeightsFile::open_verified(&folder.join(name), &expected)?;
            }
        }
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use deem_model::weights::{Dtype, StateTensor, write};

    #[test]
    fn what_a_list_says_must_hold() {
        let folder = tempfile::tempdir().unwrap();
        let part = folder.path().join("part");
        fs::create_dir(&part).unwrap();
        let path = part.join("model.safetensors");
        let tensor = StateTensor {
            name: "w".into(),
            shape: vec![1],
            values: vec![1.0],
        };
        write(&[tensor], &path, Dtype::F32, Default::default()).unwrap();
        let sum = open_checked(&path).unwrap().checksum();
        for (list, name) in [
            (part.join(CHECKSUMS), "model.safetensors"),
            (folder.path().join(CHECKSUMS), "part/model.safetensors"),
        ] {
            let lines = |sum: &str| listed(&BTreeMap::from([(name.to_owned(), sum.to_owned())]));
            fs::write(&list, lines(&sum)).unwrap();
            open_checked(&path).unwrap();
            fs::write(&list, lines("0")).unwrap();
            let error = open_checked(&path).err().unwrap().to_string();
            assert!(error.contains("model.safetensors"), "{error}");
            fs::remove_file(&list).unwrap();
        }
    }
}
