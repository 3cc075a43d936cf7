//! Published encoders against the public classes. The golden folders come from
//! `tools/parity/export_dual_encoder.py` and `export_encoders.py`.

use std::path::{Path, PathBuf};

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, Tensor};
use deem_data::benchmark::{ImageFolder, LabelledPicture};
use deem_data::image::ImageLimits;
use deem_engine::evaluate::Shard;
use deem_engine::probe::{Network, Probe};
use deem_engine::zero_shot::{Classifier, HardPictures, Mining, mine};
use deem_engine::{Compute, DualEncoder, EncoderFolder, EngineError};
use deem_metrics::answer::ParseMode;
use deem_model::weights::{StateTensor, WeightsFile, write};
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
fn mining_goes_on_where_it_was_stopped_and_is_shared() {
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
    let share = |output: &str, shard: Shard, tick: &mut dyn FnMut(usize) -> bool| {
        let output = folder.path().join(output);
        std::fs::create_dir_all(&output).unwrap();
        let mining = Mining {
            mode: ParseMode::Strict,
            limits: ImageLimits::default(),
            output: &output,
            shard,
        };
        mine(&encoder, &pictures, mining, tick)
    };
    let run = |output: &str, tick: &mut dyn FnMut(usize) -> bool| {
        let found = share(output, Shard::WHOLE, tick)?;
        Ok(found.expect("nobody else has a share"))
    };
    let whole: HardPictures = run("whole", &mut |_| true).unwrap();
    assert_eq!((whole.pictures, whole.unreadable), (70, 1));
    assert!(whole.first_error.as_ref().unwrap().contains("5.png"));
    assert!(!whole.entries.is_empty() && whole.entries.len() < 70);
    let stopped = run("stopped", &mut |done| done < 32);
    assert!(matches!(stopped, Err(EngineError::Stopped)));
    let mut first = None;
    let resumed = run("stopped", &mut |done| {
        first.get_or_insert(done);
        true
    });
    assert_eq!((resumed.unwrap(), first), (whole.clone(), Some(32)));

    // Shares: of three batches the second process has one, and whoever ends last knows all.
    let half = |index| Shard::new(index, 2).unwrap();
    let mut looked = 0;
    let early = share("shared", half(2), &mut |done| {
        looked = done;
        true
    });
    assert_eq!((early.unwrap(), looked), (None, 32));
    let last = share("shared", half(1), &mut |_| true).unwrap();
    assert_eq!(last.as_ref(), Some(&whole));
    let untouched = run("shared", &mut |done| done == 70).unwrap();
    assert_eq!(untouched, whole);
}

/// Layouts of which there is a golden folder.
const LAYOUTS: [&str; 6] = [
    "metaclip",
    "siglip",
    "siglip2",
    "open_clip_vit",
    "open_clip_convnext",
    "open_clip_siglip",
];

fn published(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/encoders");
    folder.join(name)
}

fn expected(name: &str) -> Value {
    let text = std::fs::read_to_string(published(name).join("expected.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn near(found: &[f64], expected: &[f64], bound: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(
            (found - expected).abs() < bound,
            "{what}: {found} {expected}"
        );
    }
}

fn unit(row: &[f64]) -> Vec<f64> {
    let norm = row.iter().map(|v| v * v).sum::<f64>().sqrt();
    row.iter().map(|v| v / norm).collect()
}

/// Embeddings and logits of an encoder are those that the public package gave.
fn embeds_as(encoder: &DualEncoder, name: &str) {
    let expected = expected(name);
    let image = encoder.images(&[picture()]).unwrap().remove(0);
    near(&image, &numbers(&expected["image"]), 1e-5, name);
    let texts = expected["texts"].as_array().unwrap();
    let texts: Vec<&str> = texts.iter().map(|text| text.as_str().unwrap()).collect();
    let embedded = encoder.texts(&texts).unwrap();
    let wanted = expected["text"].as_array().unwrap();
    let mut logits = Vec::new();
    for (row, wanted) in embedded.iter().zip(wanted) {
        let row = unit(row);
        near(&row, &numbers(wanted), 1e-5, name);
        let cosine: f64 = row.iter().zip(&image).map(|(a, b)| a * b).sum();
        logits.push(encoder.scale() * cosine + encoder.bias());
    }
    near(&logits, &numbers(&expected["logits"]), 1e-3, name);
}

#[test]
fn every_layout_embeds_as_its_public_class() {
    for name in LAYOUTS {
        let encoder = DualEncoder::open(&published(name), &Device::flex()).unwrap();
        embeds_as(&encoder, name);
    }
}

#[test]
fn what_is_saved_untouched_is_bit_for_bit_what_it_was() {
    let folder = tempfile::tempdir().unwrap();
    for name in LAYOUTS {
        let source = EncoderFolder::read(&published(name)).unwrap();
        let device = Device::flex().autodiff(); // as for training: the towers are trainable
        let output = folder.path().join(name);
        source
            .save(&source.load(&device).unwrap(), &output)
            .unwrap();
        let saved = EncoderFolder::read(&output).unwrap();
        let (before, after) = (source.weights(), saved.weights());
        assert!(before.keys().eq(after.keys()), "{name}");
        for key in before.keys() {
            assert_eq!(before.dtype(key), after.dtype(key), "{name} {key}");
            assert_eq!(before.shape(key), after.shape(key), "{name} {key}");
            assert_eq!(before.bytes(key), after.bytes(key), "{name} {key}");
        }
        for entry in std::fs::read_dir(published(name)).unwrap() {
            let path = entry.unwrap().path();
            let file = path.file_name().unwrap();
            if file == "expected.json" || path.extension().is_some_and(|end| end == "safetensors") {
                continue;
            }
            assert_eq!(
                std::fs::read(&path).unwrap(),
                std::fs::read(output.join(file)).unwrap(),
                "{name} {file:?}"
            );
        }
        embeds_as(&DualEncoder::open(&output, &Device::flex()).unwrap(), name);
        let error = source
            .save(&source.load(&device).unwrap(), &output)
            .unwrap_err();
        assert!(error.to_string().contains("already there"), "{error}");
    }
    // For `tools/parity/export_encoders.py --check`.
    if let Some(kept) = std::env::var_os("DEEM_KEEP_ENCODERS") {
        for name in LAYOUTS {
            let target = Path::new(&kept).join(name);
            std::fs::create_dir_all(&target).unwrap();
            for entry in std::fs::read_dir(folder.path().join(name)).unwrap() {
                let path = entry.unwrap().path();
                std::fs::copy(&path, target.join(path.file_name().unwrap())).unwrap();
            }
        }
    }
}

#[test]
fn corrected_towers_are_saved_under_the_same_keys() {
    struct Doubled;
    impl ModuleMapper for Doubled {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            param.map(|value| value * 2.0)
        }
    }
    let folder = tempfile::tempdir().unwrap();
    for name in LAYOUTS {
        let source = EncoderFolder::read(&published(name)).unwrap();
        let towers = source.load(&Device::flex()).unwrap().map(&mut Doubled);
        let output = folder.path().join(name);
        source.save(&towers, &output).unwrap();
        let after = EncoderFolder::read(&output).unwrap();
        for key in source.weights().keys() {
            let (before, after) = (source.weights().f32(key), after.weights().f32(key));
            let doubled =
                before.map(|values| values.into_iter().map(|v| v * 2.0).collect::<Vec<_>>());
            assert_eq!(after, doubled, "{name} {key}");
        }
    }
}

#[test]
fn siglip_is_probed_by_its_published_files() {
    let folder = tempfile::tempdir().unwrap();
    let (inputs, outputs) = (
        folder.path().join("in.safetensors"),
        folder.path().join("out.safetensors"),
    );
    let source = published("siglip");
    let probed = |component, tensor: StateTensor| {
        write(
            &[tensor],
            &inputs,
            safetensors::Dtype::F32,
            Default::default(),
        )
        .unwrap();
        let probe = Probe {
            component,
            config: &source.join("config.json"),
            weights: Some(&source.join("model.safetensors")),
            inputs: &inputs,
            gradients: true,
            compute: Compute::cpu(),
        };
        probe
            .run(&outputs)
            .map(|()| WeightsFile::open(&outputs).unwrap())
    };
    let values = picture();
    let plane = |channel: usize| {
        values
            .pixels()
            .map(move |pixel| f32::from(pixel.0[channel]) / 127.5 - 1.0)
    };
    let pixels = StateTensor {
        name: "pixel_values".into(),
        shape: vec![1, 3, 32, 32],
        values: (0..3).flat_map(plane).collect(),
    };
    let found = probed(Network::Siglip, pixels).unwrap();
    let pooled: Vec<f64> = found
        .f32("pooler_output")
        .unwrap()
        .into_iter()
        .map(f64::from)
        .collect();
    near(
        &unit(&pooled),
        &numbers(&expected("siglip")["image"]),
        1e-5,
        "siglip",
    );
    assert_eq!(found.shape("grad.pixel_values"), Some(&[1, 3, 32, 32][..]));
    // Ids are integers: the text tower refuses others by name.
    let ids = StateTensor {
        name: "input_ids".into(),
        shape: vec![1, 4],
        values: vec![0.0; 4],
    };
    let error = probed(Network::SiglipText, ids).err().unwrap().to_string();
    assert!(
        error.contains("input_ids") && error.contains("integers"),
        "{error}"
    );
}

#[test]
fn encoders_without_a_tower_are_named() {
    let error = |folder: &Path| EncoderFolder::read(folder).err().unwrap().to_string();
    let folder = tempfile::tempdir().unwrap();
    let copy = |name: &str, change: &dyn Fn(String) -> String| {
        let source = published(name);
        for entry in std::fs::read_dir(&source).unwrap() {
            let path = entry.unwrap().path();
            std::fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
        }
        let config = folder.path().join("config.json");
        let text = std::fs::read_to_string(source.join("config.json")).unwrap();
        std::fs::write(config, change(text)).unwrap();
    };
    copy("siglip", &|text| text.replace("text_config", "other"));
    assert!(error(folder.path()).contains("text_config"));
    copy("siglip", &|text| text.replace("\"siglip", "\"siglip2"));
    assert!(error(folder.path()).contains("model_type"));
    // The picture half of a file alone.
    copy("siglip", &|text| text);
    let whole = WeightsFile::open(&published("siglip").join("model.safetensors")).unwrap();
    let half: Vec<StateTensor> = whole
        .keys()
        .filter(|key| key.starts_with("vision_model."))
        .map(|key| StateTensor {
            name: key.to_owned(),
            shape: whole.shape(key).unwrap().to_vec(),
            values: whole.f32(key).unwrap(),
        })
        .collect();
    write(
        &half,
        &folder.path().join("model.safetensors"),
        safetensors::Dtype::F32,
        Default::default(),
    )
    .unwrap();
    assert!(error(folder.path()).contains("no text tower"));
    // Towers of another encoder.
    let other = EncoderFolder::read(&published("metaclip")).unwrap();
    let source = EncoderFolder::read(&published("siglip")).unwrap();
    let towers = other.load(&Device::flex()).unwrap();
    let target = folder.path().join("saved");
    let error = source.save(&towers, &target).unwrap_err().to_string();
    assert!(
        error.contains("another checkpoint") && !target.exists(),
        "{error}"
    );
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
