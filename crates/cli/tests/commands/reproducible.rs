//! Everything that is trained, and what is evaluated of it, is the same with every instruction set and any number of
//! threads: pre-training of all stand-ins, the stages, questions. What is the same on other machines, too, stands in
//! crates/engine/tests/reproducible.rs.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use deem_kernels::InstructionSet;
use deem_model::weights::sha256;
use serde_json::Value;

/// The tiny preset, so small that all of it takes seconds.
const SMALL: [&str; 26] = [
    "model.image_size=48",
    "model.diffusion_size=16",
    "model.image_encoder.queries=5",
    "model.image_encoder.vision.trunk.dims=[16, 24, 32, 40]",
    "model.image_encoder.vision.trunk.depths=[1, 1, 1, 1]",
    "model.image_encoder.resampler.num_hidden_layers=1",
    "model.llama.num_hidden_layers=2",
    "model.llama_mmfs.every=2",
    "model.llama.hidden_size=64",
    "model.llama.num_attention_heads=4",
    "model.llama.num_key_value_heads=2",
    "model.llama.intermediate_size=96",
    "model.image_decoder.resampler.encoder_hidden_size=64",
    "model.unet.block_out_channels=[32, 48]",
    "model.unet.attention_head_dim=[2, 2]",
    "model.unet.norm_num_groups=8",
    "model.autoencoder.block_out_channels=[8, 8, 16, 16]",
    "model.autoencoder.norm_num_groups=4",
    "miner.trunk.image_size=48",
    "miner.trunk.num_hidden_layers=4",
    "evaluation.robust_vqa=12",
    "evaluation.pope=12",
    "evaluation.mmvp=12",
    "evaluation.region=4",
    "diffusion_text.num_hidden_layers=1",
    "clip_text.num_hidden_layers=1",
];

/// A run with few steps and small batches.
pub fn few(run: &str) -> [String; 3] {
    [
        format!("{run}.batch=4"),
        format!("{run}.train.schedule.steps=2"),
        format!("{run}.train.schedule.warmup=1"),
    ]
}

/// Runs with few steps and small batches.
pub fn quick() -> Vec<String> {
    let parts = ["autoencoder", "clip", "miner", "llm", "diffusion"];
    let alone = parts.map(|part| format!("pretrain.{part}"));
    let connect = (0..5).map(|stage| format!("pretrain.connect.{stage}"));
    let stages = (0..3).map(|stage| format!("stages.{stage}"));
    let runs = alone.into_iter().chain(connect).chain(stages);
    let few = runs.flat_map(|run| few(&run));
    SMALL.map(str::to_owned).into_iter().chain(few).collect()
}

/// Makes the stand-ins, trains and evaluates an arm in an empty folder.
fn everything(folder: &Path, set: InstructionSet, threads: usize) {
    let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets");
    let standins = folder.join("standins");
    fs::create_dir(&standins).unwrap();
    for name in ["model.toml", "experiment.toml"] {
        fs::copy(assets.join("standins/tiny").join(name), standins.join(name)).unwrap();
    }
    let parts = [
        "autoencoder",
        "clip",
        "miner",
        "llm",
        "diffusion",
        "connect",
    ];
    let pretrain = parts.map(|part| vec!["pretrain", part, "-o", "pretrain"]);
    let install = vec!["pretrain", "--install", "standins", "-o", "pretrain"];
    let reproduce = vec!["reproduce", "--arms", "feedback", "-o", "study"];
    for command in pretrain.into_iter().chain([install, reproduce]) {
        let output = Command::new(env!("CARGO_BIN_EXE_deem"))
            .args(&command)
            .args(["--standins", "standins"])
            .args(quick().iter().flat_map(|field| ["--set", field]))
            .current_dir(folder)
            .env("DEEM_ASSETS", &assets)
            .env("DEEM_SIMD", set.to_string())
            .env("RAYON_NUM_THREADS", threads.to_string())
            .output()
            .expect("the program starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command:?}, {set}: {said}");
    }
}

/// Everything but what it took.
fn without_seconds(mut value: Value) -> Value {
    match &mut value {
        Value::Object(fields) => {
            fields.retain(|name, _| !name.contains("second") && !name.ends_with("utilization"));
            for field in fields.values_mut() {
                *field = without_seconds(field.take());
            }
        }
        Value::Array(entries) => {
            entries.retain(|entry| entry["name"] != "seconds_per_step");
            for entry in entries {
                *entry = without_seconds(entry.take());
            }
        }
        _ => {}
    }
    value
}

/// Checksums of what a run left: weights, optimizers, logs, answers, results.
fn left(folder: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(folder).unwrap().display().to_string();
            let timeless = |text: &str| {
                let value = serde_json::from_str(text).expect("JSON");
                without_seconds(value).to_string()
            };
            let content = match path.extension().and_then(|kind| kind.to_str()) {
                Some("safetensors") => fs::read(&path).unwrap(),
                Some("jsonl") => {
                    let text = fs::read_to_string(&path).unwrap();
                    text.lines().map(timeless).collect::<String>().into()
                }
                Some("json") if name.ends_with("results.json") => {
                    timeless(&fs::read_to_string(&path).unwrap()).into()
                }
                _ => continue,
            };
            found.insert(name, sha256(&content));
        }
    }
    found
}

#[test]
fn all_that_is_trained_and_evaluated_is_the_same_with_any_instructions_and_threads() {
    let sets: Vec<_> = InstructionSet::available().collect();
    let mut first: Option<BTreeMap<String, String>> = None;
    for (index, threads) in [1, 2, 4].into_iter().enumerate() {
        let set = sets[index % sets.len()];
        let folder = tempfile::tempdir().unwrap();
        everything(folder.path(), set, threads);
        let found = left(folder.path());
        for some in [
            "pretrain/clip/checkpoint/model.safetensors",
            "pretrain/standins/unet/model.safetensors",
            "standins/connect/model.safetensors",
            "pretrain/connect-diffusion/checkpoint/optimizer.safetensors",
            "study/feedback/seed-1/stage3/metrics.jsonl",
            "study/feedback/seed-1/records.jsonl",
            "study/results.json",
        ] {
            assert!(
                found.contains_key(some),
                "{some} is missing: {:?}",
                found.keys()
            );
        }
        let expected = first.get_or_insert_with(|| found.clone());
        let differing: Vec<_> = expected
            .iter()
            .filter(|(name, sum)| found.get(*name) != Some(sum))
            .map(|(name, _)| name)
            .collect();
        assert!(
            differing.is_empty(),
            "{set}, {threads} threads: {differing:?}"
        );
    }
}
