//! Relatives of LLaMA against transformers, configuration by configuration (tools/parity/export_families.py): what is
//! computed equals the reference, and everything else is refused with the field's name.

use burn::tensor::{Device, Int, Tensor, TensorData};
use deem_model::llama::{Llama, LlamaCache, LlamaConfig, LlamaInput, consecutive_positions};
use deem_model::published::Published;

use crate::support::variations::{Fields, Variations};

/// Largest difference from the reference's logits, which are of order 1.
const TOLERANCE: f32 = 5e-5;

fn families() -> Variations {
    Variations::open("families", "logits")
}

fn logits(families: &Variations, set: &str, fields: Fields) -> Result<Vec<f32>, String> {
    let device = Device::flex();
    let config = LlamaConfig::published(fields).map_err(|problems| problems.join("; "))?;
    config.validate().map_err(|error| error.to_string())?;
    let model = Llama::new(&config, None, &device).filled(&config, &families.weights(set), &[]);
    let model = model.map_err(|error| error.to_string())?;
    let ids = families.golden().i64("input_ids").unwrap();
    let seq = ids.len();
    let ids = Tensor::<2, Int>::from_data(TensorData::new(ids, [1, seq]), &device);
    let output = model.forward(LlamaInput {
        embeds: model.embed(ids),
        positions: consecutive_positions(1, 0, seq),
        key_padding: None,
        images: None,
        cache: None,
    });
    Ok(model
        .lm_head(output.hidden)
        .try_into_vec_as::<f32>()
        .unwrap())
}

#[test]
fn equal_to_the_reference_or_refused() {
    let families = families();
    let compute = |set: &str, fields| logits(&families, set, fields);
    let (equal, refused) = families.equal_or_refused(TOLERANCE, &[], compute);
    assert!(
        equal > 300 && refused > 100,
        "{equal} equal, {refused} refused"
    );
}

#[test]
fn a_cache_knows_the_window() {
    let families = families();
    let device = Device::flex();
    for set in ["mistral", "qwen2", "smollm3", "granite", "gemma"] {
        let config = LlamaConfig::published(families.config(set)).unwrap();
        let model = Llama::new(&config, None, &device).filled(&config, &families.weights(set), &[]);
        let model = model.unwrap();
        let ids = families.golden().i64("input_ids").unwrap();
        let mut cache = LlamaCache::new();
        let read = |range: std::ops::Range<usize>, cache: Option<&mut LlamaCache>| {
            let part = ids[range.clone()].to_vec();
            let ids = TensorData::new(part, [1, range.len()]);
            let output = model.forward(LlamaInput {
                embeds: model.embed(Tensor::<2, Int>::from_data(ids, &device)),
                positions: consecutive_positions(1, range.start, range.len()),
                key_padding: None,
                images: None,
                cache,
            });
            output.hidden
        };
        let whole = read(0..9, None);
        let parts = [0..5, 5..6, 6..9].map(|range| read(range, Some(&mut cache)));
        let difference = (whole - Tensor::cat(parts.into(), 1))
            .abs()
            .max()
            .into_scalar::<f32>();
        assert!(difference < 1e-5, "{set}: {difference}");
    }
}
