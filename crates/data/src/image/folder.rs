//! Pictures that lie in a folder and the folders in it.

use std::fs;
use std::path::Path;

use super::decode::is_picture;
use crate::DataError;

/// Folders in folders in folders; more is a circle of links.
const DEEPEST: usize = 32;

/// Names below a folder of the pictures in it and in the folders in it, sorted, with `/`. What begins with a dot is left out.
///
/// # Errors
/// `Io`; `Empty` if there are none, saying what was found instead.
pub fn pictures_below(folder: &Path) -> Result<Vec<String>, DataError> {
    let (mut names, mut others) = (Vec::new(), Vec::new());
    list(folder, "", DEEPEST, &mut names, &mut others)?;
    if names.is_empty() {
        others.sort();
        let captions = |name: &&String| {
            let ending = name.rsplit('.').next().unwrap_or_default();
            ["txt", "caption", "json", "jsonl", "csv", "tsv"].contains(&ending)
        };
        let hint = match others.iter().find(captions) {
            Some(name) => format!(
                "it holds captions without pictures ({name}); name the folder of the pictures that they describe"
            ),
            None => "it should hold pictures (.jpg .jpeg .png .webp .gif .bmp .tif .tiff .ppm .pgm .pbm .ico .tga \
                     .qoi), in folders or not"
                .into(),
        };
        return Err(DataError::Empty {
            what: format!("{} (pictures)", folder.display()),
            hint,
        });
    }
    names.sort();
    Ok(names)
}

/// Names of pictures below a folder, and of other files.
fn list(
    folder: &Path,
    prefix: &str,
    depth: usize,
    names: &mut Vec<String>,
    others: &mut Vec<String>,
) -> Result<(), DataError> {
    let io = |error| DataError::io(folder, error);
    for entry in fs::read_dir(folder).map_err(io)? {
        let entry = entry.map_err(io)?;
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue; // what programs keep to themselves
        }
        if entry.path().is_dir() {
            if depth > 0 {
                list(&entry.path(), &format!("{name}/"), depth - 1, names, others)?;
            }
        } else if is_picture(&name) {
            names.push(name);
        } else {
            others.push(name);
        }
    }
    Ok(())
}
