//! Training data: a folder of pictures for each class, `ROOT/<class>/<picture>.png`, as many data sets have it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use deem_data::image::{ImageLimits, read_image};
use deem_data::source::{Field, Source, SourceContext, SourceKind, parse_options};
use deem_data::{DataError, Sample, SampleImage, Segment};
use serde::Deserialize;
use serde_json::{Map, Value};

/// `{ kind = "class-folders", images = "ROOT" }`
pub const CLASS_FOLDERS: SourceKind = SourceKind {
    name: "class-folders",
    about: "a folder of pictures for each class",
    fields: &[Field {
        name: "images",
        about: "folder of the classes' folders",
    }],
    build: open,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    images: PathBuf,
}

struct ClassFolders {
    /// Class and picture.
    pictures: Vec<(String, PathBuf)>,
    limits: ImageLimits,
}

fn open(
    options: &Map<String, Value>,
    context: &SourceContext,
) -> Result<Arc<dyn Source>, DataError> {
    let options: Options = parse_options(options)?;
    let mut pictures = Vec::new();
    for class in entries(&context.root.join(options.images))? {
        let name = class.file_name().unwrap_or_default().to_string_lossy();
        for picture in entries(&class)? {
            pictures.push((name.replace('_', " "), picture));
        }
    }
    Ok(Arc::new(ClassFolders {
        pictures,
        limits: context.limits,
    }))
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let io = |cause| DataError::Io {
        path: folder.into(),
        cause,
    };
    let entries = std::fs::read_dir(folder).map_err(io)?;
    let paths: Result<Vec<PathBuf>, _> = entries.map(|entry| Ok(entry?.path())).collect();
    let mut paths = paths.map_err(io)?;
    paths.sort();
    Ok(paths)
}

impl Source for ClassFolders {
    fn len(&self) -> Option<u64> {
        Some(self.pictures.len() as u64)
    }

    fn get(&self, index: u64) -> Result<Sample, DataError> {
        let at = index % self.pictures.len().max(1) as u64;
        let (class, path) = &self.pictures[at as usize];
        let id = path.display().to_string();
        Ok(Sample {
            segments: vec![
                Segment::Image {
                    index: 0,
                    counted: true,
                },
                Segment::Text {
                    text: format!(" a photo of a {class}"),
                    counted: true,
                },
                Segment::Eos { counted: true },
            ],
            images: vec![SampleImage {
                image: read_image(path, self.limits)?,
                id: id.clone(),
                mask: None,
            }],
            provenance: vec![id.clone()],
            id,
        })
    }
}
