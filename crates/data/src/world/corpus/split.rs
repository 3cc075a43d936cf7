//! Which drawing may be used for what: the only place that decides it.
//!
//! The split is by concept family, deterministic, and computed for the core concepts first, so that
//! the core corpus and the full corpus agree on the part of every concept they share. Concepts fall in three parts:
//!
//! | part | share | drawings |
//! |---|---|---|
//! | held-out | 15 % | Test in every style |
//! | validation | 12 % | Validation in every style |
//! | train | the rest | Train, but for what [`reserve`] keeps back |
//!
//! No concept has both Validation and Test drawings.

mod reserve;

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use super::{Corpus, DrawingIndex, Subset};
use crate::dice::hash;
use crate::world::design::{Casting, Design};

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
    reserve::reserve(corpus, parts, design, &mut roles);
    roles
}

/// Train concepts in the split's order.
fn train_concepts(corpus: &Corpus, parts: &[Part]) -> Vec<usize> {
    let mut train: Vec<usize> = (0..parts.len())
        .filter(|c| parts[*c] == Part::Train)
        .collect();
    train.sort_by_key(|c| key(&corpus.concepts()[*c].id));
    train
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(corpus: &Corpus) -> Split {
        Split::new(corpus, &Design::default())
    }

    #[test]
    fn shares_are_as_documented() {
        for (subset, concepts) in [(Subset::Core, 64), (Subset::Extended, 160)] {
            let corpus = Corpus::builtin(subset).unwrap();
            let split = split(&corpus);
            let share = |part| {
                let of_part = (0..concepts).filter(|c| split.part(*c) == part).count();
                of_part as f64 / concepts as f64
            };
            assert_eq!(corpus.concepts().len(), concepts);
            for (part, wanted) in [(Part::HeldOut, HELD_OUT), (Part::Validation, VALIDATION)] {
                assert!(
                    (share(part) - wanted).abs() < 0.02,
                    "{part:?} {}",
                    share(part)
                );
            }
        }
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
                    assert_ne!(Design::default().casting(style), Casting::NeverSeen);
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
    fn parts_do_not_depend_on_how_many_concepts_there_are() {
        let full = Corpus::builtin(Subset::Extended).unwrap();
        let core = full.subset(Subset::Core);
        let (of_full, of_core) = (split(&full), split(&core));
        for (index, concept) in core.concepts().iter().enumerate() {
            let same = full.concept_of_noun(&concept.noun).unwrap();
            assert_eq!(of_core.part(index), of_full.part(same), "{}", concept.noun);
        }
    }
}
