//! Readers of sources, benchmarks, tokenizers, pictures and drawings, as fuzz targets and damaged files drive them.

use std::fs;
use std::path::{Path, PathBuf};

use deem_data::benchmark::{read_mmvp, read_pope, read_regions, read_robust_vqa};
use deem_data::image::{ImageLimits, decode_image, decode_mask};
use deem_data::source::{SourceContext, SourceRegistry, SourceSpec};
use deem_data::text::TextTokenizer;
use deem_data::world::corpus::Corpus;

/// The file that is written and read, without its ending.
pub const NAME: &str = "fuzzed";

/// No reader may make more of a few bytes.
const LIMITS: ImageLimits = ImageLimits {
    max_pixels: 1 << 20,
};

/// A PNG of one pixel, for what refers to a picture.
const PICTURE: &[u8] =
    b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\0\x01\0\0\0\x01\x08\0\0\0\0\x3a\x7e\x9b\x55\
    \0\0\0\x0aIDAT\x78\x9c\x63\x68\0\0\0\x82\0\x81\x77\xcd\x72\xb6\0\0\0\0IEND\xae\x42\x60\x82";

/// The error's text, if there is one.
pub type Read = Result<(), String>;

fn told(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn written(path: PathBuf, bytes: &[u8]) -> PathBuf {
    fs::write(&path, bytes).expect("a scratch folder");
    path
}

/// Opens a source on a file of this name and reads its first samples, what a rule leaves out excepted.
fn source(folder: &Path, kind: &str, file: &str, bytes: &[u8]) -> Read {
    written(folder.join(file), bytes);
    let images = folder.join("pictures");
    if !images.exists() {
        fs::create_dir_all(&images).expect("a scratch folder");
        fs::write(images.join("a.png"), PICTURE).expect("a scratch folder");
    }
    let options = match kind {
        "webdataset" => serde_json::json!({ "shards": file }),
        _ => serde_json::json!({ "file": file, "images": "pictures" }),
    };
    let spec = SourceSpec {
        kind: kind.into(),
        weight: 1.0,
        options: options.as_object().cloned().expect("fields"),
    };
    let context = SourceContext {
        seed: 1,
        image_size: 16,
        root: folder.into(),
        limits: LIMITS,
    };
    let source = SourceRegistry::standard()
        .open(&[spec], &context)
        .map_err(told)?;
    for index in 0..source.len().unwrap_or(0).min(4) {
        match source.get(index) {
            Ok(_) | Err(deem_data::DataError::Dropped { .. }) => {}
            Err(error) => return Err(told(error)),
        }
    }
    Ok(())
}

/// JSON Lines of pictures with captions.
pub fn captions(folder: &Path, bytes: &[u8]) -> Read {
    source(folder, "captions", &format!("{NAME}.jsonl"), bytes)
}

/// Conversations in LLaVA's layout.
pub fn llava(folder: &Path, bytes: &[u8]) -> Read {
    source(folder, "llava", &format!("{NAME}.json"), bytes)
}

/// A WebDataset shard.
pub fn webdataset(folder: &Path, bytes: &[u8]) -> Read {
    source(folder, "webdataset", &format!("{NAME}.tar"), bytes)
}

/// A folder of its own, whose path holds [`NAME`].
fn own(folder: &Path, benchmark: &str) -> PathBuf {
    let own = folder.join(NAME).join(benchmark);
    fs::create_dir_all(&own).expect("a scratch folder");
    own
}

/// A POPE file.
pub fn pope(folder: &Path, bytes: &[u8]) -> Read {
    let folder = own(folder, "pope");
    written(folder.join("coco_pope_random.json"), bytes);
    read_pope(&folder).map(drop).map_err(told)
}

/// A RobustVQA file.
pub fn robust_vqa(folder: &Path, bytes: &[u8]) -> Read {
    let folder = own(folder, "robust_vqa");
    written(folder.join("robustvqa.json"), bytes);
    read_robust_vqa(&folder).map(drop).map_err(told)
}

/// A file of regions in COCO's layout.
pub fn region(folder: &Path, bytes: &[u8]) -> Read {
    let folder = own(folder, "region");
    written(folder.join("region.json"), bytes);
    read_regions(&folder, LIMITS).map(drop).map_err(told)
}

/// The questions of MMVP.
pub fn mmvp(folder: &Path, bytes: &[u8]) -> Read {
    let folder = own(folder, "mmvp");
    written(folder.join("Questions.csv"), bytes);
    read_mmvp(&folder).map(drop).map_err(told)
}

/// A tokenizer, and what it makes of a text.
pub fn tokenizer(bytes: &[u8]) -> Read {
    let tokenizer = TextTokenizer::from_json(bytes, NAME, None).map_err(told)?;
    let ids = tokenizer.encode("two red cats, <ref>left</ref> of a \u{1F600}");
    ids.map(drop).map_err(told)
}

/// A picture, also as a mask.
pub fn picture(bytes: &[u8]) -> Read {
    let picture = decode_image(bytes, NAME, LIMITS).map_err(told)?;
    decode_mask(bytes, NAME, picture.dimensions(), LIMITS)
        .map(drop)
        .or_else(|error| match error {
            deem_data::DataError::MaskSize { .. } => Ok(()), // turned by EXIF
            other => Err(told(other)),
        })
}

/// A shard of drawings.
pub fn drawings(folder: &Path, bytes: &[u8]) -> Read {
    written(folder.join(format!("{NAME}.tar")), bytes);
    Corpus::open(folder).map(drop).map_err(told)
}
