//! The benchmarks made from the built-in world: sizes, balance, truth, no leakage, and that they survive disk.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use deem_data::DataError;
use deem_data::benchmark::{
    BenchmarkItems, Item, read_mmvp, read_pope, read_regions, read_robust_vqa, write_mmvp,
    write_pope, write_regions, write_robust_vqa,
};
use deem_data::image::ImageLimits;
use deem_data::text::{TextTokenizer, protocol, question_prompt, region_prompt};
use deem_data::world::benchmark::{BenchmarkConfig, UNSEEN, UNSEEN_SETS, build_benchmarks};
use deem_data::world::corpus::{Part, Role};
use deem_data::world::{Casting, World};
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

/// The items of a part.
fn part<'a>(set: &'a BenchmarkItems, part: &str) -> Vec<&'a Item> {
    set.items.iter().filter(|item| item.part == part).collect()
}

fn parts(set: &BenchmarkItems) -> BTreeSet<&str> {
    set.items.iter().map(|item| item.part.as_str()).collect()
}

fn build(world: &World, role: Role) -> Vec<BenchmarkItems> {
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
    build_benchmarks(world, &config, role, &classify, &embed, &|| false).unwrap()
}

#[test]
fn sizes_balance_and_pairs() {
    let world = World::builtin().unwrap();
    for role in [Role::Validation, Role::Test] {
        let sets = build(&world, role);
        let names: Vec<&str> = sets.iter().map(|set| set.name.as_str()).collect();
        assert_eq!(names, ["robust_vqa", "pope", "mmvp", "region", UNSEEN]);
        let sizes = [[40, 3], [60, 3], [56, 1], [10, 1], [40, 2]];
        for (set, wanted) in sets.iter().zip(sizes) {
            assert_eq!(parts(set).len(), wanted[1], "{}", set.name);
            for name in parts(set) {
                let items = part(set, name);
                assert_eq!(items.len(), wanted[0], "{} {name}", set.name);
                let ids: BTreeSet<&str> = items.iter().map(|i| i.id.as_str()).collect();
                assert_eq!(ids.len(), items.len());
                let first = items
                    .iter()
                    .filter(|i| i.answers[0] == "yes" || i.answers[0] == "(a)")
                    .count();
                assert!(
                    set.name == "region" || first == items.len() / 2,
                    "{} {name}: {first}",
                    set.name
                );
            }
        }
        let mut patterns: BTreeMap<&str, usize> = BTreeMap::new();
        for pair in sets[2].items.chunks(2) {
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
    let world = World::builtin().unwrap();
    let tokenizer = TextTokenizer::builtin().unwrap();
    let unknown = tokenizer.id_of("<unk>").unwrap();
    for role in [Role::Validation, Role::Test] {
        for (benchmark, item) in build(&world, role).into_iter().flat_map(|set| {
            set.items
                .into_iter()
                .map(move |item| (set.name.clone(), item))
        }) {
            assert!(!item.provenance.is_empty());
            for id in &item.provenance {
                let drawing = world.corpus().drawing(id).unwrap();
                assert_eq!(world.split().role(drawing), role, "{id} in {}", item.id);
                let captioned = world.casting(drawing) == Casting::Captioned;
                match (benchmark.as_str(), item.part.as_str()) {
                    ("robust_vqa", "R") => assert!(!captioned),
                    ("robust_vqa", "V") => assert!(captioned),
                    _ => {}
                }
            }
            let words = [&[item.question.clone()][..], &item.options]
                .concat()
                .join(" ");
            let segments = match benchmark.as_str() {
                "region" => region_prompt(0),
                _ => question_prompt(0, &format!("{words} {}", protocol::YES_OR_NO)),
            };
            let (sample, _) = item.sample(segments, ImageLimits::default()).unwrap();
            let text = sample.text();
            assert!(
                !tokenizer.encode(&text).unwrap().contains(&unknown),
                "{text}"
            );
        }
    }
}

/// Reserved drawings of known concepts, and what was never trained on by itself.
#[test]
fn known_and_unseen_stand_apart() {
    let world = World::builtin().unwrap();
    for role in [Role::Validation, Role::Test] {
        let sets = build(&world, role);
        assert_eq!(parts(&sets[4]), BTreeSet::from(UNSEEN_SETS));
        let mut secondary = 0;
        for set in &sets {
            for item in &set.items {
                for id in &item.provenance {
                    let drawing = world.corpus().drawing(id).unwrap();
                    assert_eq!(world.split().role(drawing), role, "{id} in {}", item.id);
                    let known = world.is_known(drawing);
                    let casting = world.casting(drawing);
                    let allowed = match (set.name.as_str(), item.part.as_str()) {
                        ("robust_vqa", "R") => known && casting == Casting::Web,
                        ("robust_vqa", "A") => known && casting != Casting::NeverSeen,
                        (UNSEEN, "style") => known && casting == Casting::NeverSeen,
                        (UNSEEN, _) => !known && casting == Casting::Captioned,
                        _ => known && casting == Casting::Captioned,
                    };
                    assert!(allowed, "{id} in {} {}", set.name, item.part);
                }
                secondary += usize::from(set.name == "pope" && item.provenance.len() > 1);
            }
        }
        assert!(
            secondary > 60,
            "POPE shows other things beside the main one"
        );
        // Labels that no picture taught would be no temptation.
        for item in &sets[0].items {
            let label = item.label.as_deref().unwrap();
            let concept = world.corpus().concept_of_noun(label).unwrap();
            assert_eq!(world.split().part(concept), Part::Train, "{label}");
        }
    }
}

#[test]
fn written_and_read_back_they_are_the_same() {
    let world = World::builtin().unwrap();
    let limits = ImageLimits::default();
    let back = |set: &BenchmarkItems, folder: &Path| match set.name.as_str() {
        "robust_vqa" => {
            write_robust_vqa(&set.items, folder).unwrap();
            read_robust_vqa(folder).unwrap()
        }
        "pope" => {
            write_pope(&set.items, folder).unwrap();
            read_pope(folder).unwrap()
        }
        "mmvp" => {
            write_mmvp(&set.items, folder).unwrap();
            read_mmvp(folder).unwrap()
        }
        _ => {
            write_regions(&set.items, folder).unwrap();
            read_regions(folder, limits).unwrap()
        }
    };
    // What was never trained on is in RobustVQA's form, under other names.
    let published = build(&world, Role::Test).into_iter();
    for set in published.filter(|set| set.name != UNSEEN) {
        let folder = tempfile::tempdir().unwrap();
        let back = back(&set, folder.path());
        assert_eq!(set.items.len(), back.len());
        for (made, read) in set.items.iter().zip(&back) {
            assert_eq!(
                (&made.question, &made.options, &made.answers),
                (&read.question, &read.options, &read.answers)
            );
            assert_eq!(
                (&made.id, &made.part, &made.cluster, &made.pattern),
                (&read.id, &read.part, &read.cluster, &read.pattern)
            );
            assert_eq!(made.mask, read.mask);
            assert_eq!(
                made.picture.load(limits).unwrap(),
                read.picture.load(limits).unwrap()
            );
        }
    }
}

#[test]
fn wrong_functions_and_roles_are_refused() {
    let world = World::builtin().unwrap();
    let config = BenchmarkConfig {
        robust_images: 2,
        ..BenchmarkConfig::default()
    };
    let short = |images: &[RgbImage]| vec![vec![0.0; 3]; images.len()];
    let build = |role, stop: &dyn Fn() -> bool| {
        build_benchmarks(&world, &config, role, &short, &embed, stop)
    };
    let error = build(Role::Test, &|| false).unwrap_err().to_string();
    assert!(
        error.contains("classifier") && error.contains("160 scores"),
        "{error}"
    );
    assert!(build(Role::Train, &|| false).is_err());
    assert!(matches!(
        build(Role::Test, &|| true),
        Err(DataError::Interrupted)
    ));
}
