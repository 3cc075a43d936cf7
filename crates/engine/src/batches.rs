//! From a stage's `[[data]]` to batches for a model.

use std::sync::Arc;

use deem_data::image::{Crop, ViewConfig};
use deem_data::source::{Source, SourceContext, SourceRegistry};
use deem_data::text::TextTokenizer;
use deem_data::{BatchConfig, Batches, Collator, LoaderConfig, PackConfig, Padding};
use deem_model::layout::StructureTokens;

use crate::EngineError;
use crate::config::{ModelSpec, StageConfig};

/// What batches of a model's training are like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchForm {
    /// Rows of a batch.
    pub rows: usize,
    /// Samples offered to each row.
    pub samples_per_row: usize,
    /// Placeholders of an image.
    pub queries: usize,
    /// Whether the diffusion model's view of each image is made, too.
    pub diffusion: bool,
    /// Whether the first image of a row counts in the image loss.
    pub count_first_image: bool,
    /// Largest share of samples that may be unreadable.
    pub error_ceiling: f64,
    /// How squares are cut from pictures.
    pub crop: Crop,
    /// Seed of random crops.
    pub seed: u64,
}

/// Batches of a stage of the whole model.
///
/// # Errors
/// `Config` if the tokenizer does not fit the model, `Data` for what is wrong with a source.
pub fn stage_batches(
    stage: &StageConfig,
    spec: &ModelSpec,
    tokenizer: &TextTokenizer,
    sources: &SourceRegistry,
    context: &SourceContext,
) -> Result<Batches, EngineError> {
    check_tokenizer(tokenizer, spec)?;
    stage
        .check_row(spec.max_tokens)
        .map_err(EngineError::Config)?;
    let form = BatchForm {
        rows: stage.batch,
        samples_per_row: stage.samples_per_row,
        queries: spec.model.image_encoder.queries,
        diffusion: stage.loss.image > 0.0 || stage.loss.feedback > 0.0,
        count_first_image: stage.count_first_image,
        error_ceiling: stage.error_ceiling,
        crop: stage.crop,
        seed: context.seed,
    };
    let source = sources.open(&stage.data, context)?;
    batches(source, spec, tokenizer, form)
}

/// Right-padded batches of a source.
///
/// # Errors
/// `Data` for impossible sizes.
pub fn batches(
    source: Arc<dyn Source>,
    spec: &ModelSpec,
    tokenizer: &TextTokenizer,
    form: BatchForm,
) -> Result<Batches, EngineError> {
    let diffusion = if form.diffusion {
        spec.model.diffusion_size as u32
    } else {
        0
    };
    let config = BatchConfig {
        pack: PackConfig {
            max_tokens: spec.max_tokens,
            image_tokens: form.queries,
            count_first_image: form.count_first_image,
        },
        views: ViewConfig {
            encoder: spec.model.image_size as u32,
            diffusion,
            crop: form.crop,
        },
        padding: Padding::Right,
        fixed_length: None,
        seed: form.seed,
    };
    let loader = LoaderConfig {
        batch: form.rows,
        samples_per_row: form.samples_per_row,
        error_ceiling: form.error_ceiling,
    };
    let collator = Collator::new(config, tokenizer.clone());
    Ok(Batches::new(source, collator, loader)?)
}

/// A tokenizer must have the ids that the model expects.
///
/// # Errors
/// `Data` if it has more words than the model, `Config` naming the ids if the special tokens differ.
pub fn check_tokenizer(tokenizer: &TextTokenizer, spec: &ModelSpec) -> Result<(), EngineError> {
    tokenizer.check_model(spec.model.llama.vocab_size + spec.model.new_tokens)?;
    let special = tokenizer.special();
    let ids = [
        special.bos,
        special.eos,
        special.pad,
        special.soi,
        special.image,
    ];
    let StructureTokens {
        bos,
        eos,
        pad,
        soi,
        image,
    } = spec.model.tokens;
    if ids.map(i64::from) == [bos, eos, pad, soi, image] {
        return Ok(());
    }
    Err(EngineError::Config(format!(
        "model.tokens: expected the tokenizer's bos, eos, pad, soi, image {ids:?}, found {:?}",
        [bos, eos, pad, soi, image]
    )))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use deem_data::image::ImageLimits;
    use deem_data::source::SourceSpec;
    use deem_model::deem::DeemConfig;
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Preset {
        max_tokens: usize,
        model: DeemConfig,
    }

    #[derive(Deserialize)]
    struct Experiment {
        stages: Vec<StageConfig>,
    }

    /// What the model sees of one picture in its first three epochs.
    fn epochs(crop: Crop, seed: u64) -> Vec<Vec<f32>> {
        let folder = tempfile::tempdir().unwrap();
        let picture =
            image::RgbImage::from_fn(40, 30, |x, y| image::Rgb([x as u8 * 6, y as u8 * 8, 0]));
        picture.save(folder.path().join("a.png")).unwrap();
        let line = r#"{"image": "a.png", "caption": "a slope of colours"}"#;
        std::fs::write(folder.path().join("c.jsonl"), line).unwrap();
        let tiny = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/standins/tiny");
        let preset: Preset = crate::config::read(&tiny.join("model.toml"), &[]).unwrap();
        let experiment: Experiment =
            crate::config::read(&tiny.join("experiment.toml"), &[]).unwrap();
        let entry = r#"{"kind": "captions", "file": "c.jsonl", "images": "."}"#;
        let entry: SourceSpec = serde_json::from_str(entry).unwrap();
        let stage = StageConfig {
            crop,
            batch: 1,
            samples_per_row: 1,
            data: vec![entry],
            ..experiment.stages[0].clone()
        };
        let context = SourceContext {
            seed,
            image_size: 0,
            root: folder.path().into(),
            limits: ImageLimits::default(),
        };
        let spec = ModelSpec {
            max_tokens: preset.max_tokens,
            model: preset.model,
        };
        let tokenizer = TextTokenizer::builtin().unwrap();
        let sources = SourceRegistry::standard();
        let batches = stage_batches(&stage, &spec, &tokenizer, &sources, &context).unwrap();
        (0..3)
            .map(|epoch| batches.get(epoch).unwrap().encoder_pixels)
            .collect()
    }

    #[test]
    fn a_stage_crops_each_epoch_anew_if_it_is_to() {
        let center = epochs(Crop::Center, 1);
        assert!(center.iter().all(|pixels| *pixels == center[0]));
        let random = epochs(Crop::Random(0.6), 1);
        assert!(random[0] != random[1] && random[1] != random[2] && random[0] != random[2]);
        assert_eq!(random, epochs(Crop::Random(0.6), 1));
        assert_ne!(random, epochs(Crop::Random(0.6), 2));
    }
}
