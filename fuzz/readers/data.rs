//! Readers of benchmarks, tokenizers, pictures and drawings, as fuzz targets and damaged files drive them.

use std::fs;
use std::path::{Path, PathBuf};

use deem_data::benchmark::{read_mmvp, read_pope, read_regions, read_robust_vqa};
use deem_data::image::{ImageLimits, decode_image, decode_mask};
use deem_data::text::TextTokenizer;
use deem_data::world::corpus::Corpus;

/// The file that is written and read, without its ending.
pub const NAME: &str = "fuzzed";

/// No reader may make more of a few bytes.
const LIMITS: ImageLimits = ImageLimits {
    max_pixels: 1 << 20,
};

/// The error's text, if there is one.
pub type Read = Result<(), String>;

fn told(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn written(path: PathBuf, bytes: &[u8]) -> PathBuf {
    fs::write(&path, bytes).expect("a scratch folder");
    path
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
