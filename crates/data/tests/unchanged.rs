//! What the built-in world draws and says for a seed: shipped weights were trained on it, and published figures were
//! measured on it.
//!
//! A change that makes one of these sums another one needs another `deem_data::world::VERSION` and other weights.

use deem_data::Segment;
use deem_data::benchmark::Mask;
use deem_data::image::ImageLimits;
use deem_data::source::Source;
use deem_data::world::benchmark::{BenchmarkConfig, build_benchmarks};
use deem_data::world::corpus::Role;
use deem_data::world::scene::SceneConfig;
use deem_data::world::source::{ClipSource, DiffusionSource, LanguageConfig, LanguageSource, Task};
use deem_data::world::{SceneFeed, World};
use image::RgbImage;
use sha2::{Digest, Sha256};

const SIDE: u32 = 32;
const SEED: u64 = 5;
const SAMPLES: u64 = 40;

/// First half of a checksum, in hexadecimal.
fn short(hash: Sha256) -> String {
    hash.finalize()[..16]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn of_source(source: &dyn Source) -> String {
    let mut hash = Sha256::new();
    for index in 0..SAMPLES {
        let sample = source.get(index).unwrap();
        hash.update(&sample.id);
        for segment in &sample.segments {
            let (kind, text, counted) = match segment {
                Segment::Text { text, counted } => (0, text.clone(), *counted),
                Segment::Image { index, counted } => (1, index.to_string(), *counted),
                Segment::Bos => (2, String::new(), false),
                Segment::Eos { counted } => (3, String::new(), *counted),
            };
            hash.update([kind, u8::from(counted)]);
            hash.update(text);
        }
        for picture in &sample.images {
            hash.update(&picture.id);
            hash.update(picture.image.as_raw());
            if let Some(mask) = &picture.mask {
                hash.update(mask.as_raw());
            }
        }
        hash.update(sample.provenance.join(" "));
    }
    short(hash)
}

fn of_scenes(feed: &SceneFeed) -> String {
    let mut hash = Sha256::new();
    for index in 0..SAMPLES {
        let pair = feed.pair(index, true).unwrap();
        hash.update(format!("{} {:?} {}\n", pair.id, pair.scene, pair.caption));
    }
    short(hash)
}

/// Mean colours of the quarters of a picture: stands in for an encoder.
fn embed(images: &[RgbImage]) -> Vec<Vec<f32>> {
    let of = |image: &RgbImage| {
        let mut sums = vec![0.0f32; 12];
        for (x, y, pixel) in image.enumerate_pixels() {
            let quarter =
                usize::from(2 * x >= image.width()) + 2 * usize::from(2 * y >= image.height());
            for (channel, value) in pixel.0.iter().enumerate() {
                sums[3 * quarter + channel] += f32::from(*value);
            }
        }
        sums
    };
    images.iter().map(of).collect()
}

fn of_benchmarks(world: &World, role: Role) -> Vec<(String, String)> {
    let config = BenchmarkConfig {
        robust_images: 20,
        pope_questions: 60,
        mmvp_pairs: 28,
        regions: 10,
        candidates: 3,
        resolution: SIDE,
        ..BenchmarkConfig::default()
    };
    let classes = world.corpus().concepts().len();
    let classify = |images: &[RgbImage]| -> Vec<Vec<f32>> {
        let scores = |e: Vec<f32>| {
            (0..classes)
                .map(|c| e[c % e.len()] * (1.0 + (c * 37 % 64) as f32 / 64.0))
                .collect()
        };
        embed(images).into_iter().map(scores).collect()
    };
    let built = build_benchmarks(world, &config, role, &classify, &embed, &|| false).unwrap();
    let sums = built.into_iter().map(|set| {
        let mut hash = Sha256::new();
        for item in &set.items {
            for text in [&item.id, &item.part, &item.question, &item.cluster] {
                hash.update(text);
            }
            hash.update(item.options.join("|"));
            hash.update(item.answers.join("|"));
            hash.update(item.provenance.join(" "));
            hash.update(item.picture.load(ImageLimits::default()).unwrap().as_raw());
            if let Some(Mask::Pixels(mask)) = &item.mask {
                hash.update(mask.as_raw());
            }
        }
        (format!("{} {role:?}", set.name), short(hash))
    });
    sums.collect()
}

fn of_split(world: &World) -> String {
    let mut hash = Sha256::new();
    for (index, drawing) in world.corpus().drawings().iter().enumerate() {
        let part = world.split().part(drawing.concept);
        let role = world.split().role(index);
        hash.update(format!("{index} {} {part:?} {role:?}\n", drawing.id));
    }
    short(hash)
}

/// Sums of the first samples of each source, of the split, and of small benchmarks.
fn sums(world: &World) -> Vec<(String, String)> {
    let feed = |purpose| {
        let scenes = world.design().scenes.clone();
        world.training_feed(scenes, purpose, SEED, SIDE).unwrap()
    };
    let spoken = || world.language_feed(SceneConfig::default(), SEED).unwrap();
    let documents = LanguageSource::new(spoken(), LanguageConfig::default());
    let mut found: Vec<(String, String)> = [
        ("clip", of_source(&ClipSource::new(feed("clip")))),
        (
            "diffusion",
            of_source(&DiffusionSource::new(feed("diffusion"))),
        ),
        ("spoken scenes", of_scenes(&spoken())),
        ("documents", of_source(&documents)),
        ("split", of_split(world)),
    ]
    .map(|(name, sum)| (name.to_owned(), sum))
    .into();
    for task in [
        Task::Alignment,
        Task::Description,
        Task::Instruction,
        Task::Region,
        Task::Captions,
    ] {
        let source = world.source(task, SEED, SIDE).unwrap();
        found.push((format!("{task:?}"), of_source(&*source)));
    }
    found.extend(of_benchmarks(world, Role::Validation));
    found.extend(of_benchmarks(world, Role::Test));
    found
}

#[test]
fn samples_splits_and_questions_are_the_published_ones() {
    let found = sums(&World::builtin().unwrap());
    let found: Vec<(&str, &str)> = found
        .iter()
        .map(|(name, sum)| (name.as_str(), sum.as_str()))
        .collect();
    assert_eq!(found, PUBLISHED);
}

const PUBLISHED: [(&str, &str); 20] = [
    ("clip", "e17ecdf717c8348369adf9e3dd2c67ea"),
    ("diffusion", "d5edf660716914eb6c2d9b9d229734c0"),
    ("spoken scenes", "1d4181e1a183f98146edfa209bc7f058"),
    ("documents", "aee22169422abe23ae1617930b146d46"),
    ("split", "8b41ab44995dba90fdad7f7527f027a0"),
    ("Alignment", "97a575f1ad907dfdde1f77e34921b658"),
    ("Description", "585cf7bbc8211ceb5315738892e154fd"),
    ("Instruction", "c59baeb020ed427ee3644ee10d40e60c"),
    ("Region", "550e83a4c2ed633f16c13a02be53471b"),
    ("Captions", "9e67829dbada98b2d369c61b7e3bf10c"),
    ("robust_vqa Validation", "12c7b589adbd9aa45e3c5591d5ecaa43"),
    ("pope Validation", "b56ab1f32948667e033af7a5be5e5768"),
    ("mmvp Validation", "b8aee13c982f11e31b5c25f28b2605f5"),
    ("region Validation", "3e4eea5e9bb52c38c2f2b604092b206d"),
    ("unseen Validation", "de4c6735abe40ee954faf684df686e7b"),
    ("robust_vqa Test", "640561071ab94158c7534e0faa50033b"),
    ("pope Test", "a45d0be2ac75c00fad5135578cece459"),
    ("mmvp Test", "28c91dbd8c5ba65c6ef196cd5c7b4bf6"),
    ("region Test", "03efccf7f702ff0f820059253f11a470"),
    ("unseen Test", "4f8bf6da05897ebabbb5f00bf8b0c750"),
];
