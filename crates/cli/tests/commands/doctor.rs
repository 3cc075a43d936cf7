//! `deem doctor` of folders: each is what it says it is, and what is broken is told.

use std::fs;
use std::path::{Path, PathBuf};

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
