//! Which drawings of train concepts are kept back: every train concept is evaluated, two of three on Test, the third (*tuning*, so that recipes can be
//! chosen on concepts that the model knows) on Validation.
//!
//! - Of its captioned drawings one is reserved, of another artist from concept to concept, if at least two are left to be
//!   trained on.
//! - Half of the concepts have all their drawings in web styles reserved: those styles are one artist's, who drew a thing
//!   once and rendered it in several ways, so that one way would give the others away.
//! - Its drawings in never-seen styles are asked about.

use super::{Part, Role, train_concepts};
use crate::world::corpus::{Corpus, DrawingIndex};
use crate::world::design::{Casting, Design};

/// Captioned drawings of a concept that are left to be trained on.
const LEFT: usize = 2;

/// Reserves drawings of train concepts for evaluation.
pub(super) fn reserve(corpus: &Corpus, parts: &[Part], design: &Design, roles: &mut [Role]) {
    let train = train_concepts(corpus, parts);
    for (rank, concept) in train.into_iter().enumerate() {
        let role = if rank % 3 == 2 {
            Role::Validation
        } else {
            Role::Test
        };
        let drawn = |casting: Casting| -> Vec<DrawingIndex> {
            let own = corpus.drawings_of(concept).iter().copied();
            own.filter(|d| design.casting(corpus.drawings()[*d].style) == casting)
                .collect()
        };
        let captioned = drawn(Casting::Captioned);
        if captioned.len() > LEFT {
            // In steps of three: the ranks of one role would else meet some artists only.
            roles[captioned[rank / 3 % captioned.len()]] = role;
        }
        let mut asked = drawn(Casting::NeverSeen);
        if rank / 12 % 2 == 0 {
            asked.extend(drawn(Casting::Web));
        }
        for drawing in asked {
            roles[drawing] = role;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::World;
    use std::collections::BTreeMap;

    #[test]
    fn every_trained_style_has_training_and_reserved_drawings_of_train_concepts() {
        let world = World::builtin().unwrap();
        let (corpus, split) = (world.corpus(), world.split());
        let mut counts: BTreeMap<(&str, bool, &str), usize> = BTreeMap::new();
        for (index, drawing) in corpus.drawings().iter().enumerate() {
            let known = split.part(drawing.concept) == Part::Train;
            let role = match split.role(index) {
                Role::Train => "train",
                Role::Validation => "validation",
                Role::Test => "test",
            };
            *counts
                .entry((drawing.style.name(), known, role))
                .or_default() += 1;
        }
        let count = |style, known, role| counts.get(&(style, known, role)).copied().unwrap_or(0);
        for (style, casting) in world.design().styles {
            let style = style.name();
            let trained = *casting != Casting::NeverSeen;
            assert_eq!(
                count(style, true, "train") >= 40,
                trained,
                "{style} {counts:?}"
            );
            assert!(count(style, true, "test") >= 12, "{style} {counts:?}");
            assert!(count(style, true, "validation") >= 6, "{style} {counts:?}");
            assert!(count(style, false, "test") >= 10, "{style} {counts:?}");
            assert!(count(style, false, "validation") >= 6, "{style} {counts:?}");
            assert_eq!(count(style, false, "train"), 0);
        }
    }

    #[test]
    fn no_concept_is_in_both_evaluations_and_an_artist_is_reserved_as_a_whole() {
        let world = World::builtin().unwrap();
        let (corpus, split, design) = (world.corpus(), world.split(), world.design());
        for concept in 0..corpus.concepts().len() {
            let roles = |casting: Option<Casting>| -> Vec<Role> {
                let own = corpus.drawings_of(concept).iter();
                let style = |d: DrawingIndex| corpus.drawings()[d].style;
                own.filter(|d| casting.is_none_or(|c| design.casting(style(**d)) == c))
                    .map(|d| split.role(*d))
                    .collect()
            };
            let all = roles(None);
            assert!(!(all.contains(&Role::Validation) && all.contains(&Role::Test)));
            let web = roles(Some(Casting::Web));
            assert!(web.iter().all(|role| *role == web[0]), "{web:?}");
            let captioned = roles(Some(Casting::Captioned));
            let trained = captioned.iter().filter(|r| **r == Role::Train).count();
            match split.part(concept) {
                Part::Train => assert!(trained >= 2 && trained + 1 >= captioned.len()),
                _ => assert_eq!(trained, 0),
            }
        }
    }
}
