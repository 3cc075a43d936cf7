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
    let logits = logits(&model);
    let expected = reference.f32("logits").unwrap();
    let relative = apart(&logits, &expected);
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

/// ‖found − expected‖ / ‖expected‖
fn apart(found: &[f32], expected: &[f32]) -> f32 {
    let norm = |numbers: &mut dyn Iterator<Item = f32>| numbers.map(|n| n * n).sum::<f32>().sqrt();
    let apart = norm(&mut found.iter().zip(expected).map(|(a, b)| a - b));
    apart / norm(&mut expected.iter().copied())
}

/// Logits of a model for the reference's tokens.
fn logits(model: &Llama) -> Vec<f32> {
    let reference = WeightsFile::open(&golden("gguf_llama.safetensors")).unwrap();
    let ids = reference.i64("input_ids").unwrap();
    let length = ids.len();
    let ids = Tensor::from_data(TensorData::new(ids, [1, length]), &Device::flex());
    let output = model.forward(LlamaInput {
        embeds: model.embed(ids),
        positions: consecutive_positions(1, 0, length),
        key_padding: None,
        images: None,
        cache: None,
    });
    let logits = model.lm_head(output.hidden).into_data();
    logits.try_into_vec().unwrap()
}

#[test]
fn quantised_matrices_may_stay_so() {
    let path = golden("gguf_llama.gguf");
    let config = GgufFile::open(&path).unwrap().llama_config().unwrap();
    let file = WeightsFile::open(&path).unwrap();
    let new = || Llama::new(&config, None, &Device::flex());
    let whole = new().filled(&config, &file, &[]).unwrap();
    let packed = new().packed(&config, &file).unwrap();
    let packed = packed.filled(&config, &file, &[]).unwrap();
    drop(file); // the matrices keep what they need of it
    let paths = packed.packed_paths();
    let table = "model.embed_tokens.weight".to_owned();
    assert!(paths.len() > 5 && paths.contains(&table), "{paths:?}");
    assert!(whole.packed_paths().is_empty());

    // Activations of 8 bits are within a hundredth.
    let (found, expected) = (logits(&packed), logits(&whole));
    assert_eq!(packed.packed_paths(), paths, "nothing was unpacked");
    let relative = apart(&found, &expected);
    assert!(
        relative > 0.0 && relative < 0.02,
        "logits differ by {relative:e}"
    );

    // Whoever wants the numbers gets those of the file, rows in their order.
    for (packed, whole) in packed.model.layers.iter().zip(&whole.model.layers) {
        let [packed, whole] = [packed, whole].map(|layer| layer.self_attn.q_proj.weight.val());
        assert_eq!(packed.into_data(), whole.into_data());
    }
    let [a, b] = [&packed, &whole].map(|llama| llama.model.embed_tokens.weight.val());
    assert_eq!(a.into_data(), b.into_data());
    assert!(
        !packed.packed_paths().contains(&table),
        "the numbers are meant now"
    );
}

#[test]
fn weights_loaded_over_packed_ones_are_meant() {
    let path = golden("gguf_llama.gguf");
    let config = GgufFile::open(&path).unwrap().llama_config().unwrap();
    let file = WeightsFile::open(&path).unwrap();
    let llama = Llama::new(&config, None, &Device::flex());
    let llama = llama.packed(&config, &file).unwrap();
    let llama = llama.filled(&config, &file, &[]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("trained.safetensors");
    let name = "model.layers.0.self_attn.q_proj.weight";
    let shape = file.shape(name).unwrap().to_vec();
    let tensor = deem_model::weights::StateTensor {
        name: name.into(),
        values: vec![0.5; shape.iter().product()],
        shape,
    };
    deem_model::weights::write(&[tensor], &other, Dtype::F32, Default::default()).unwrap();
    let options = LoadOptions {
        allow_missing: &[""],
        ..LoadOptions::default()
    };
    let before = llama.packed_paths();
    let llama = load(llama, &WeightsFile::open(&other).unwrap(), &options).unwrap();
    let after = llama.packed_paths();
    assert_eq!(before.len(), after.len() + 1);
    assert!(before.contains(&name.to_owned()) && !after.contains(&name.to_owned()));
}

#[test]
fn packed_matrices_with_numbers_that_are_none_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("broken.gguf");
    let whole = golden("gguf_llama.gguf");
    let key = "model.embed_tokens.weight";
    let table = WeightsFile::open(&whole).unwrap().packed(key).unwrap();
    let row = table.unpack_rows([0]);
    let mut bytes = std::fs::read(&whole).unwrap();
    // The first block's scale becomes infinite.
    let format = table.format();
    let mut blocks = bytes.windows(format.bytes());
    let first = blocks.position(|block| format.unpack(block) == row[..format.values()]);
    bytes[first.unwrap()..][..2].copy_from_slice(&half::f16::INFINITY.to_le_bytes());
    std::fs::write(&path, bytes).unwrap();
    let config = GgufFile::open(&path).unwrap().llama_config().unwrap();
    let file = WeightsFile::open(&path).unwrap();
    let error = Llama::new(&config, None, &Device::flex()).packed(&config, &file);
    let error = error.unwrap_err().to_string();
    assert!(
        error.contains("NaN or infinite") && error.contains(key),
        "{error}"
    );
}
