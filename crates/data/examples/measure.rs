//! Prints what the built-in data looks like in numbers: split, vocabulary, token lengths, speed.

use std::time::Instant;

use deem_data::source::Source;
use deem_data::text::TextTokenizer;
use deem_data::world::World;
use deem_data::world::corpus::{Part, Role};
use deem_data::world::scene::SceneConfig;
use deem_data::world::source::{
    ClipSource, DiffusionSource, InstructConfig, InstructSource, InterleavedConfig,
    InterleavedSource, LanguageConfig, LanguageSource, RegionSource,
};
use deem_data::{DataError, PackConfig};

fn main() -> Result<(), DataError> {
    let tokenizer = TextTokenizer::builtin()?;
    println!("vocabulary {}", tokenizer.vocabulary());
    let world = World::builtin()?;
    let concepts = world.corpus().concepts();
    let part = |p| {
        (0..concepts.len())
            .filter(|c| world.split().part(*c) == p)
            .count()
    };
    let role = |r| world.split().drawings(r, |_| true).len();
    println!(
        "concepts train {} validation {} held-out {}; drawings train {} validation {} test {}",
        part(Part::Train),
        part(Part::Validation),
        part(Part::HeldOut),
        role(Role::Train),
        role(Role::Validation),
        role(Role::Test)
    );
    for (style, casting) in world.design().styles {
        let count = |r, known| {
            let drawings = world.split().drawings(r, |d| {
                world.corpus().drawings()[d].style == *style && world.is_known(d) == known
            });
            drawings.len()
        };
        println!(
            "  {} ({casting:?}): train {}; known concepts validation {} test {}; unseen concepts validation {} test {}",
            style.name(),
            count(Role::Train, true),
            count(Role::Validation, true),
            count(Role::Test, true),
            count(Role::Validation, false),
            count(Role::Test, false)
        );
    }
    for p in [Part::Validation, Part::HeldOut] {
        let names: Vec<&str> = (0..concepts.len())
            .filter(|c| world.split().part(*c) == p)
            .map(|c| concepts[c].noun.as_str())
            .collect();
        println!("  {p:?}: {}", names.join(" "));
    }
    let feed = |purpose| world.training_feed(SceneConfig::default(), purpose, 1, 64);
    let count = 2000;
    for (name, source) in [
        (
            "clip",
            Box::new(ClipSource::new(feed("clip")?)) as Box<dyn Source>,
        ),
        (
            "diffusion",
            Box::new(DiffusionSource::new(feed("diffusion")?)),
        ),
        (
            "language",
            Box::new(LanguageSource::new(
                world.language_feed(SceneConfig::default(), 1)?,
                LanguageConfig::default(),
            )),
        ),
        (
            "stage 1",
            Box::new(InterleavedSource::new(
                feed("stage1")?,
                InterleavedConfig::default(),
            )),
        ),
        (
            "stage 2",
            Box::new(InstructSource::new(
                feed("stage2")?,
                InstructConfig::default(),
            )),
        ),
        ("stage 3", Box::new(RegionSource::new(feed("stage3")?))),
    ] {
        let start = Instant::now();
        let samples: Vec<_> = (0..count)
            .map(|i| source.get(i))
            .collect::<Result<_, _>>()?;
        let speed = count as f64 / start.elapsed().as_secs_f64();
        let pack = PackConfig {
            max_tokens: 4096,
            image_tokens: 0,
            count_first_image: true,
        };
        let mut lengths = Vec::new();
        let mut counted = 0;
        for sample in &samples {
            let packed = pack.pack(std::slice::from_ref(sample), &tokenizer)?;
            lengths.push(packed.tokens.len());
            counted += packed.labels.iter().filter(|l| **l >= 0).count();
        }
        lengths.sort_unstable();
        println!(
            "{name}: {speed:.0} samples/s on one core; tokens without placeholders: median {}, 95 % {}, longest {}; counted {:.1} a sample",
            lengths[lengths.len() / 2],
            lengths[lengths.len() * 95 / 100],
            lengths[lengths.len() - 1],
            counted as f64 / count as f64
        );
        for sample in samples.iter().take(2) {
            println!("    {}", sample.text().replace('\n', " / "));
        }
    }
    Ok(())
}
