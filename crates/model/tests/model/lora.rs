//! Low-rank adapters against PEFT (tools/parity/export_lora.py).

use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use deem_model::clip::config::ClipVisionConfig;
use deem_model::clip::vit::ClipVit;
use deem_model::lora::peft::{self, PeftFile};
use deem_model::lora::{
    AdapterSpec, Masks, attach, linear_layers, merged_weights, states, unmerge,
};
use deem_model::weights::{LoadOptions, WeightsFile, load};
use serde_json::Value;

use crate::support::{gradients_of, values};

/// transformers' `CLIPVisionModelWithProjection`.
#[derive(Module, Debug)]
struct Tower {
    vision_model: ClipVit,
}

fn public(path: &str) -> String {
    path.replace("vision_model.visual_projection", "visual_projection")
}

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/lora")
}

struct Case {
    file: WeightsFile,
    tower: Tower,
    pixels: Tensor<4>,
}

fn open(checkpointing: bool) -> Case {
    let device = Device::flex().autodiff();
    let json = std::fs::read_to_string(golden().join("golden.json")).unwrap();
    let json: Value = serde_json::from_str(&json).unwrap();
    let config: ClipVisionConfig = serde_json::from_value(json["config"].clone()).unwrap();
    let file = WeightsFile::open(&golden().join("golden.safetensors")).unwrap();
    let vision_model = ClipVit::new(&config, &device)
        .with_projection(&config, &device)
        .with_checkpointing(checkpointing);
    let rename = |path: &str| format!("weight.{}", public(path));
    let options = LoadOptions {
        rename: Some(&rename),
        allow_unused: &["input.", "output.", "grad.", "merged."],
        ..LoadOptions::default()
    };
    let tower = load(Tower { vision_model }, &file, &options)
        .unwrap()
        .no_grad();
    let pixels = TensorData::new(file.f32("input.pixel_values").unwrap(), [2, 3, 16, 16]);
    Case {
        pixels: Tensor::from_data(pixels, &device),
        tower,
        file,
    }
}

fn embeds(tower: &Tower, pixels: &Tensor<4>) -> Tensor<2> {
    tower
        .vision_model
        .forward(pixels.clone(), &[])
        .image_embeds
        .unwrap()
}

fn error(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let square = |x: f32| f64::from(x) * f64::from(x);
    let difference: f64 = found.iter().zip(expected).map(|(a, b)| square(a - b)).sum();
    (difference / expected.iter().map(|x| square(*x)).sum::<f64>()).sqrt()
}

#[test]
fn peft_adapters_give_what_they_give_in_peft() {
    for checkpointing in [false, true] {
        let Case {
            file,
            tower,
            pixels,
        } = open(checkpointing);
        let before = values(embeds(&tower, &pixels));
        let adapters = PeftFile::read(&golden()).unwrap();
        let masks = Masks::default();
        let (tower, specs) = adapters.apply(tower, &public, 0, &masks).unwrap();
        let output = embeds(&tower, &pixels);
        let expected = file.f32("output.image_embeds").unwrap();
        assert!(error(&values(output.clone()), &expected) < 1e-5);
        assert!(error(&before, &expected) > 0.05, "adapters must be visible");

        let gradients = (output.square().mean() / 2.0).backward();
        let found = gradients_of(&tower, &gradients);
        let keys: Vec<&str> = file
            .keys()
            .filter_map(|key| key.strip_prefix("grad."))
            .collect();
        assert_eq!(found.len(), keys.len(), "only adapters have gradients");
        for key in keys {
            let own = key.replace(".lora_A.weight", ".weight.lora.a");
            let own = own.replace(".lora_B.weight", ".weight.lora.b");
            let own = own.replace("visual_projection", "vision_model.visual_projection");
            let expected = file.f32(&format!("grad.{key}")).unwrap();
            let error = error(&found[&own], &expected);
            assert!(error < 1e-4, "{key}: {error}");
        }

        let merged = merged_weights(&tower, &specs);
        assert_eq!(merged.len(), specs.len());
        for tensor in merged {
            let key = format!("merged.{}", public(&tensor.name));
            let error = error(&tensor.f32().unwrap(), &file.f32(&key).unwrap());
            assert!(error < 1e-6, "{key}: {error}");
        }
        let kept = states(&tower, &specs);
        let folded = tower.materialize();
        assert_eq!(folded.num_params(), open(false).tower.num_params());
        assert!(error(&values(embeds(&folded, &pixels)), &expected) < 1e-5);
        let again = unmerge(folded, &kept, 0, &masks);
        assert_eq!(states(&again, &specs), kept);
        assert!(error(&values(embeds(&again, &pixels)), &expected) < 1e-5);
        let bare: Vec<AdapterSpec> = Vec::new();
        assert!(states(&again, &bare).is_empty());
    }
}

/// Tensors bit for bit, and the fields of the configuration that say something about the arithmetic.
#[test]
fn what_is_written_is_what_peft_writes() {
    let Case { tower, .. } = open(false);
    let theirs = PeftFile::read(&golden()).unwrap();
    let (tower, specs) = theirs.apply(tower, &public, 0, &Masks::default()).unwrap();
    let temporary = tempfile::tempdir().unwrap();
    let kept = std::env::var_os("DEEM_LORA_FOLDER").map(PathBuf::from);
    let folder = kept.unwrap_or_else(|| temporary.path().join("adapter"));
    peft::save(&states(&tower, &specs), &folder, &public, "").unwrap();
    // A second time over the first.
    peft::save(&states(&tower, &specs), &folder, &public, "").unwrap();
    let open =
        |folder: &Path| WeightsFile::open(&folder.join("adapter_model.safetensors")).unwrap();
    let (own, public) = (open(&folder), open(&golden()));
    assert!(own.keys().eq(public.keys()));
    for key in own.keys() {
        assert_eq!(own.shape(key), public.shape(key), "{key}");
        assert_eq!(own.bytes(key), public.bytes(key), "{key}");
    }
    let config = |folder: &Path| -> Value {
        let text = std::fs::read_to_string(folder.join("adapter_config.json")).unwrap();
        serde_json::from_str(&text).unwrap()
    };
    // Which of two ranks is the rule and which the exception is free: compare what holds for each layer.
    let sorted = |folder: &Path| {
        let mut states = PeftFile::read(folder).unwrap().states;
        states.sort_by(|a, b| a.spec.path.cmp(&b.spec.path));
        states
    };
    assert_eq!(sorted(&folder), sorted(&golden()));
    let (own, public) = (config(&folder), config(&golden()));
    for field in [
        "peft_type",
        "lora_dropout",
        "bias",
        "fan_in_fan_out",
        "use_dora",
        "use_rslora",
    ] {
        assert_eq!(own[field], public[field], "{field}");
    }
}

#[test]
fn what_is_no_plain_lora_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (config, weights) = ("adapter_config.json", "adapter_model.safetensors");
    std::fs::copy(golden().join(weights), folder.path().join(weights)).unwrap();
    let text = std::fs::read_to_string(golden().join(config)).unwrap();
    let good: Value = serde_json::from_str(&text).unwrap();
    for (field, value) in [
        ("use_dora", Value::Bool(true)),
        ("bias", "all".into()),
        ("modules_to_save", serde_json::json!(["head"])),
        ("peft_type", "IA3".into()),
        ("alpha_pattern", serde_json::json!({"^layer": 3})),
    ] {
        let mut bad = good.clone();
        bad[field] = value;
        std::fs::write(folder.path().join(config), bad.to_string()).unwrap();
        let error = PeftFile::read(folder.path()).unwrap_err().to_string();
        assert!(error.contains(field), "{error}");
    }
    let adapters = PeftFile::read(&golden()).unwrap();
    let other = |path: &str| path.replace("q_proj", "query");
    let wrong = adapters.apply(open(false).tower, &other, 0, &Masks::default());
    let error = wrong.unwrap_err().to_string();
    assert!(
        error.contains("self_attn.q_proj") && error.contains("adapter_model"),
        "{error}"
    );
}

#[test]
fn fresh_adapters_change_nothing_and_drop_the_same_inputs_again() {
    let Case { tower, pixels, .. } = open(false);
    let before = values(embeds(&tower, &pixels));
    let layers = linear_layers(&tower);
    assert_eq!(layers.len(), 2 * 6 + 1);
    let spec = |path: &str| AdapterSpec {
        path: path.into(),
        rank: 2,
        alpha: 4.0,
        dropout: 0.5,
    };
    let specs: Vec<AdapterSpec> = layers.iter().map(|layer| spec(&layer.path)).collect();
    let masks = Masks::default();
    let fresh = attach(tower, &specs, 7, &masks);
    // Layers run one by one round otherwise than a whole MLP.
    assert!(error(&values(embeds(&fresh, &pixels)), &before) < 1e-6);
    let mut grown = states(&fresh, &specs);
    for state in &mut grown {
        state
            .b
            .iter_mut()
            .enumerate()
            .for_each(|(i, b)| *b = (i % 5) as f32 * 0.1 - 0.2);
    }
    let tower = unmerge(open(false).tower, &grown, 7, &masks);
    let of = |index: Option<u64>| {
        masks.set(index);
        values(embeds(&tower, &pixels))
    };
    let (still, third) = (of(None), of(Some(3)));
    assert_ne!(still, third);
    assert_ne!(third, of(Some(4)));
    assert_eq!(third, of(Some(3)));
    assert_eq!(still, of(None));
    // Checkpointed layers are run twice and give the same.
    let recomputed = unmerge(open(true).tower, &grown, 7, &masks);
    masks.set(Some(3));
    let gradient = |tower: &Tower| {
        let tower = tower.clone();
        let gradients = embeds(&tower, &pixels).square().sum().backward();
        gradients_of(&tower, &gradients)
    };
    let (plain, again) = (gradient(&tower), gradient(&recomputed));
    assert_eq!(plain.len(), 2 * specs.len());
    for (path, plain) in &plain {
        assert!(error(&again[path], plain) < 1e-5, "{path}");
    }
}
