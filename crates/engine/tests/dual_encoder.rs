//! A CLIP in transformers' layout, against `CLIPModel`. The golden folder comes from
//! `tools/parity/export_dual_encoder.py`.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use deem_data::benchmark::{ImageFolder, LabelledPicture};
use deem_data::image::ImageLimits;
use deem_engine::zero_shot::{Classifier, mine};
use deem_engine::{DualEncoder, EngineError};
use deem_metrics::answer::ParseMode;
use image::{Rgb, RgbImage};
use serde_json::Value;

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/clip")
}

fn opened() -> DualEncoder {
    DualEncoder::open(&golden(), &Device::flex()).unwrap()
}

/// The exporter's picture.
fn picture() -> RgbImage {
    RgbImage::from_fn(32, 32, |x, y| {
        Rgb([0, 60, 120].map(|of_channel| ((7 * x + 13 * y + of_channel) % 256) as u8))
    })
}

fn numbers(value: &Value) -> Vec<f64> {
    let list = value.as_array().unwrap();
    list.iter().map(|v| v.as_f64().unwrap()).collect()
}

fn assert_close(found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() < 1e-4, "{found} {expected}");
    }
}

#[test]
fn embeddings_equal_the_public_class() {
    let text = std::fs::read_to_string(golden().join("expected.json")).unwrap();
    let expected: Value = serde_json::from_str(&text).unwrap();
    let encoder = opened();
    assert!((encoder.scale() - expected["scale"].as_f64().unwrap()).abs() < 1e-3);
    let image = encoder.images(&[picture()]).unwrap();
    assert_close(&image[0], &numbers(&expected["image"]));
    let texts: Vec<&str> = expected["texts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|t| t.as_str().unwrap())
        .collect();
    let embedded = encoder.texts(&texts).unwrap();
    for (found, expected) in embedded
        .iter()
        .zip(expected["text_embeddings"].as_array().unwrap())
    {
        let norm = found.iter().map(|v| v * v).sum::<f64>().sqrt();
        let unit: Vec<f64> = found.iter().map(|v| v / norm).collect();
        assert_close(&unit, &numbers(expected));
    }
    // Zero-shot: of the first two texts the one with the higher logit.
    let logits = numbers(&expected["logits"]);
    let classifier =
        Classifier::new(&encoder, &["cat".into(), "dog".into()], ParseMode::Strict).unwrap();
    let chosen = classifier.classify(&[picture()]).unwrap();
    assert_eq!(chosen, [usize::from(logits[1] > logits[0])]);
}

#[test]
fn mining_goes_on_where_it_was_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let pictures: Vec<LabelledPicture> = (0..70u32)
        .map(|number| {
            let path = folder.path().join(format!("{number}.png"));
            RgbImage::from_pixel(8, 8, Rgb([3 * number as u8, 90, 200]))
                .save(&path)
                .unwrap();
            LabelledPicture {
                path,
                name: format!("x/{number}.png"),
                label: (number % 2) as usize,
            }
        })
        .collect();
    std::fs::write(&pictures[5].path, "no picture").unwrap();
    let pictures = ImageFolder {
        labels: vec!["cat".into(), "dog".into()],
        pictures,
    };
    let encoder = opened();
    let run = |file: &str, tick: &mut dyn FnMut(usize) -> bool| {
        let progress = folder.path().join(file);
        mine(
            &encoder,
            &pictures,
            ParseMode::Strict,
            ImageLimits::default(),
            &progress,
            tick,
        )
    };
    let whole = run("whole.jsonl", &mut |_| true).unwrap();
    assert_eq!((whole.pictures, whole.unreadable), (70, 1));
    assert!(whole.first_error.as_ref().unwrap().contains("5.png"));
    assert!(!whole.entries.is_empty() && whole.entries.len() < 70);
    let stopped = run("stopped.jsonl", &mut |done| done < 32);
    assert!(matches!(stopped, Err(EngineError::Stopped)));
    let mut first = None;
    let resumed = run("stopped.jsonl", &mut |done| {
        first.get_or_insert(done);
        true
    });
    assert_eq!((resumed.unwrap(), first), (whole, Some(32)));
}

#[test]
fn folders_that_are_no_clip_are_named() {
    let error = |folder: &Path| {
        DualEncoder::open(folder, &Device::flex())
            .err()
            .unwrap()
            .to_string()
    };
    let folder = tempfile::tempdir().unwrap();
    assert!(error(folder.path()).contains("config.json"));
    std::fs::write(
        folder.path().join("config.json"),
        r#"{"model_type": "llama"}"#,
    )
    .unwrap();
    assert!(error(folder.path()).contains("vision_config"));
    for name in ["config.json", "tokenizer.json"] {
        std::fs::copy(golden().join(name), folder.path().join(name)).unwrap();
    }
    assert!(error(folder.path()).contains(&folder.path().display().to_string()));
}
