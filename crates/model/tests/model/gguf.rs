//! GGUF files against what the `gguf` package and transformers make of them (tools/parity/export_gguf.py).

use std::path::PathBuf;

use burn::tensor::{Device, Tensor, TensorData};
use deem_model::llama::{Llama, LlamaConfig, LlamaInput, RopeType, consecutive_positions};
use deem_model::weights::gguf::GgufFile;
use deem_model::weights::{Dtype, LoadOptions, WeightsFile, find, load};

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name)
}

#[test]
fn every_encoding_unpacks_to_the_same_bits() {
    let file = GgufFile::open(&golden("gguf_encodings.gguf")).unwrap();
    let expected = WeightsFile::open(&golden("gguf_encodings.safetensors")).unwrap();
    let bits = |numbers: Vec<f32>| numbers.into_iter().map(f32::to_bits).collect::<Vec<_>>();
    let mut seen = 0;
    for tensor in file.tensors() {
        let name = tensor.name();
        assert_eq!(tensor.encoding().name, name);
        assert_eq!(Some(tensor.shape()), expected.shape(name));
        let (found, expected) = (file.f32(name).unwrap(), expected.f32(name).unwrap());
        assert!(found.iter().any(|number| *number != found[0]), "{name}");
        assert_eq!(bits(found), bits(expected), "{name}");
        seen += 1;
    }
    assert_eq!(seen, expected.keys().count());
    assert_eq!(file.count("none.count").unwrap(), Some(3));
    let words = file.texts("none.words").unwrap().unwrap();
    assert_eq!(words, ["one", "zwei", "三"]);
    let error = file.text("none.words").unwrap_err().to_string();
    for part in [
        "gguf_encodings.gguf",
        "none.words",
        "one string",
        "an array of 3 × string",
    ] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn a_llama_is_read_as_transformers_would() {
    let path = golden("gguf_llama.gguf");
    let config = GgufFile::open(&path).unwrap().llama_config().unwrap();
    let json = std::fs::read_to_string(golden("gguf_llama.json")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let expected: LlamaConfig = serde_json::from_value(json["config"].clone()).unwrap();
    assert_eq!(config.rope().kind(), RopeType::Default);
    assert_eq!(config.rope(), expected.rope());
    let same = LlamaConfig {
        head_dim: None,
        rope_parameters: None,
        rope_theta: expected.rope_theta,
        ..config.clone()
    };
    assert_eq!(same, expected);

    let device = Device::flex();
    let file = WeightsFile::open(&path).unwrap();
    let model = Llama::new(&config, None, &device);
    let model = load(model, &file, &LoadOptions::default()).unwrap();
    let reference = WeightsFile::open(&golden("gguf_llama.safetensors")).unwrap();
    let ids = reference.i64("input_ids").unwrap();
    let length = ids.len();
    let ids = Tensor::from_data(TensorData::new(ids, [1, length]), &device);
    let output = model.forward(LlamaInput {
        embeds: model.embed(ids),
        positions: consecutive_positions(1, 0, length),
        key_padding: None,
        images: None,
        cache: None,
    });
    let logits = model.lm_head(output.hidden).into_data();
    let logits: Vec<f32> = logits.try_into_vec().unwrap();
    let expected = reference.f32("logits").unwrap();
    let norm = |numbers: &mut dyn Iterator<Item = f32>| numbers.map(|n| n * n).sum::<f32>().sqrt();
    let apart = norm(&mut logits.iter().zip(&expected).map(|(a, b)| a - b));
    let relative = apart / norm(&mut expected.iter().copied());
    assert!(relative < 1e-5, "logits differ by {relative:e}");
}

/// What `deem convert` writes: numbers keep their own type if they have one.
#[test]
fn bytes_and_numbers_say_the_same() {
    let file = WeightsFile::open(&golden("gguf_llama.gguf")).unwrap();
    for (key, dtype) in [
        ("model.layers.0.self_attn.k_proj.weight", Dtype::F16),
        ("model.layers.1.mlp.up_proj.weight", Dtype::BF16),
        ("model.layers.1.self_attn.q_proj.weight", Dtype::F32),
        ("model.norm.weight", Dtype::F32),
    ] {
        assert_eq!(file.dtype(key), Some(dtype), "{key}");
        let bytes = file.bytes(key).unwrap();
        let numbers: Vec<f32> = match dtype {
            Dtype::F32 => pieces(&bytes, f32::from_le_bytes),
            Dtype::F16 => pieces(&bytes, |b| half::f16::from_le_bytes(b).to_f32()),
            _ => pieces(&bytes, |b| half::bf16::from_le_bytes(b).to_f32()),
        };
        assert_eq!(numbers, file.f32(key).unwrap(), "{key}");
    }
}

fn pieces<const N: usize>(bytes: &[u8], number: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|b| number(*b)).collect()
}

#[test]
fn a_folder_with_one_gguf_file_is_a_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let error = find(folder.path()).unwrap_err().to_string();
    assert!(error.contains(".gguf"), "{error}");
    let path = folder.path().join("small.Q4_1.gguf");
    std::fs::copy(golden("gguf_llama.gguf"), &path).unwrap();
    assert_eq!(find(folder.path()).unwrap(), path);
}
