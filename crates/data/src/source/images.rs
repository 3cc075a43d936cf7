//! Pictures alone: all that lie in a folder and the folders in it. What needs no words, as the correction of an encoder
//! by feedback, reads them.

use std::path::PathBuf;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::Source;
use super::registry::{Field, SourceContext, SourceKind, parse_options};
use crate::DataError;
use crate::image::{pictures_below, read_image};
use crate::sample::{Sample, SampleImage};
use crate::storage::{Location, Pictures};

pub(super) const KIND: SourceKind = SourceKind {
    name: "images",
    about: "pictures alone (.jpg .jpeg .png .webp .gif .bmp .tif .tiff .ppm .pgm .pbm .ico .tga .qoi) in a folder of this machine and the folders in it",
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
    let names = pictures_below(&folder)?;
    Ok(Arc::new(Images {
        folder,
        names,
        pictures,
    }))
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
