//! A small model under the official checkpoints' names comes back as it was.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::Device;
use deem_model::deem::{Deem, DeemConfig};
use deem_model::weights::init::{Fill, initialize};
use deem_model::weights::{
    LazyTensor, LoadOptions, StateTensor, WeightsFile, is_official, load, read_tensors, state,
    to_deem, write, write_stream,
};
use safetensors::Dtype;

const CONFIG: &str = r#"{
    "image_size": 64, "diffusion_size": 16, "new_tokens": 6,
    "tokens": {"bos": 1, "eos": 2, "pad": 9, "soi": 10, "image": 11},
    "image_encoder": {
        "queries": 3,
        "vision": {"tower": "conv_next", "pyramid_dim": 8, "projection_dim": 4,
            "trunk": {"depths": [1, 1, 1, 1], "dims": [8, 8, 8, 8]}},
        "resampler": {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2,
            "intermediate_size": 16, "encoder_hidden_size": 8, "qk_normalization": true}
    },
    "llama": {"vocab_size": 10, "hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 2,
        "num_attention_heads": 2},
    "llama_mmfs": {"every": 2, "value_dim": 8, "attention_dim": 8, "heads": 2, "points": 2},
    "image_decoder": {
        "resampler": {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2,
            "intermediate_size": 16, "cross_attention_frequency": 1, "encoder_hidden_size": 8},
        "synchronizer": {"value_dim": 8, "attention_dim": 8, "heads": 2, "points": 2, "base_size": 2,
            "position_grid": 2}
    },
    "autoencoder": {"block_out_channels": [8], "norm_num_groups": 4},
    "unet": {"block_out_channels": [8, 8], "layers_per_block": 1, "norm_num_groups": 4,
        "attention_head_dim": 2, "cross_attention_dim": 8,
        "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
        "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"]},
    "scheduler": {}
}"#;

fn config() -> DeemConfig {
    serde_json::from_str(CONFIG).unwrap()
}

fn model(seed: u64) -> Deem {
    let model = Deem::new(&config(), &Device::flex()).unwrap();
    initialize(model, seed, &[("", Fill::Normal(0.1))])
}

/// The official name, written down from the official classes (spec: the DEEM method; the names of the
/// modules are those of `MMInterleaved` in the DEEM repository).
fn official(name: &str) -> String {
    for (own, theirs) in [
        ("unet.", "visual_tokenizer.encoder.unet."),
        ("autoencoder.", "visual_tokenizer.encoder.vae."),
        (
            "image_decoder.synchronizer.",
            "visual_tokenizer.encoder.mmfs_module.",
        ),
        (
            "image_encoder.vision.",
            "visual_tokenizer.sniffer.vision_model.",
        ),
        (
            "image_encoder.resampler.",
            "visual_tokenizer.perceiver_resampler.blip2qformer.",
        ),
        (
            "image_encoder.query_tokens",
            "visual_tokenizer.perceiver_resampler.queries",
        ),
        ("image_encoder.ln.", "visual_tokenizer.post_ln."),
        ("image_encoder.", "visual_tokenizer."),
        (
            "image_decoder.resampler.",
            "image_decoder.perceiver_resampler.blip2qformer.",
        ),
        (
            "image_decoder.query_tokens",
            "image_decoder.perceiver_resampler.queries",
        ),
        (
            "image_decoder.null_condition",
            "image_decoder.neg_prompt_embeds",
        ),
        ("image_decoder.context_feat_proj.", "context_feat_proj."),
        ("llama.lm_head.", "text_decoder.head."),
        ("llama.model.", "mm_decoder."),
        ("text_decoder.", "text_decoder."),
        ("soi_token", "soi_token"),
    ] {
        if let Some(rest) = name.strip_prefix(own) {
            let name = format!("{theirs}{rest}");
            return if theirs == "mm_decoder." {
                name.replace(".mmfs.", ".llama_cross_attn.")
            } else {
                name
            };
        }
    }
    panic!("{name} has no official name");
}

/// A model as the official trainer would have saved it.
fn saved(model: &Deem) -> Vec<StateTensor> {
    let mut tensors = state(model);
    for tensor in &mut tensors {
        let wrapped = ["soi_token", "query_tokens", "null_condition"];
        if wrapped.iter().any(|name| tensor.name.ends_with(name)) {
            tensor.shape.insert(0, 1);
        }
        tensor.name = official(&tensor.name);
        // The tables go on with six appended tokens; the first of them is <soi>.
        if ["mm_decoder.embed_tokens.weight", "text_decoder.head.weight"].contains(&&*tensor.name) {
            tensor.shape[0] += 6;
            tensor
                .values
                .extend((0..6 * 8).map(|i| (i / 8) as f32 + 1.0));
        }
        if tensor.name == "soi_token" {
            tensor.values.iter_mut().for_each(|value| *value -= 1.0);
        }
    }
    for (name, shape) in [
        ("text_decoder.head.bias", vec![16]),
        ("visual_tokenizer.pos_embed", vec![257, 8]),
        ("visual_tokenizer.clip_mean", vec![1, 3, 1, 1]),
        ("visual_tokenizer.neg_prompt_embeds", vec![1, 3, 8]),
        (
            "mm_decoder.layers.0.llama_cross_attn.attn.ignore_token",
            vec![1, 1, 1, 8],
        ),
        (
            "visual_tokenizer.encoder.mmfs_module.mmfs_mid_block.pos_embed",
            vec![4, 8],
        ),
    ] {
        let values = vec![0.0; shape.iter().product()];
        tensors.push(StateTensor {
            name: name.into(),
            shape,
            values,
        });
    }
    tensors
}

fn converted(file: &WeightsFile, to: &Path) -> Result<Vec<String>, String> {
    let tensors = read_tensors(&[], std::slice::from_ref(file));
    let (mut tensors, dropped) = to_deem(tensors, file.path()).map_err(|e| e.to_string())?;
    write_stream(&mut tensors, to, &Default::default()).map_err(|e| e.to_string())?;
    Ok(dropped)
}

#[test]
fn a_model_comes_back_from_official_names() {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (
        folder.path().join("a.safetensors"),
        folder.path().join("b.safetensors"),
    );
    let original = model(1);
    write(&saved(&original), &from, Dtype::F32, Default::default()).unwrap();
    let file = WeightsFile::open(&from).unwrap();
    assert!(is_official(file.keys()));
    let dropped = converted(&file, &to).unwrap();
    assert_eq!(dropped.len(), 6, "{dropped:?}");

    let values = |model: &Deem| -> BTreeMap<String, Vec<f32>> {
        let tensors = state(model).into_iter();
        tensors.map(|tensor| (tensor.name, tensor.values)).collect()
    };
    // Nothing missing, nothing unused.
    let loaded = load(
        model(2),
        &WeightsFile::open(&to).unwrap(),
        &LoadOptions::default(),
    )
    .unwrap();
    let (expected, found) = (values(&original), values(&loaded));
    for (name, expected) in &expected {
        for (a, b) in expected.iter().zip(&found[name]) {
            assert!((a - b).abs() < 1e-6, "{name}: {a} became {b}");
        }
    }
    assert!(!is_official(WeightsFile::open(&to).unwrap().keys()));
}

#[test]
fn what_is_not_official_is_named() {
    let tensor = |name: &str, shape: &[usize]| LazyTensor {
        name: name.into(),
        dtype: Dtype::F32,
        shape: shape.into(),
        read: Box::new(Vec::new),
    };
    let error = |tensors: Vec<LazyTensor<'static>>| {
        let result = to_deem(tensors, Path::new("x.pt"));
        result.map(drop).unwrap_err().to_string()
    };
    let told = error(vec![
        tensor("visual_tokenizer.mystery.weight", &[1]),
        tensor("optimizer", &[1]),
    ]);
    assert!(
        told.contains("mystery") && told.contains("optimizer") && told.contains("x.pt"),
        "{told}"
    );
    let told = error(vec![tensor("soi_token", &[2, 8])]);
    assert!(told.contains("[1, …]") && told.contains("[2, 8]"), "{told}");
    let told = error(vec![
        tensor("text_decoder.head_new.weight", &[6, 8]),
        tensor("mm_decoder.embed_tokens.weight", &[4, 8]),
    ]);
    assert!(told.contains("4 rows"), "{told}");
}
