//! Relatives of LLaMA against transformers, configuration by configuration (tools/parity/export_families.py): what is
//! computed equals the reference, and everything else is refused with the field's name.

use std::collections::HashMap;
use std::path::Path;

use burn::tensor::{Device, Int, Tensor, TensorData};
use deem_model::llama::{Llama, LlamaConfig, LlamaInput, consecutive_positions};
use deem_model::published::Published;
use deem_model::weights::{Dtype, LazyTensor, WeightsFile, write_stream};
use serde_json::{Map, Value};

/// Largest difference from the reference's logits, which are of order 1.
const TOLERANCE: f32 = 5e-5;

struct Families {
    golden: WeightsFile,
    described: Value,
    folder: tempfile::TempDir,
}

impl Families {
    fn open() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/families.safetensors");
        let text = std::fs::read_to_string(path.with_extension("json")).unwrap();
        Self {
            golden: WeightsFile::open(&path).unwrap(),
            described: serde_json::from_str(&text).unwrap(),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// The weights of a set, as a file of their own.
    fn weights(&self, set: &str) -> WeightsFile {
        let path = self.folder.path().join(format!("{set}.safetensors"));
        if !path.is_file() {
            let prefix = format!("{set}.");
            let keys = self
                .golden
                .keys()
                .filter_map(|key| Some((key, key.strip_prefix(&prefix)?)));
            let mut tensors: Vec<LazyTensor> = keys
                .map(|(key, name)| LazyTensor {
                    name: name.to_owned(),
                    dtype: Dtype::F32,
                    shape: self.golden.shape(key).unwrap().to_vec(),
                    read: Box::new(|| self.golden.bytes(key).unwrap()),
                })
                .collect();
            write_stream(&mut tensors, &path, &HashMap::new()).unwrap();
        }
        WeightsFile::open(&path).unwrap()
    }

    fn logits(&self, fields: Map<String, Value>, set: &str) -> Result<Vec<f32>, String> {
        let device = Device::flex();
        let config = LlamaConfig::published(fields).map_err(|problems| problems.join("; "))?;
        config.validate().map_err(|error| error.to_string())?;
        let model = Llama::new(&config, None, &device).filled(&config, &self.weights(set), &[]);
        let model = model.map_err(|error| error.to_string())?;
        let ids = self.golden.i64("input_ids").unwrap();
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
}

#[test]
fn equal_to_the_reference_or_refused() {
    let families = Families::open();
    let (mut equal, mut refused) = (0, 0);
    let mut problems = Vec::new();
    for case in families.described["cases"].as_array().unwrap() {
        let set = case["set"].as_str().unwrap();
        let mut fields = families.described["configs"][set]
            .as_object()
            .unwrap()
            .clone();
        let given = case["given"].as_object().unwrap();
        fields.extend(given.clone());
        for field in case["absent"].as_array().unwrap() {
            fields.remove(field.as_str().unwrap());
        }
        let place = format!("{set} {} without {}", case["given"], case["absent"]);
        let expected = case["logits"]
            .as_u64()
            .map(|number| families.golden.f32(&format!("logits.{number}")).unwrap());
        match (families.logits(fields, set), expected) {
            (Ok(found), Some(expected)) => {
                let difference = found.iter().zip(&expected).map(|(a, b)| (a - b).abs());
                let largest = difference.fold(0.0, f32::max);
                if largest < TOLERANCE {
                    equal += 1;
                } else {
                    problems.push(format!("{place}: differs by {largest}"));
                }
            }
            (Ok(_), None) => problems.push(format!("{place}: the reference refuses it")),
            (Err(told), _) => {
                refused += 1;
                // Weights of other shapes name keys, everything else its field.
                let absent = case["absent"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .filter_map(Value::as_str);
                let mut changed = given.keys().map(String::as_str).chain(absent).peekable();
                if changed.peek().is_none() {
                    problems.push(format!("{place}: refused: {told}"));
                }
                if !changed.any(|field| told.contains(field))
                    && !told.contains("weights do not fit")
                {
                    problems.push(format!("{place}: told {told}"));
                }
            }
        }
    }
    assert!(
        problems.is_empty(),
        "{} problems:\n{}",
        problems.len(),
        problems.join("\n")
    );
    assert!(
        equal > 300 && refused > 100,
        "{equal} equal, {refused} refused"
    );
}

#[test]
fn a_cache_knows_the_window() {
    let families = Families::open();
    let device = Device::flex();
    for set in ["mistral", "qwen2", "smollm3", "granite", "gemma"] {
        let fields = families.described["configs"][set]
            .as_object()
            .unwrap()
            .clone();
        let config = LlamaConfig::published(fields).unwrap();
        let model = Llama::new(&config, None, &device).filled(&config, &families.weights(set), &[]);
        let model = model.unwrap();
        let ids = families.golden.i64("input_ids").unwrap();
        let mut cache = deem_model::llama::LlamaCache::new();
        let read = |range: std::ops::Range<usize>,
                    cache: Option<&mut deem_model::llama::LlamaCache>| {
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
