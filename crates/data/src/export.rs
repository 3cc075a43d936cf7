//! Writes samples of any source in published layouts, one file a layout. What a layout cannot hold is refused, not left
//! out.

mod captions;
mod coco;
mod llava;
mod parquet;
mod turns;
mod webdataset;

use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use image::{ImageFormat, RgbImage};

use crate::DataError;
use crate::sample::Sample;
use crate::source::Source;

/// A layout that can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// JSON Lines of pictures with captions.
    Captions,
    /// Tar shards of pictures with captions.
    Webdataset,
    /// Conversations in LLaVA's layout.
    Llava,
    /// Conversations in a Hugging Face table with pictures in it.
    Parquet,
    /// Regions with their names in COCO's layout.
    Coco,
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exported {
    /// Samples written.
    pub samples: u64,
    /// Samples that rules of the source left out.
    pub left_out: u64,
    /// The entry of a `[[data]]` list that reads it back, in TOML.
    pub entry: String,
}

/// Writes samples one after the other into a folder.
trait Writer {
    /// Writes sample number `number`.
    fn add(&mut self, number: u64, sample: &Sample) -> Result<(), DataError>;
    /// Ends what was written; the fields that read it back, in TOML, names being relative to the folder.
    fn finish(self: Box<Self>) -> Result<String, DataError>;
}

/// Writes the first `count` samples of a source (all if there are fewer) into a new folder, which appears whole or not at
/// all.
///
/// # Errors
/// `Config` if the folder is there; those of the samples; `Empty` without any; `Malformed` naming a sample that the layout cannot hold; `Io`.
pub fn export(
    source: &dyn Source,
    count: u64,
    format: Format,
    folder: &Path,
) -> Result<Exported, DataError> {
    if folder.exists() {
        let reason = format!("{} exists; name a new folder", folder.display());
        return Err(DataError::config("output", reason));
    }
    let mut part = folder.as_os_str().to_owned();
    part.push(".partial");
    let part = PathBuf::from(part);
    let io = |e| DataError::io(&part, e);
    if part.exists() {
        fs::remove_dir_all(&part).map_err(io)?;
    }
    fs::create_dir_all(&part).map_err(io)?;
    let written = write(source, count, format, &part);
    let exported = match written {
        Ok(exported) => exported,
        Err(error) => {
            let _ = fs::remove_dir_all(&part);
            return Err(error);
        }
    };
    fs::rename(&part, folder).map_err(|e| DataError::io(folder, e))?;
    Ok(exported)
}

fn write(
    source: &dyn Source,
    count: u64,
    format: Format,
    folder: &Path,
) -> Result<Exported, DataError> {
    let mut writer: Box<dyn Writer> = match format {
        Format::Captions => Box::new(captions::Captions::new(folder)?),
        Format::Webdataset => Box::new(webdataset::Shards::new(folder)),
        Format::Llava => Box::new(llava::Conversations::new(folder)?),
        Format::Parquet => Box::new(parquet::Table::new(folder)?),
        Format::Coco => Box::new(coco::Regions::new(folder)?),
    };
    let (mut samples, mut left_out) = (0, 0);
    for index in 0..count.min(source.len().unwrap_or(u64::MAX)) {
        match source.get(index) {
            Ok(sample) => {
                writer.add(samples, &sample)?;
                samples += 1;
            }
            Err(DataError::Dropped { .. }) => left_out += 1,
            Err(error) => return Err(error),
        }
    }
    if samples == 0 {
        return Err(DataError::Empty {
            what: "the export".into(),
            hint: format!("of {count} samples that were asked for rules left out {left_out}"),
        });
    }
    Ok(Exported {
        samples,
        left_out,
        entry: format!("{{ {} }}", writer.finish()?),
    })
}

/// A picture without loss.
fn png(picture: &RgbImage, name: &str) -> Result<Vec<u8>, DataError> {
    let mut bytes = Cursor::new(Vec::new());
    picture
        .write_to(&mut bytes, ImageFormat::Png)
        .map_err(|error| DataError::Image {
            name: name.to_owned(),
            reason: error.to_string(),
        })?;
    Ok(bytes.into_inner())
}

/// Writes a file below the folder.
fn put(folder: &Path, name: &str, bytes: &[u8]) -> Result<(), DataError> {
    let path = folder.join(name);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(|e| DataError::io(parent, e))?;
    }
    fs::write(&path, bytes).map_err(|e| DataError::io(&path, e))
}

/// A sample that a layout cannot hold.
fn unfit(sample: &Sample, expected: &str, found: impl Into<String>) -> DataError {
    DataError::malformed(&sample.id, "export", expected, found)
}

/// The one picture of a sample, and all of its text.
fn captioned(sample: &Sample) -> Result<(&RgbImage, String), DataError> {
    match sample.images.as_slice() {
        [one] => Ok((&one.image, sample.text().trim().to_owned())),
        several => {
            let found = format!("{} pictures", several.len());
            Err(unfit(sample, "one picture with its caption", found))
        }
    }
}
