use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use deem_data::image::ViewConfig;
use deem_data::source::{PicturesOnly, Source, SourceContext, SourceRegistry, SourceSpec};
use deem_data::text::TextTokenizer;
use deem_data::{BatchConfig, Batches, Collator, LoaderConfig, PackConfig, Padding};
use deem_model::encoder_feedback::FeedbackConfig;
use serde_json::{Map, Value, json};

use super::FeedbackStage;
use crate::EngineError;

/// The entry of `[[data]]` that a folder means: the shards (`.tar`) or tables (`.parquet`) in it, else the pictures in it
/// and the folders in it.
///
/// # Errors
/// `Config` for a folder that is not there, or holds shards and tables both.
pub fn pictures_at(folder: &Path) -> Result<SourceSpec, EngineError> {
    let wrong = |problem: String| {
        Err(EngineError::Config(format!(
            "--data {}: {problem}",
            folder.display()
        )))
    };
    if !folder.is_dir() {
        let found = if folder.exists() { "a file" } else { "nothing" };
        return wrong(format!(
            "expected a folder of pictures, of WebDataset shards (.tar) or of Parquet tables, found {found}"
        ));
    }
    let folder = fs::canonicalize(folder).map_err(EngineError::io(folder))?;
    let mut found: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for entry in fs::read_dir(&folder).map_err(EngineError::io(&folder))? {
        let path = entry.map_err(EngineError::io(&folder))?.path();
        let ending = path.extension().and_then(|ending| ending.to_str());
        let kind = match ending {
            Some("tar") => "webdataset",
            Some("parquet") => "parquet",
            _ => continue,
        };
        found
            .entry(kind)
            .or_default()
            .push(path.display().to_string());
    }
    if found.len() > 1 {
        return wrong("expected shards (.tar) or tables (.parquet), found both".into());
    }
    let (kind, options) = match found.pop_first() {
        Some((kind, mut files)) => {
            files.sort();
            let field = if kind == "parquet" { "files" } else { "shards" };
            (kind, json!({ field: files, "pictures_only": true }))
        }
        None => ("images", json!({ "folder": folder })),
    };
    let Value::Object(options) = options else {
        unreachable!("an object");
    };
    Ok(spec(kind, options))
}

fn spec(kind: &str, options: Map<String, Value>) -> SourceSpec {
    SourceSpec {
        kind: kind.into(),
        weight: 1.0,
        options,
    }
}

/// Batches of pictures for a stage.
///
/// # Errors
/// `Config` without data, `Data` for what is wrong with a source.
pub fn picture_batches(
    stage: &FeedbackStage,
    data: &[SourceSpec],
    model: &FeedbackConfig,
    context: &SourceContext,
) -> Result<Batches, EngineError> {
    if data.is_empty() {
        return Err(EngineError::Config(
            "data: expected pictures, found none; name a folder with --data, or sources in [[data]]".into(),
        ));
    }
    let source = SourceRegistry::standard().open(data, context)?;
    batches_of(source, stage, model, context.seed)
}

/// Batches of the pictures of a source for a stage; `seed` chooses how they are cut.
///
/// # Errors
/// `Data` for a batch that cannot be made.
pub fn batches_of(
    source: Arc<dyn Source>,
    stage: &FeedbackStage,
    model: &FeedbackConfig,
    seed: u64,
) -> Result<Batches, EngineError> {
    // The sequence is one picture; its words are not read.
    let pack = PackConfig {
        max_tokens: 4,
        image_tokens: 1,
        count_first_image: false,
    };
    let config = BatchConfig {
        pack,
        views: ViewConfig {
            encoder: model.encoder.side() as u32,
            diffusion: model.diffusion_size as u32,
            crop: stage.crop,
        },
        padding: Padding::Right,
        fixed_length: None,
        seed,
    };
    let loader = LoaderConfig {
        batch: stage.batch,
        samples_per_row: 1,
        error_ceiling: stage.error_ceiling,
    };
    let collator = Collator::new(config, TextTokenizer::builtin()?);
    Ok(Batches::new(PicturesOnly::of(source), collator, loader)?)
}
