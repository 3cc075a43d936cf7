//! The built-in tokenizer knows every word of every built-in source, and sequences stay short.

use crate::support::picture_sources;
use deem_data::text::TextTokenizer;
use deem_data::world::World;
use deem_data::world::corpus::Role;
use deem_data::world::scene::SceneConfig;
use deem_data::world::source::{DiffusionSource, LanguageConfig, LanguageSource, Task};

#[test]
fn no_builtin_text_has_an_unknown_word() {
    let world = World::builtin().unwrap();
    let tokenizer = TextTokenizer::builtin().unwrap();
    let unknown = tokenizer.id_of("<unk>").unwrap();
    for role in [Role::Train, Role::Validation, Role::Test] {
        let feed = |purpose| {
            world
                .feed(
                    world.pool(role, |_| true),
                    SceneConfig::default(),
                    purpose,
                    1,
                    16,
                )
                .unwrap()
        };
        let mut sources = picture_sources(feed);
        sources.push(Box::new(LanguageSource::new(
            feed("language"),
            LanguageConfig::default(),
        )));
        for source in sources {
            for index in 0..700 {
                let text = source.get(index).unwrap().text();
                let ids = tokenizer.encode(&text).unwrap();
                assert!(!ids.is_empty());
                assert!(!ids.contains(&unknown), "{text}");
            }
        }
    }
}

#[test]
fn nor_has_any_text_of_a_task() {
    let world = World::builtin().unwrap();
    let tokenizer = TextTokenizer::builtin().unwrap();
    let unknown = tokenizer.id_of("<unk>").unwrap();
    for task in [Task::Alignment, Task::Instruction, Task::Captions] {
        let source = world.source(task, 1, 16).unwrap();
        for index in 0..700 {
            let text = source.get(index).unwrap().text();
            assert!(
                !tokenizer.encode(&text).unwrap().contains(&unknown),
                "{text}"
            );
        }
    }
}

#[test]
fn captions_are_compact() {
    let world = World::builtin().unwrap();
    let tokenizer = TextTokenizer::builtin().unwrap();
    let source = DiffusionSource::new(
        world
            .training_feed(SceneConfig::default(), "diffusion", 1, 16)
            .unwrap(),
    );
    let mut lengths: Vec<usize> = (0..1000)
        .map(|i| {
            tokenizer
                .encode(&source.pair(i).unwrap().caption)
                .unwrap()
                .len()
        })
        .collect();
    lengths.sort_unstable();
    assert!(lengths[500] <= 20, "median {}", lengths[500]);
    assert!(lengths[999] <= 44, "longest {}", lengths[999]);
}
