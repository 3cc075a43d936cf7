//! What tests share: the built-in sources with pictures, all over one kind of feed, and small files.

pub mod server;

use std::io::Cursor;
use std::path::Path;

use deem_data::export::{Format, export};
use deem_data::image::ImageLimits;
use deem_data::source::{Source, SourceContext, SourceRegistry, SourceSpec};
use deem_data::world::SceneFeed;
use deem_data::world::source::{
    ClipSource, DiffusionSource, InstructConfig, InstructSource, InterleavedConfig,
    InterleavedSource, RegionSource,
};
use deem_data::{DataError, Sample, Segment};

/// Every source that draws, with captions of both kinds; `feed` makes a feed for a purpose.
pub fn picture_sources(feed: impl Fn(&'static str) -> SceneFeed) -> Vec<Box<dyn Source>> {
    let full = InterleavedConfig {
        full_captions: 0.5,
        ..InterleavedConfig::default()
    };
    vec![
        Box::new(ClipSource::new(feed("clip"))),
        Box::new(DiffusionSource::new(feed("diffusion"))),
        Box::new(InterleavedSource::new(feed("stage1"), full)),
        Box::new(InstructSource::new(
            feed("stage2"),
            InstructConfig::default(),
        )),
        Box::new(RegionSource::new(feed("stage3"))),
    ]
}

/// A PNG of one colour.
pub fn png(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image::RgbImage::from_pixel(width, height, image::Rgb([200, 30, 30]))
        .write_to(&mut bytes, image::ImageFormat::Png)
        .unwrap();
    bytes.into_inner()
}

/// A tar archive of files.
pub fn archive(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, bytes) in members {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, *bytes).unwrap();
    }
    archive.into_inner().unwrap()
}

/// An entry of a `[[data]]` list, as JSON.
pub fn spec(entry: &str) -> SourceSpec {
    serde_json::from_str(entry).unwrap_or_else(|error| panic!("{entry}: {error}"))
}

/// What sources below a folder are opened with.
pub fn context(root: &Path, seed: u64) -> SourceContext {
    SourceContext {
        seed,
        image_size: 16,
        root: root.into(),
        limits: ImageLimits::default(),
    }
}

/// Text with `<n>` for pictures and `|` at the end, whatever comes first.
pub fn shown(sample: &Sample) -> String {
    let piece = |segment: &Segment| match segment {
        Segment::Text {
            text,
            counted: true,
        } => format!("[{text}]"),
        Segment::Text { text, .. } => text.clone(),
        Segment::Image { index, .. } => format!("<{index}>"),
        Segment::Bos => "<s>".into(),
        Segment::Eos { .. } => "|".into(),
    };
    sample.segments.iter().map(piece).collect()
}

/// All samples of a source, by id.
pub fn all(source: &dyn Source) -> Vec<(String, Result<Sample, DataError>)> {
    let mut all: Vec<_> = (0..source.len().unwrap())
        .map(|index| match source.get(index) {
            Ok(sample) => (sample.id.clone(), Ok(sample)),
            Err(error) => (error.to_string(), Err(error)),
        })
        .collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

/// Writes a file below a folder, with the folders in between.
pub fn write(folder: &Path, name: &str, bytes: impl AsRef<[u8]>) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

/// The built-in world's source of a task.
pub fn world(task: &str) -> std::sync::Arc<dyn Source> {
    let entry = spec(&format!(r#"{{"kind": "world", "task": "{task}"}}"#));
    let context = SourceContext {
        image_size: 64,
        ..context(Path::new("."), 1)
    };
    SourceRegistry::standard().open(&[entry], &context).unwrap()
}

/// Writes samples of the built-in world into a new folder; the entry that reads them back, in TOML.
pub fn exported(folder: &Path, name: &str, format: Format, task: &str, count: u64) -> String {
    let written = export(&*world(task), count, format, &folder.join(name)).unwrap();
    assert_eq!((written.samples, written.left_out), (count, 0));
    written.entry
}

/// Python with public packages, if `DEEM_TEST_PYTHON` names one.
pub fn python() -> Option<std::path::PathBuf> {
    let python = std::env::var_os("DEEM_TEST_PYTHON").map(Into::into);
    if python.is_none() {
        eprintln!(
            "skipped: set DEEM_TEST_PYTHON to a Python with tools/parity/requirements-data.txt installed"
        );
    }
    python
}
