//! No drawing reserved for evaluation may reach any training or pre-training sample.

use std::collections::BTreeSet;

use crate::support::picture_sources;
use deem_data::source::Source;
use deem_data::world::World;
use deem_data::world::corpus::{Role, Subset};
use deem_data::world::scene::SceneConfig;
use deem_data::world::source::{LanguageConfig, LanguageSource};

#[test]
fn training_sources_use_training_drawings_only_and_all_of_them() {
    for subset in [Subset::Core, Subset::Extended] {
        let world = World::builtin(subset).unwrap();
        let feed = |purpose| {
            world
                .training_feed(SceneConfig::default(), purpose, 7, 16)
                .unwrap()
        };
        let sources = picture_sources(feed);
        let allowed: BTreeSet<String> = world
            .split()
            .drawings(Role::Train, |_| true)
            .into_iter()
            .map(|d| world.corpus().drawings()[d].id.clone())
            .collect();
        for source in &sources {
            let mut used = BTreeSet::new();
            for index in (0..2000).chain(u64::MAX / 2..u64::MAX / 2 + 500) {
                let sample = source.get(index).unwrap();
                assert!(!sample.provenance.is_empty());
                used.extend(sample.provenance);
            }
            assert!(
                used.is_subset(&allowed),
                "{:?}",
                used.difference(&allowed).collect::<Vec<_>>()
            );
            assert_eq!(used.len(), allowed.len(), "every training drawing is used");
        }
        let feed = world.language_feed(SceneConfig::default(), 7).unwrap();
        let language = LanguageSource::new(feed, LanguageConfig::default());
        for index in 0..2000 {
            let sample = language.get(index).unwrap();
            assert!(sample.images.is_empty() && !sample.segments.is_empty());
        }
    }
}
