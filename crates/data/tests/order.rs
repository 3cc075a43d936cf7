//! Which samples a run sees, in which order, and how their pictures are cut: functions of seed and place only.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use deem_data::image::{Crop, ViewConfig};
use deem_data::source::{Source, SourceRegistry};
use deem_data::text::TextTokenizer;
use deem_data::{Batch, BatchConfig, Batches, Collator, LoaderConfig, PackConfig, Padding};

use crate::support::{context, spec};

/// Two sets of 5 and 3 pictures, mixed 2:1.
fn mixed(folder: &Path, seed: u64) -> Arc<dyn Source> {
    for (name, count) in [("five", 5), ("three", 3)] {
        let lines: Vec<String> = (0..count)
            .map(|i| {
                let picture = image::RgbImage::from_fn(32, 24, |x, y| {
                    image::Rgb([(x * 8) as u8, (y * 10) as u8, (i * 40) as u8])
                });
                picture.save(folder.join(format!("{name}{i}.png"))).unwrap();
                format!(r#"{{"image": "{name}{i}.png", "caption": "picture number {i}"}}"#)
            })
            .collect();
        std::fs::write(folder.join(format!("{name}.jsonl")), lines.join("\n")).unwrap();
    }
    let entry = |name: &str, weight: f64| {
        spec(&format!(
            r#"{{"kind": "captions", "file": "{name}.jsonl", "images": ".", "weight": {weight}}}"#
        ))
    };
    SourceRegistry::standard()
        .open(
            &[entry("five", 2.0), entry("three", 1.0)],
            &context(folder, seed),
        )
        .unwrap()
}

fn ids(source: &dyn Source, count: u64) -> Vec<String> {
    (0..count).map(|i| source.get(i).unwrap().id).collect()
}

#[test]
fn order_is_a_function_of_seed_and_place() {
    let folder = tempfile::tempdir().unwrap();
    let source = mixed(folder.path(), 7);
    let found = ids(&*source, 300);
    // Opened anew and read backwards, it is the same.
    let again = mixed(folder.path(), 7);
    let backwards: Vec<String> = (0..300).rev().map(|i| again.get(i).unwrap().id).collect();
    assert!(found.iter().eq(backwards.iter().rev()));
    assert_ne!(found, ids(&*mixed(folder.path(), 8), 300));
}

#[test]
fn weights_hold_and_each_epoch_sees_all_in_another_order() {
    let folder = tempfile::tempdir().unwrap();
    let source = mixed(folder.path(), 7);
    let found = ids(&*source, 3000);
    for (set, size, expected) in [("five", 5, 2000), ("three", 3, 1000)] {
        let own: Vec<&str> = found
            .iter()
            .map(String::as_str)
            .filter(|id| id.starts_with(set))
            .collect();
        assert!(
            own.len().abs_diff(expected) <= 3,
            "{set}: {} of 3000",
            own.len()
        );
        let mut orders: BTreeMap<&[&str], usize> = BTreeMap::new();
        for epoch in own.chunks_exact(size) {
            let mut sorted = epoch.to_vec();
            sorted.sort_unstable();
            sorted.dedup();
            assert_eq!(
                sorted.len(),
                size,
                "an epoch has every sample once: {epoch:?}"
            );
            *orders.entry(epoch).or_default() += 1;
        }
        // All 6 orders of three, and nearly all 120 of five.
        assert!(
            orders.len() >= 6 * size * (size - 2) / 3,
            "{set}: {} orders",
            orders.len()
        );
    }
}

fn batches(
    source: Arc<dyn Source>,
    crop: Crop,
    seed: u64,
) -> (Collator, Arc<dyn Source>, LoaderConfig) {
    let config = BatchConfig {
        pack: PackConfig {
            max_tokens: 64,
            image_tokens: 2,
            count_first_image: false,
        },
        views: ViewConfig {
            encoder: 8,
            diffusion: 0,
            crop,
        },
        padding: Padding::Right,
        fixed_length: None,
        seed,
    };
    let loader = LoaderConfig {
        batch: 2,
        samples_per_row: 2,
        ..LoaderConfig::default()
    };
    (
        Collator::new(config, TextTokenizer::builtin().unwrap()),
        source,
        loader,
    )
}

/// What is seen of each picture, by its name, in the first batches.
fn seen(folder: &Path, crop: Crop, seed: u64) -> BTreeMap<String, Vec<Vec<f32>>> {
    let (collator, source, loader) = batches(mixed(folder, 7), crop, seed);
    let batches = Batches::new(source, collator, loader).unwrap();
    let mut seen: BTreeMap<String, Vec<Vec<f32>>> = BTreeMap::new();
    for step in 0..20 {
        let batch = batches.get(step).unwrap();
        for (image, pixels) in batch
            .images
            .iter()
            .zip(batch.encoder_pixels.chunks(3 * 8 * 8))
        {
            seen.entry(image.id.clone())
                .or_default()
                .push(pixels.to_vec());
        }
    }
    seen
}

#[test]
fn a_random_crop_is_another_one_each_epoch_and_the_same_again_from_the_seed() {
    let folder = tempfile::tempdir().unwrap();
    let random = seen(folder.path(), Crop::Random(0.5), 1);
    for (name, views) in &random {
        assert!(views.len() > 3, "{name} is seen in several epochs");
        for (i, view) in views.iter().enumerate() {
            assert!(
                !views[..i].contains(view),
                "{name}: the crop of an earlier epoch"
            );
        }
    }
    assert_eq!(random, seen(folder.path(), Crop::Random(0.5), 1));
    assert_ne!(random, seen(folder.path(), Crop::Random(0.5), 2));
    for views in seen(folder.path(), Crop::Center, 1).values() {
        assert!(views.windows(2).all(|pair| pair[0] == pair[1]));
    }
}

#[test]
fn crops_do_not_depend_on_the_order_in_which_batches_are_made() {
    let folder = tempfile::tempdir().unwrap();
    let load = |steps: &[u64]| -> Vec<Batch> {
        let (collator, source, loader) = batches(mixed(folder.path(), 7), Crop::Random(0.5), 1);
        let batches = Batches::new(source, collator, loader).unwrap();
        let steps = steps.iter();
        steps.map(|step| batches.get(*step).unwrap()).collect()
    };
    let in_order = load(&[0, 1, 2, 3, 4, 5]);
    let mixed_up = load(&[5, 2, 4]);
    assert_eq!(mixed_up[0], in_order[5]);
    assert_eq!(mixed_up[1], in_order[2]);
    assert_eq!(mixed_up[2], in_order[4]);
}

#[test]
fn an_impossible_crop_is_refused_before_anything_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let (collator, source, loader) = batches(mixed(folder.path(), 7), Crop::Random(1.5), 1);
    let error = Batches::new(source, collator, loader)
        .err()
        .unwrap()
        .to_string();
    assert!(
        error.contains("crop.random") && error.contains("1.5"),
        "{error}"
    );
}
