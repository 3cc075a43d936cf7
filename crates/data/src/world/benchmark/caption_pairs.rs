//! Pairs for a bare encoder, as MMVP-VLM has them: two scenes that differ in one attribute of one group, each with a short
//! statement that is true of it and false of the other.
//!
//! Differs from: MMVP, whose pairs are those that an encoder finds most alike. Pairs that were chosen by what the encoder
//! under test sees would let any change of it look like a gain.

use std::collections::BTreeSet;

use image::RgbImage;

use super::mmvp::{self, PATTERNS};
use super::{BenchmarkConfig, Builder, drawings};
use crate::DataError;
use crate::world::World;
use crate::world::corpus::Role;
use crate::world::scene::wording::{
    NUMBERS, arrangement_phrase, join, position_phrase, with_article,
};
use crate::world::scene::{Attribute, Captioner, Facts, Group, Scene, Tint};

/// Two pictures and what is true of each.
#[derive(Clone, Debug)]
pub struct CaptionPair {
    /// `pair <number>`, from 1 on.
    pub id: String,
    /// What they differ in.
    pub pattern: Attribute,
    /// The pictures.
    pub images: [RgbImage; 2],
    /// A statement of each, false of the other.
    pub captions: [String; 2],
    /// The value of the attribute that tells each apart.
    pub values: [String; 2],
    /// All values of the attribute that each shows, see [`values_seen`].
    pub seen: [BTreeSet<String>; 2],
    /// Ids of the drawings.
    pub provenance: Vec<String>,
}

/// Pairs of all patterns in equal numbers, as many in all as `config.mmvp_pairs`, from drawings of one role. `interrupted`
/// is asked now and then.
///
/// # Errors
/// As [`build_benchmarks`](super::build_benchmarks), without its functions' errors.
pub fn caption_pairs(
    world: &World,
    config: &BenchmarkConfig,
    role: Role,
    interrupted: &dyn Fn() -> bool,
) -> Result<Vec<CaptionPair>, DataError> {
    let builder = Builder::new(world, config, role, interrupted)?;
    let captioner = world.captioner();
    let mut pairs = Vec::with_capacity(config.mmvp_pairs);
    for (number, pattern) in PATTERNS.into_iter().enumerate() {
        // The remainder goes to the first patterns.
        let each = config.mmvp_pairs / PATTERNS.len()
            + usize::from(number < config.mmvp_pairs % PATTERNS.len());
        if each == 0 {
            continue;
        }
        for pair in mmvp::candidates(&builder, pattern, each)? {
            builder.go_on()?;
            let facts = |scene: &Scene| builder.facts(scene);
            let facts = [facts(&pair.scenes[0])?, facts(&pair.scenes[1])?];
            let value =
                |facts: &Facts| value(pattern, facts, &facts.groups[pair.group], &captioner);
            let (Some(first), Some(second)) = (value(&facts[0]), value(&facts[1])) else {
                continue; // candidates have values
            };
            let caption = |facts: &Facts| statement(pattern, facts, pair.group, &captioner);
            let seen = |facts: &Facts| values_seen(pattern, facts, &captioner);
            let [a, b] = &pair.scenes;
            pairs.push(CaptionPair {
                id: format!("pair {}", pairs.len() + 1),
                pattern,
                images: [builder.render(a)?, builder.render(b)?],
                captions: [caption(&facts[0]), caption(&facts[1])],
                values: [first, second],
                seen: [seen(&facts[0]), seen(&facts[1])],
                provenance: [drawings(a), drawings(b)].concat(),
            });
        }
    }
    Ok(pairs)
}

/// All values of an attribute that a scene shows, of whichever group: what can be said of it without naming what has it.
pub fn values_seen(pattern: Attribute, facts: &Facts, captioner: &Captioner) -> BTreeSet<String> {
    let groups = facts.groups.iter();
    groups
        .filter_map(|group| value(pattern, facts, group, captioner))
        .collect()
}

/// The value of an attribute of a group, or of the scene.
fn value(
    pattern: Attribute,
    facts: &Facts,
    group: &Group,
    captioner: &Captioner,
) -> Option<String> {
    Some(match pattern {
        Attribute::Presence | Attribute::MainObject => captioner.noun(group.concept).to_owned(),
        Attribute::Quantity => (*NUMBERS.get(group.count)?).to_owned(),
        Attribute::Colour if group.tint == Tint::Natural => return None,
        Attribute::Colour => group.tint.words().to_owned(),
        Attribute::Position => group.position?.words().to_owned(),
        Attribute::Orientation => group.orientation?.words().to_owned(),
        Attribute::Background => facts.background.words().to_owned(),
        Attribute::Structure => facts.arrangement.words().to_owned(),
    })
}

/// What is said of a scene: the group in question with the attribute in question and nothing else; of the background and
/// the arrangement, all groups.
fn statement(pattern: Attribute, facts: &Facts, group: usize, captioner: &Captioner) -> String {
    let bare = |group: &Group| {
        captioner.region_reference(&Group {
            tint: Tint::Natural,
            orientation: None,
            position: None,
            ..group.clone()
        })
    };
    let all = || join(&facts.groups.iter().map(bare).collect::<Vec<_>>());
    let it = &facts.groups[group];
    match pattern {
        Attribute::Presence | Attribute::MainObject => captioner.category_list(facts),
        Attribute::Quantity => bare(it),
        Attribute::Colour => captioner.region_reference(&Group {
            orientation: None,
            position: None,
            ..it.clone()
        }),
        Attribute::Orientation => {
            let turned = it.orientation.map_or("", |turned| turned.words());
            format!("{} {turned}", bare(it))
        }
        Attribute::Position => {
            let place = it.position.map(position_phrase).unwrap_or_default();
            format!("{} {place}", bare(it))
        }
        Attribute::Background => {
            let colour = with_article(facts.background.words());
            format!("{} on {colour} background", all())
        }
        Attribute::Structure => format!("{} {}", all(), arrangement_phrase(facts.arrangement)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(pairs: usize) -> BenchmarkConfig {
        BenchmarkConfig {
            resolution: 32,
            mmvp_pairs: pairs,
            ..BenchmarkConfig::default()
        }
    }

    #[test]
    fn statements_of_a_pair_differ_in_the_value_that_tells_it_apart() {
        let world = World::builtin().unwrap();
        let pairs = caption_pairs(&world, &config(23), Role::Test, &|| false).unwrap();
        assert_eq!(pairs.len(), 23);
        let of = |pattern| pairs.iter().filter(|p| p.pattern == pattern).count();
        assert_eq!(PATTERNS.map(of), [4, 4, 3, 3, 3, 3, 3]);
        for pair in &pairs {
            let ([a, b], [x, y]) = (&pair.captions, &pair.values);
            assert_ne!(a, b);
            assert_ne!(pair.images[0], pair.images[1]);
            assert!(pair.seen[0].contains(x) && pair.seen[1].contains(y));
            if pair.pattern == Attribute::Quantity {
                assert!(b.starts_with(y.as_str()) || y == "one", "{b}: {y}");
            } else {
                assert!(a.contains(x.as_str()) && b.contains(y.as_str()), "{pair:?}");
            }
        }
        // Made again, they are the same.
        let again = caption_pairs(&world, &config(23), Role::Test, &|| false).unwrap();
        assert!(
            again
                .iter()
                .zip(&pairs)
                .all(|(a, b)| a.captions == b.captions && a.images == b.images)
        );
        // Other drawings, other pairs.
        let other = caption_pairs(&world, &config(7), Role::Validation, &|| false).unwrap();
        let own: BTreeSet<&String> = pairs.iter().flat_map(|p| &p.provenance).collect();
        assert!(
            other
                .iter()
                .flat_map(|p| &p.provenance)
                .all(|id| !own.contains(id))
        );
    }

    #[test]
    fn training_drawings_make_no_questions() {
        let world = World::builtin().unwrap();
        let error = caption_pairs(&world, &config(7), Role::Train, &|| false).unwrap_err();
        assert!(error.to_string().contains("role"), "{error}");
        let error = caption_pairs(&world, &config(7), Role::Test, &|| true).unwrap_err();
        assert!(matches!(error, DataError::Interrupted), "{error}");
    }
}
