//! `deem doctor` of folders: each is what it says it is, and what is broken is told.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use deem_model::weights::{LazyTensor, WeightsFile, write_stream};
use serde_json::{Value, json};

use super::{deem, fails, succeeds};

const UNET: &str = r#"{"_class_name": "UNet2DConditionModel", "num_attention_heads": null}"#;
const VAE: &str = r#"{"_class_name": "AutoencoderKL"}"#;

fn encoders(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../engine/tests/golden/encoders")
        .join(name)
}

/// Exit status and what was said.
fn doctor(folder: &Path) -> (bool, String) {
    let output = deem(&["doctor", folder.to_str().unwrap()], folder);
    (
        output.status.success(),
        String::from_utf8(output.stdout).unwrap(),
    )
}

#[test]
fn parts_of_a_diffusion_model_are_no_language_models() {
    let folder = tempfile::tempdir().unwrap();
    for (text, told) in [
        (UNET, "the UNet"),
        (VAE, "the autoencoder"),
        (r#"{"_class_name": "AutoencoderTiny"}"#, "AutoencoderTiny"),
        (r#"{"model_type": "t5", "d_model": 8}"#, "model_type \"t5\""),
        ("{}", "without _class_name"),
    ] {
        fs::write(folder.path().join("config.json"), text).unwrap();
        let (well, said) = doctor(folder.path());
        assert!(!well, "{said}");
        assert!(said.contains(told) && said.contains("no weights"), "{said}");
        for wrong in ["keys are missing", "language model", "invalid type"] {
            assert!(!said.contains(wrong), "{text}: {said}");
        }
    }
}

#[test]
fn encoders_of_pictures_and_texts_are_known() {
    for (name, told) in [
        ("siglip", "SigLIP"),
        ("siglip2", "SigLIP"),
        ("metaclip", "CLIP"),
        ("open_clip_vit", "open_clip"),
        ("open_clip_convnext", "open_clip"),
        ("open_clip_siglip", "open_clip"),
    ] {
        let (well, said) = doctor(&encoders(name));
        assert!(well, "{name}: {said}");
        let told = format!("an encoder of pictures and texts ({told})");
        assert!(said.contains(&told), "{name}: {said}");
    }
}

/// A copy of a folder whose configuration says something else.
fn altered(from: &Path, name: &str, change: impl Fn(&mut Value)) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let from = entry.unwrap().path();
        if from.is_file() {
            fs::copy(&from, folder.path().join(from.file_name().unwrap())).unwrap();
        }
    }
    let path = folder.path().join(name);
    let mut config = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    change(&mut config);
    fs::write(&path, config.to_string()).unwrap();
    folder
}

#[test]
fn weights_of_other_shapes_than_the_configuration_says_are_told() {
    let place = tempfile::tempdir().unwrap();
    let golden = |name: &str| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/tests/golden");
        let text = fs::read_to_string(folder.join(format!("{name}.json"))).unwrap();
        let weights = folder.join(format!("{name}.safetensors"));
        (weights, serde_json::from_str::<Value>(&text).unwrap())
    };
    let folder = |name: &str, from: &Path, prefix: &str, config: &Value| {
        let folder = place.path().join(name);
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("config.json"), config.to_string()).unwrap();
        let weights = WeightsFile::open(from).unwrap();
        let keys = weights.keys();
        let keys = keys.filter_map(|key| Some((key, key.strip_prefix(prefix)?)));
        let mut own: Vec<LazyTensor> = keys
            .filter(|(_, name)| !name.starts_with("text_model.") && !name.starts_with("logit_"))
            .map(|(key, name)| LazyTensor {
                name: name.into(),
                dtype: weights.dtype(key).unwrap(),
                shape: weights.shape(key).unwrap().into(),
                read: Box::new(|| weights.bytes(key).unwrap()),
            })
            .collect();
        let path = folder.join("model.safetensors");
        write_stream(&mut own, &path, &HashMap::new()).unwrap();
        folder
    };
    let (families, described) = golden("families");
    let llama = folder("llama", &families, "llama.", &described["configs"]["llama"]);
    let named = |name: &str, class: &str| {
        let (weights, described) = golden(name);
        let mut config = described["config"].clone();
        config["_class_name"] = json!(class);
        folder(class, &weights, "weight.", &config)
    };
    let unet = named("unet_linear_heads_per_block", "UNet2DConditionModel");
    let vae = named("autoencoder", "AutoencoderKL");
    let siglip = fs::read_to_string(encoders("siglip").join("config.json")).unwrap();
    let siglip: Value = serde_json::from_str(&siglip).unwrap();
    let weights = encoders("siglip").join("model.safetensors");
    let tower = folder("tower", &weights, "", &siglip["vision_config"]);

    type Change = fn(&mut Value);
    let (theirs, open) = ("config.json", "open_clip_config.json");
    let cases: [(PathBuf, &str, Change, &str); 7] = [
        (
            llama,
            theirs,
            |config| config["intermediate_size"] = json!(24),
            "model.layers.0.mlp.down_proj.weight: expected [16, 24], found [16, 12]",
        ),
        (
            unet,
            theirs,
            |config| config["cross_attention_dim"] = json!(7),
            "attn2.to_k.weight: expected [8, 7], found [8, 10]",
        ),
        (
            vae,
            theirs,
            |config| config["latent_channels"] = json!(8),
            "decoder.conv_in.weight: expected [",
        ),
        (
            tower,
            theirs,
            |config| config["patch_size"] = json!(2),
            "vision_model.embeddings.patch_embedding.weight: expected [24, 3, 2, 2]",
        ),
        (
            encoders("metaclip"),
            theirs,
            |config| config["text_config"]["vocab_size"] = json!(9),
            "text_model.embeddings.token_embedding.weight: expected [9, ",
        ),
        (
            encoders("open_clip_vit"),
            open,
            |config| config["model_cfg"]["text_cfg"]["context_length"] = json!(3),
            "positional_embedding: expected [3, ",
        ),
        (
            encoders("open_clip_convnext"),
            open,
            |config| config["model_cfg"]["text_cfg"]["vocab_size"] = json!(9),
            "token_embedding.weight: expected [9, ",
        ),
    ];
    for (from, name, change, told) in cases {
        let (well, before) = doctor(&from);
        assert!(well, "{}: {before}", from.display());
        let folder = altered(&from, name, change);
        let (well, said) = doctor(folder.path());
        assert!(!well, "{}: {said}", from.display());
        assert!(said.contains(told), "{}: {said}", from.display());
        assert!(said.contains("found ["), "{said}");
    }
}

#[test]
fn a_run_of_feedback_is_known_by_its_encoder() {
    let run = tempfile::tempdir().unwrap();
    let encoder = run.path().join("encoder");
    fs::create_dir(&encoder).unwrap();
    for entry in fs::read_dir(encoders("siglip2")).unwrap() {
        let from = entry.unwrap().path();
        fs::copy(&from, encoder.join(from.file_name().unwrap())).unwrap();
    }
    let (well, said) = doctor(run.path());
    assert!(well && said.contains("deem feedback"), "{said}");
    // A weight that is lost is told.
    let weights = encoder.join("model.safetensors");
    let whole = fs::read(&weights).unwrap();
    fs::write(&weights, &whole[..whole.len() - 4]).unwrap();
    let (well, said) = doctor(run.path());
    assert!(!well && said.contains("model.safetensors"), "{said}");
}

#[test]
fn results_that_are_damaged_are_told() {
    let place = tempfile::tempdir().unwrap();
    let exported = place.path().join("exported");
    succeeds(&["export", "tiny", "exported"], place.path());
    let (well, said) = doctor(&exported);
    assert!(well && said.contains("a result of deem"), "{said}");

    let weights = exported.join("model.safetensors");
    let whole = fs::read(&weights).unwrap();
    fs::write(&weights, &whole[..whole.len() / 2]).unwrap();
    let (well, said) = doctor(&exported);
    assert!(!well && said.contains("not a valid safetensors"), "{said}");
    fs::remove_file(&weights).unwrap();
    let (well, said) = doctor(&exported);
    assert!(!well && said.contains("no weights"), "{said}");
    fs::write(&weights, whole).unwrap();

    fs::write(exported.join("model.json"), "{}").unwrap();
    let (well, said) = doctor(&exported);
    assert!(!well && said.contains("not the description"), "{said}");
    assert!(!said.contains("a result of deem"), "{said}");
}

#[test]
fn of_several_pickles_one_is_to_be_named() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["taef2_decoder.pth", "taef2_encoder.pth"] {
        fs::write(folder.path().join(name), "x").unwrap();
    }
    let (_, error) = fails(&["convert", ".", "out"], folder.path());
    for told in ["taef2_encoder.pth", "deem convert ./taef2_decoder.pth OUT"] {
        assert!(error.contains(told), "{error}");
    }
    fs::write(folder.path().join("cut.gguf"), "GGU").unwrap();
    let (_, error) = fails(&["convert", "cut.gguf", "out"], folder.path());
    assert!(
        error.contains("GGUF") && !error.contains("safetensors"),
        "{error}"
    );
}
