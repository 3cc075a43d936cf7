//! Damaged files: every reader of weights and of public configurations reads or refuses them, by name.

#[path = "../../../../fuzz/mutate.rs"]
mod mutate;
#[path = "../../../../fuzz/readers/model.rs"]
mod readers;

use std::fs;
use std::path::Path;

use mutate::survives;
use readers::NAME;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, serialize};

fn golden(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    fs::read(folder.join(name)).unwrap()
}

#[test]
fn safetensors() {
    let folder = tempfile::tempdir().unwrap();
    let valid = golden("pickle.safetensors");
    survives(&valid, &[NAME], |bytes| {
        readers::safetensors(folder.path(), bytes)
    });
}

#[test]
fn index() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(
        folder.path().join("shard.safetensors"),
        golden("pickle.safetensors"),
    )
    .unwrap();
    let shard = deem_model::weights::WeightsFile::open(&folder.path().join("shard.safetensors"));
    let shard = shard.unwrap();
    let keys = shard
        .keys()
        .map(|key| format!("{key:?}: \"shard.safetensors\""));
    let keys = keys.collect::<Vec<_>>().join(", ");
    let valid = format!("{{\"metadata\": {{\"total_size\": 8}}, \"weight_map\": {{{keys}}}}}");
    // The index, or the shard that it names, which may have got any name.
    let at = folder.path().display().to_string();
    survives(valid.as_bytes(), &[&at], |bytes| {
        readers::index(folder.path(), bytes)
    });
}

#[test]
fn gguf() {
    let folder = tempfile::tempdir().unwrap();
    survives(&golden("gguf_encodings.gguf"), &[NAME], |bytes| {
        readers::gguf(folder.path(), bytes)
    });
    survives(&golden("gguf_llama.gguf"), &[NAME], |bytes| {
        readers::gguf_model(folder.path(), bytes)
    });
}

#[test]
fn pickles() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["pickle_zip.pt", "pickle_legacy.pt", "pickle_wrapped.pt"] {
        survives(&golden(name), &[NAME], |bytes| {
            readers::pickle(folder.path(), bytes)
        });
    }
}

#[test]
fn official_checkpoints() {
    let folder = tempfile::tempdir().unwrap();
    let numbers: Vec<u8> = (0..40u8).collect();
    let tensors = [
        ("visual_tokenizer.pos_ln.weight", vec![2]),
        (
            "visual_tokenizer.sniffer.vision_model.adapter_spm.stem.0.weight",
            vec![2, 1],
        ),
        (
            "visual_tokenizer.perceiver_resampler.queries",
            vec![1, 2, 2],
        ),
        (
            "visual_tokenizer.encoder.vae.encoder.mid_block.attentions.0.query.weight",
            vec![2, 2],
        ),
        ("mm_decoder.embed_tokens.weight", vec![5, 2]),
        ("mm_decoder.layers.0.llama_cross_attn.ignore_token", vec![2]),
        ("text_decoder.head.weight", vec![5, 2]),
        ("text_decoder.head_new.weight", vec![3, 2]),
        ("soi_token", vec![1, 2]),
    ];
    let views = tensors.map(|(name, shape)| {
        let length = 4 * shape.iter().product::<usize>();
        (
            name,
            TensorView::new(Dtype::F32, shape, &numbers[..length]).unwrap(),
        )
    });
    let valid = serialize(views, None).unwrap();
    survives(&valid, &[NAME], |bytes| {
        readers::official(folder.path(), bytes)
    });
}

#[test]
fn configurations() {
    let valid = r#"{"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "hidden_act": "gelu", "head_dim": 16,
        "max_position_embeddings": 32, "layer_norm_eps": 1e-5, "patch_size": 4, "image_size": 16,
        "rope_scaling": {"rope_type": "longrope", "short_factor": [1, 1, 1, 1, 1, 1, 1, 1],
            "long_factor": [2, 2, 2, 2, 2, 2, 2, 2.5], "original_max_position_embeddings": 16},
        "depths": [1, 1, 2, 1], "dims": [4, 8, 8, 8], "block_out_channels": [32, 64],
        "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"], "layers_per_block": 1,
        "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"], "attention_head_dim": [2, 4],
        "transformer_layers_per_block": [1, [1]],
        "reverse_transformer_layers_per_block": [[1, 1], 1], "cross_attention_dim": 8, "norm_num_groups": 8,
        "act_fn": "silu"}"#;
    let autoencoder = r#"{"block_out_channels": [32], "down_block_types": ["DownEncoderBlock2D"],
        "up_block_types": ["UpDecoderBlock2D"]}"#;
    survives(valid.as_bytes(), &[], readers::networks);
    survives(autoencoder.as_bytes(), &[], readers::autoencoder);
}

#[test]
fn schedules() {
    let valid = r#"{"_class_name": "PNDMScheduler", "beta_start": 0.00085, "beta_end": 0.012,
        "beta_schedule": "scaled_linear", "num_train_timesteps": 1000, "prediction_type": "epsilon",
        "steps_offset": 1, "clip_sample": false, "set_alpha_to_one": false, "solver_order": 2,
        "algorithm_type": "dpmsolver++", "final_sigmas_type": "zero", "lambda_min_clipped": -Infinity,
        "timestep_spacing": "leading", "use_karras_sigmas": true, "trained_betas": null}"#;
    survives(
        valid.as_bytes(),
        &["scheduler", "timestep", "sampling steps"],
        readers::scheduler,
    );
}
