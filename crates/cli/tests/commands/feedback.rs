//! A very small CLIP is corrected as a user would correct a large one.

use std::fs;
use std::path::{Path, PathBuf};

use image::{Rgb, RgbImage};
use serde_json::Value;

use super::{fails, succeeds};

/// The tiny preset's diffusion model, and a very small CLIP.
const CONFIG: &str = r#"
[weights]
encoder = "CLIP"
diffusion = "preset:tiny"

[model]
diffusion_size = 48
condition = "class"

[model.encoder]
hidden_size = 24
intermediate_size = 48
num_hidden_layers = 2
num_attention_heads = 2
image_size = 32
patch_size = 8
projection_dim = 12

[model.autoencoder]
down_block_types = ["DownEncoderBlock2D", "DownEncoderBlock2D", "DownEncoderBlock2D", "DownEncoderBlock2D"]
up_block_types = ["UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D"]
block_out_channels = [16, 32, 64, 64]
layers_per_block = 1
latent_channels = 12
norm_num_groups = 8
scaling_factor = 0.41055

[model.unet]
in_channels = 12
out_channels = 12
down_block_types = ["CrossAttnDownBlock2D", "CrossAttnDownBlock2D"]
up_block_types = ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D"]
block_out_channels = [80, 160]
layers_per_block = 1
norm_num_groups = 16
cross_attention_dim = 128
attention_head_dim = [4, 8]
use_linear_projection = true

[[stages]]
name = "projection"
batch = 2
objectives = [{ kind = "feedback", weight = 1.0 }]
train = { save_every = 1, schedule = { steps = 1, warmup = 1 }, groups = [{ patterns = ["projection.*"], learning_rate = 1e-3 }] }

[[stages]]
name = "eyes"
batch = 2
objectives = [
    { kind = "contrast", weight = 1.0 },
    { kind = "retention", weight = 1.0, image_text = 1.0, texts = "texts.txt" },
]

[stages.train]
save_every = 1
schedule = { steps = 2, warmup = 1 }
groups = [{ patterns = ["*.lora.*"], learning_rate = 1e-2 }]
lora = [{ patterns = ["vision_model.*"], rank = 2, alpha = 4 }]
"#;

fn clip() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../engine/tests/golden/clip")
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let config = CONFIG.replace("\"CLIP\"", &format!("{:?}", clip()));
    fs::write(at("run.toml"), config).unwrap();
    fs::write(at("texts.txt"), "a cat\na red dog\n\n").unwrap();
    fs::create_dir_all(at("pictures/more")).unwrap();
    for number in 0..4u8 {
        let picture =
            RgbImage::from_fn(50, 40, |x, y| Rgb([x as u8 * 5, y as u8 * 6, number * 60]));
        picture
            .save(at(&format!("pictures/more/{number}.png")))
            .unwrap();
    }
    folder
}

#[test]
fn pictures_in_a_corrected_clip_out() {
    let folder = folder();
    let run = ["feedback", "--config", "run.toml", "--data", "pictures"];
    let run = [&run[..], &["--output", "runs/eyes", "--offline"]].concat();
    let told = succeeds(&run, folder.path());
    assert_eq!(told.trim(), "runs/eyes/encoder");
    let at = |name: &str| folder.path().join("runs/eyes").join(name);
    for name in [
        "projection/run.json",
        "eyes/metrics.jsonl",
        "eyes/adapter/adapter_model.safetensors",
        "encoder/config.json",
        "encoder/tokenizer.json",
    ] {
        assert!(at(name).is_file(), "{name}");
    }
    let weights = |path: &Path| fs::read(path.join("model.safetensors")).unwrap();
    let first = weights(&at("encoder"));
    assert_ne!(first, weights(&clip()));
    // The run stands for its encoder.
    succeeds(&["convert", "runs/eyes", "corrected"], folder.path());
    let corrected = folder.path().join("corrected");
    assert!(first == weights(&corrected));
    for name in ["config.json", "tokenizer.json"] {
        assert!(corrected.join(name).is_file(), "{name}");
    }
    // The same command again finds nothing left to do and says the same.
    succeeds(&run, folder.path());
    assert!(first == weights(&at("encoder")));
    // Another configuration in the same place is refused, naming what differs.
    let other = [&run[..], &["--set", "stages.1.density=0.5"]].concat();
    let (_, error) = fails(&other, folder.path());
    assert!(error.contains("objective.density"), "{error}");
}

#[test]
fn data_that_is_none_is_named() {
    let folder = folder();
    fs::create_dir(folder.path().join("words")).unwrap();
    let run = |data: &str| {
        let run = [
            "feedback",
            "--config",
            "run.toml",
            "--offline",
            "--data",
            data,
        ];
        fails(&run, folder.path()).1
    };
    assert!(run("nowhere").contains("found nothing"));
    assert!(run("words").contains("it should hold pictures"));
    fs::write(folder.path().join("words/captions.jsonl"), "{}").unwrap();
    assert!(run("words").contains("captions without pictures"));
    let without = ["feedback", "--config", "run.toml", "--offline"];
    let (_, error) = fails(&without, folder.path());
    assert!(error.contains("--data"), "{error}");
}

#[test]
fn full_size_corrections_are_counted_and_estimated() {
    let folder = tempfile::tempdir().unwrap();
    for name in [
        "clip-vit-l-14-feedback",
        "clip-vit-l-14-336-feedback",
        "clip-vit-l-14-genhancer",
        "clip-metaclip-l-14-feedback",
        "siglip-so400m-14-384-feedback",
    ] {
        let config =
            Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../configs/{name}.toml"));
        let config = config.to_str().unwrap();
        let json = |command: &str| -> Value {
            let told = succeeds(&[command, "--config", config, "--json"], folder.path());
            serde_json::from_str(&told).unwrap()
        };
        let counts = json("params");
        let trained = counts["components"]["vision_model"]["trainable"].as_u64();
        assert_eq!(trained, counts["trainable"].as_u64(), "{name}");
        assert!(trained.unwrap() > 7_000_000, "{name}");
        let estimates = json("doctor");
        let bytes = estimates["estimates"][0]["uses"]["training"]["total"].as_u64();
        assert!(bytes.unwrap() > 1 << 30, "{name}");
        let precisions: Vec<&Value> = estimates["estimates"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|estimate| &estimate["precision"])
            .collect();
        assert_eq!(precisions.len(), 2, "no language model, {precisions:?}");
    }
}
