//! The design `categories`: two exceptions among the train concepts. A quarter has one of its two captioned drawings
//! reserved as Test (fresh drawings of seen styles, RobustVQA-V). Another sixth are *tuning* concepts: their drawings in
//! never-seen styles and one captioned drawing are Validation, so that a recipe can be chosen on concepts that the model
//! knows.

use super::{Part, Role, train_concepts};
use crate::world::corpus::{Corpus, Style, Subset};

/// Reserves drawings of train concepts for evaluation.
pub(super) fn reserve(corpus: &Corpus, parts: &[Part], roles: &mut [Role]) {
    for subset in [Subset::Core, Subset::Extended] {
        let train = train_concepts(corpus, parts, |c| corpus.concepts()[c].subset == subset);
        let reserved = train.len() / 4;
        let tuning = train.len() / 6;
        for (rank, concept) in train.into_iter().enumerate().take(reserved + tuning) {
            let kept = if rank % 2 == 0 {
                Style::Noto
            } else {
                Style::Twemoji
            };
            let role = if rank < reserved {
                Role::Test
            } else {
                Role::Validation
            };
            for drawing in corpus.drawings_of(concept) {
                let style = corpus.drawings()[*drawing].style;
                if style != kept {
                    roles[*drawing] = role;
                }
            }
        }
    }
}
