//! The benchmarks made from the built-in world: sizes, balance, truth, no leakage, and that they survive disk.

use std::collections::{BTreeMap, BTreeSet};

use deem_data::benchmark::{Benchmarks, Suite};
use deem_data::image::ImageLimits;
use deem_data::text::TextTokenizer;
use deem_data::world::World;
use deem_data::world::benchmark::{BenchmarkConfig, build_benchmarks};
use deem_data::world::corpus::{Role, Subset};
use image::RgbImage;

/// A coarse colour embedding: stands in for an encoder.
fn embed(images: &[RgbImage]) -> Vec<Vec<f32>> {
    let of = |image: &RgbImage| {
        let small = deem_data::image::resize_rgb(image, 4, 4);
        small
            .as_raw()
            .iter()
            .map(|v| f32::from(*v) / 255.0)
            .collect()
    };
    images.iter().map(of).collect()
}

fn build(world: &World, role: Role) -> Benchmarks {
    let config = BenchmarkConfig {
        robust_images: 20,
        pope_questions: 60,
        mmvp_pairs: 28,
        regions: 10,
        candidates: 3,
        resolution: 32,
        ..BenchmarkConfig::default()
    };
    let classes = world.corpus().concepts().len();
    let classify = |images: &[RgbImage]| -> Vec<Vec<f32>> {
        let score = |e: Vec<f32>| {
            (0..classes)
                .map(|c| e[c % e.len()] * (1.0 + (c as f32).sin()))
                .collect()
        };
        embed(images).into_iter().map(score).collect()
    };
    build_benchmarks(world, &config, role, &classify, &embed).unwrap()
}

#[test]
fn sizes_balance_and_pairs() {
    let world = World::builtin(Subset::Core).unwrap();
    for role in [Role::Validation, Role::Test] {
        let set = build(&world, role);
        for suite in Suite::ALL {
            let items = set.suite(suite);
            let wanted = match suite.family() {
                "robust_vqa" => 40,
                "pope" => 60,
                "mmvp" => 56,
                _ => 10,
            };
            assert_eq!(items.len(), wanted, "{suite:?}");
            let ids: BTreeSet<&str> = items.iter().map(|i| i.id.as_str()).collect();
            assert_eq!(ids.len(), items.len());
            let first = items
                .iter()
                .filter(|i| i.answers[0] == "yes" || i.answers[0] == "(a)")
                .count();
            assert!(
                suite == Suite::Region || first == items.len() / 2,
                "{suite:?}: {first}"
            );
        }
        let mut patterns: BTreeMap<&str, usize> = BTreeMap::new();
        for pair in set.suite(Suite::Mmvp).chunks(2) {
            assert_eq!(
                (&pair[0].question, &pair[0].options),
                (&pair[1].question, &pair[1].options)
            );
            assert_ne!(pair[0].answers, pair[1].answers);
            assert_eq!(pair[0].cluster, pair[1].cluster);
            *patterns
                .entry(pair[0].pattern.as_deref().unwrap())
                .or_default() += 1;
        }
        assert_eq!(
            patterns.values().copied().collect::<Vec<_>>(),
            [4; 7],
            "{patterns:?}"
        );
    }
}

#[test]
fn no_item_shows_a_drawing_of_another_role_and_every_word_is_known() {
    let world = World::builtin(Subset::Core).unwrap();
    let tokenizer = TextTokenizer::builtin().unwrap();
    let unknown = tokenizer.id_of("<unk>").unwrap();
    for role in [Role::Validation, Role::Test] {
        for item in build(&world, role).items {
            assert!(!item.provenance.is_empty());
            for id in &item.provenance {
                let drawing = world.corpus().drawing(id).unwrap();
                assert_eq!(world.split().role(drawing), role, "{id} in {}", item.id);
                let style = world.corpus().drawings()[drawing].style;
                match item.suite {
                    Suite::RobustVqaR => assert!(!style.is_training()),
                    Suite::RobustVqaV => assert!(style.is_training()),
                    _ => {}
                }
            }
            let text = item.sample(ImageLimits::default()).unwrap().text();
            assert!(
                !tokenizer.encode(&text).unwrap().contains(&unknown),
                "{text}"
            );
        }
    }
}

#[test]
fn written_and_read_back_they_are_the_same() {
    let world = World::builtin(Subset::Core).unwrap();
    let set = build(&world, Role::Test);
    let folder = tempfile::tempdir().unwrap();
    set.write(folder.path()).unwrap();
    assert!(folder.path().join("mmvp/MMVP Images/1.png").exists());
    assert!(
        folder
            .path()
            .join("pope/coco_pope_adversarial.json")
            .exists()
    );
    let limits = ImageLimits::default();
    let back = Benchmarks::read(folder.path(), limits).unwrap();
    for suite in Suite::ALL {
        for (made, read) in set.suite(suite).into_iter().zip(back.suite(suite)) {
            assert_eq!(
                (&made.question, &made.options, &made.answers),
                (&read.question, &read.options, &read.answers)
            );
            assert_eq!(
                (&made.id, &made.cluster, &made.pattern),
                (&read.id, &read.cluster, &read.pattern)
            );
            assert_eq!(made.mask, read.mask);
            assert_eq!(
                made.picture.load(limits).unwrap(),
                read.picture.load(limits).unwrap()
            );
        }
        assert_eq!(set.suite(suite).len(), back.suite(suite).len());
    }
    let empty = tempfile::tempdir().unwrap();
    assert!(
        Benchmarks::read(empty.path(), limits)
            .unwrap_err()
            .to_string()
            .contains("robustvqa/")
    );
}

#[test]
fn wrong_functions_and_roles_are_refused() {
    let world = World::builtin(Subset::Core).unwrap();
    let config = BenchmarkConfig {
        robust_images: 2,
        ..BenchmarkConfig::default()
    };
    let short = |images: &[RgbImage]| vec![vec![0.0; 3]; images.len()];
    let error = build_benchmarks(&world, &config, Role::Test, &short, &embed)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("classifier") && error.contains("64 scores"),
        "{error}"
    );
    assert!(build_benchmarks(&world, &config, Role::Train, &short, &embed).is_err());
}
