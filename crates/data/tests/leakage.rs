//! No drawing reserved for evaluation may reach any training or pre-training sample.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::support::picture_sources;
use deem_data::Segment;
use deem_data::source::Source;
use deem_data::world::corpus::Role;
use deem_data::world::scene::WebCaptions;
use deem_data::world::source::{
    ClipSource, DiffusionSource, Gathered, LanguageConfig, LanguageSource, Task,
};
use deem_data::world::{Casting, Design, World};

/// What a training source may show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Styles {
    Captioned,
    AllTrained,
}

/// Ids of the training drawings of these styles.
fn allowed(world: &World, styles: Styles) -> BTreeSet<String> {
    let drawings = world.split().drawings(Role::Train, |d| {
        styles == Styles::AllTrained || world.casting(d) == Casting::Captioned
    });
    let ids = drawings.into_iter();
    ids.map(|d| world.corpus().drawings()[d].id.clone())
        .collect()
}

/// Everything that anything is trained on, and the styles that it may show.
fn sources(world: &World) -> Vec<(String, Arc<dyn Source>, Styles)> {
    let scenes = || world.design().scenes.clone();
    let feed = |purpose| world.training_feed(scenes(), purpose, 7, 16).unwrap();
    let described = world.described_feed(scenes(), "diffusion", 7, 16).unwrap();
    let mut sources: Vec<(String, Arc<dyn Source>, Styles)> = vec![
        (
            "encoders".into(),
            Arc::new(ClipSource::new(feed("clip"))),
            Styles::Captioned,
        ),
        (
            "encoder of bare studies".into(),
            Arc::new(ClipSource::new(feed("captioned")).gathered(Gathered {
                pairs: 64,
                concepts: 8,
            })),
            Styles::Captioned,
        ),
        (
            "diffusion model and latent space".into(),
            Arc::new(DiffusionSource::new(described)),
            Styles::AllTrained,
        ),
    ];
    for (number, source) in picture_sources(feed).into_iter().enumerate() {
        sources.push((format!("feed {number}"), source.into(), Styles::Captioned));
    }
    for (task, styles) in [
        (Task::Alignment, Styles::AllTrained),
        (Task::Description, Styles::Captioned),
        (Task::Instruction, Styles::Captioned),
        (Task::Region, Styles::Captioned),
        (Task::Captions, Styles::AllTrained),
    ] {
        let source = world.source(task, 7, 16).unwrap();
        sources.push((format!("{task:?}"), source, styles));
    }
    sources
}

#[test]
fn training_sources_use_training_drawings_only_and_all_of_them() {
    let world = World::builtin().unwrap();
    for (name, source, styles) in sources(&world) {
        let allowed = allowed(&world, styles);
        let mut used = BTreeSet::new();
        for index in (0..5000).chain(u64::MAX / 2..u64::MAX / 2 + 500) {
            let sample = source.get(index).unwrap();
            assert!(!sample.provenance.is_empty());
            used.extend(sample.provenance);
        }
        assert!(
            used.is_subset(&allowed),
            "{name}: {:?}",
            used.difference(&allowed).collect::<Vec<_>>()
        );
        assert!(
            used == allowed,
            "{name}: every training drawing is used, but {:?}",
            allowed.difference(&used).collect::<Vec<_>>()
        );
    }
    let feed = world
        .language_feed(world.design().scenes.clone(), 7)
        .unwrap();
    let language = LanguageSource::new(feed, LanguageConfig::default());
    for index in 0..2000 {
        let sample = language.get(index).unwrap();
        assert!(sample.images.is_empty() && !sample.segments.is_empty());
    }
}

#[test]
fn pictures_in_web_styles_come_with_captions_that_name_nothing() {
    let world = World::builtin().unwrap();
    let corpus = world.corpus();
    let nouns: BTreeSet<&str> = corpus
        .concepts()
        .iter()
        .flat_map(|c| [c.noun.as_str(), c.plural.as_str()])
        .collect();
    let told = Design {
        captions: WebCaptions::EVERYTHING,
        ..Design::default()
    };
    let told = World::of(told).unwrap();
    let told = told.source(Task::Alignment, 3, 16).unwrap();
    let source = world.source(Task::Alignment, 3, 16).unwrap();
    let mut pictures = [0; 2];
    for index in 0..2000 {
        let sample = source.get(index).unwrap();
        let casts: BTreeSet<bool> = sample
            .provenance
            .iter()
            .map(|id| world.casting(corpus.drawing(id).unwrap()) == Casting::Web)
            .collect();
        assert_eq!(casts.len(), 1, "a document is of one kind: {}", sample.id);
        let web = casts.contains(&true);
        pictures[usize::from(web)] += 1;
        let names = sample.segments.iter().any(|segment| match segment {
            Segment::Text { text, .. } => text
                .split(|c: char| !c.is_alphanumeric())
                .any(|word| nouns.contains(word)),
            _ => false,
        });
        assert!(!(web && names), "{}", sample.text());
        // Captions that say everything are of the very same pictures.
        let twin = told.get(index).unwrap();
        assert!(twin.text().matches("background").count() >= sample.images.len());
        for (picture, twin) in sample.images.iter().zip(&twin.images) {
            assert_eq!((&picture.id, &picture.image), (&twin.id, &twin.image));
        }
    }
    let share = f64::from(world.design().web_pictures);
    assert!(
        (f64::from(pictures[1]) / 2000.0 - share).abs() < 0.01,
        "{pictures:?}"
    );
}
