//! Which drawing may be used for what: the only place that decides it.
//!
//! The split is by concept family, deterministic, and computed for the core concepts first, so that
//! the core corpus and the full corpus agree on every concept they share. Concepts fall in three parts:
//!
//! | part | share | drawings |
//! |---|---|---|
//! | held-out | 15 % | Test in every style |
//! | validation | 12 % | Validation in every style |
//! | train | the rest | as the world's design says: [`categories`], [`web`] |
//!
//! No concept has both Validation and Test drawings, whatever the design.

mod categories;
mod web;

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use super::{Corpus, DrawingIndex, Subset};
use crate::dice::hash;
use crate::world::design::{Casting, Design, DesignName};

/// What a drawing may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Pre-training and training.
    Train,
    /// Choosing recipes.
    Validation,
    /// Final evaluation only.
    Test,
}

/// What a concept is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// Trained on in the training styles.
    Train,
    /// Never trained on; recipes may be chosen on it.
    Validation,
    /// Never trained on; final evaluation only.
    HeldOut,
}

const HELD_OUT: f64 = 0.15;
const VALIDATION: f64 = 0.12;
/// Salt of the hash order; changing it changes every published number.
const SALT: &str = "deem split 1";

/// The role of each drawing and the part of each concept of a corpus.
#[derive(Clone, Debug)]
pub struct Split {
    parts: Vec<Part>,
    roles: Vec<Role>,
}

impl Split {
    /// Splits a corpus by the rules of a design.
    pub fn new(corpus: &Corpus, design: &Design) -> Self {
        let mut part_of_family: HashMap<&str, Part> = HashMap::new();
        for subset in [Subset::Core, Subset::Extended] {
            let mut families: BTreeMap<(u64, &str), usize> = BTreeMap::new();
            for concept in corpus.concepts().iter().filter(|c| c.subset == subset) {
                if !part_of_family.contains_key(concept.family.as_str()) {
                    *families
                        .entry((key(&concept.family), &concept.family))
                        .or_default() += 1;
                }
            }
            let total: usize = families.values().sum();
            let (mut held_out, mut validation) = (0, 0);
            for ((_, family), size) in families {
                let part = if ((held_out + size) as f64) <= (HELD_OUT * total as f64).round() {
                    held_out += size;
                    Part::HeldOut
                } else if ((validation + size) as f64) <= (VALIDATION * total as f64).round() {
                    validation += size;
                    Part::Validation
                } else {
                    Part::Train
                };
                part_of_family.insert(family, part);
            }
        }
        let parts: Vec<Part> = corpus
            .concepts()
            .iter()
            .map(|c| {
                part_of_family
                    .get(c.family.as_str())
                    .copied()
                    .unwrap_or(Part::Train)
            })
            .collect();
        let roles = roles(corpus, &parts, design);
        Self { parts, roles }
    }

    /// Part of a concept.
    ///
    /// # Panics
    /// If the concept is not of the corpus that was split.
    pub fn part(&self, concept: usize) -> Part {
        self.parts[concept]
    }

    /// Role of a drawing.
    ///
    /// # Panics
    /// If the drawing is not of the corpus that was split.
    pub fn role(&self, drawing: DrawingIndex) -> Role {
        self.roles[drawing]
    }

    /// Drawings with this role for which `keep` holds, in corpus order.
    pub fn drawings(&self, role: Role, keep: impl Fn(DrawingIndex) -> bool) -> Vec<DrawingIndex> {
        (0..self.roles.len())
            .filter(|d| self.roles[*d] == role && keep(*d))
            .collect()
    }
}

fn key(name: &str) -> u64 {
    hash(format!("{SALT} {name}").as_bytes())
}

fn roles(corpus: &Corpus, parts: &[Part], design: &Design) -> Vec<Role> {
    let mut roles: Vec<Role> = corpus
        .drawings()
        .iter()
        .map(|d| match (parts[d.concept], design.casting(d.style)) {
            (Part::HeldOut, _) => Role::Test,
            (Part::Validation, _) => Role::Validation,
            (Part::Train, Casting::NeverSeen) => Role::Test,
            (Part::Train, Casting::Captioned | Casting::Web) => Role::Train,
        })
        .collect();
    match design.name {
        DesignName::Categories => categories::reserve(corpus, parts, &mut roles),
        DesignName::Web => web::reserve(corpus, parts, design, &mut roles),
    }
    roles
}

/// Train concepts for which `keep` holds, in the split's order.
fn train_concepts(corpus: &Corpus, parts: &[Part], keep: impl Fn(usize) -> bool) -> Vec<usize> {
    let mut train: Vec<usize> = (0..parts.len())
        .filter(|c| parts[*c] == Part::Train && keep(*c))
        .collect();
    train.sort_by_key(|c| key(&corpus.concepts()[*c].id));
    train
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(corpus: &Corpus) -> Split {
        Split::new(corpus, &Design::categories(Subset::Extended))
    }

    fn counts(corpus: &Corpus) -> ([usize; 3], [usize; 3]) {
        let split = split(corpus);
        let part = |p| {
            (0..corpus.concepts().len())
                .filter(|c| split.part(*c) == p)
                .count()
        };
        let role = |r| split.drawings(r, |_| true).len();
        (
            [
                part(Part::Train),
                part(Part::Validation),
                part(Part::HeldOut),
            ],
            [role(Role::Train), role(Role::Validation), role(Role::Test)],
        )
    }

    #[test]
    fn shares_are_as_documented() {
        let core = counts(&Corpus::builtin(Subset::Core).unwrap());
        let full = counts(&Corpus::builtin(Subset::Extended).unwrap());
        // 64 concepts: 46 train, of which 11 reserved and 7 tuning.
        assert_eq!(
            core,
            (
                [46, 8, 10],
                [2 * 46 - 11 - 7, 8 * 5 + 7 * 4, 10 * 5 + 11 * 4 + 28 * 3]
            )
        );
        assert_eq!(full.0.iter().sum::<usize>(), 160);
        assert!((110..=120).contains(&full.0[0]), "{full:?}");
    }

    #[test]
    fn families_stay_together_and_no_concept_is_in_both_evaluations() {
        let corpus = Corpus::builtin(Subset::Extended).unwrap();
        let split = split(&corpus);
        let mut family: HashMap<&str, Part> = HashMap::new();
        for (index, concept) in corpus.concepts().iter().enumerate() {
            assert_eq!(
                *family.entry(&concept.family).or_insert(split.part(index)),
                split.part(index)
            );
            let roles: Vec<Role> = corpus
                .drawings_of(index)
                .iter()
                .map(|d| split.role(*d))
                .collect();
            assert!(
                !(roles.contains(&Role::Validation) && roles.contains(&Role::Test)),
                "{}",
                concept.noun
            );
            for drawing in corpus.drawings_of(index) {
                if split.role(*drawing) == Role::Train {
                    let style = corpus.drawings()[*drawing].style;
                    let design = Design::categories(Subset::Extended);
                    assert_eq!(design.casting(style), Casting::Captioned);
                    assert_eq!(split.part(index), Part::Train);
                }
            }
            assert_eq!(
                roles.contains(&Role::Train),
                split.part(index) == Part::Train
            );
        }
    }

    #[test]
    fn core_and_full_corpus_agree() {
        let full = Corpus::builtin(Subset::Extended).unwrap();
        let core = full.subset(Subset::Core);
        let (of_full, of_core) = (split(&full), split(&core));
        for (index, drawing) in core.drawings().iter().enumerate() {
            assert_eq!(
                of_core.role(index),
                of_full.role(full.drawing(&drawing.id).unwrap()),
                "{}",
                drawing.id
            );
        }
    }
}
