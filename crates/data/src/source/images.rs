//! Pictures alone: all that lie in a folder and the folders in it. What needs no words, as the correction of an encoder
//! by feedback, reads them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::Source;
use super::registry::{Field, SourceContext, SourceKind, parse_options};
use crate::DataError;
use crate::image::{is_picture, read_image};
use crate::sample::{Sample, SampleImage};
use crate::storage::{Location, Pictures};

pub(super) const KIND: SourceKind = SourceKind {
    name: "images",
    about: "pictures alone (.jpg .jpeg .png .webp .gif .bmp) in a folder of this machine and the folders in it",
    fields: &[Field {
        name: "folder",
        about: "where they lie",
    }],
    build: open,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    folder: String,
}

struct Images {
    folder: PathBuf,
    /// Names below the folder, sorted, with `/`.
    names: Vec<String>,
    pictures: Pictures,
}

/// Folders in folders in folders; more is a circle of links.
const DEEPEST: usize = 32;

fn open(
    options: &Map<String, Value>,
    context: &SourceContext,
) -> Result<Arc<dyn Source>, DataError> {
    let options: Options = parse_options(options)?;
    let pictures = context.pictures("folder", &options.folder)?;
    let Location::Local(folder) = pictures.folder().clone() else {
        let reason = format!(
            "expected a folder of this machine, found the address {}; what lies elsewhere is read from shards \
             (webdataset) or tables (parquet)",
            options.folder
        );
        return Err(DataError::config("data.folder", reason));
    };
    let (mut names, mut others) = (Vec::new(), Vec::new());
    list(&folder, "", DEEPEST, &mut names, &mut others)?;
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
            None => "it should hold pictures (.jpg .jpeg .png .webp .gif .bmp), in folders or not"
                .into(),
        };
        return Err(DataError::Empty {
            what: format!("{} (pictures)", folder.display()),
            hint,
        });
    }
    names.sort();
    Ok(Arc::new(Images {
        folder,
        names,
        pictures,
    }))
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

impl Source for Images {
    fn len(&self) -> Option<u64> {
        Some(self.names.len() as u64)
    }

    fn get(&self, index: u64) -> Result<Sample, DataError> {
        let name = &self.names[(index % self.names.len() as u64) as usize];
        let image = read_image(&self.folder.join(name), self.pictures.limits())?;
        Ok(Sample::of_picture(SampleImage {
            id: name.clone(),
            image,
            mask: None,
        }))
    }
}
