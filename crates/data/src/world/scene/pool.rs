//! The drawings that scenes are composed of, with how often each concept is drawn and beside what.

use crate::dice::hash;
use crate::world::corpus::{Corpus, DrawingIndex};

/// The drawings a sampler may use. Concepts have unequal weights and usual companions, so that
/// "popular" and "co-occurring" mean something.
#[derive(Clone, Debug, Default)]
pub struct Pool {
    concepts: Vec<usize>,
    drawings: Vec<Vec<DrawingIndex>>,
    weights: Vec<f32>,
    companions: Vec<Vec<usize>>,
}

const COMPANIONS: usize = 4;

/// Usual companions of each concept: its neighbours on a ring of all concepts in hash order. They do
/// not depend on the pool, so that evaluation scenes have the companions that training scenes had.
fn companions(corpus: &Corpus) -> Vec<Vec<usize>> {
    let concepts = corpus.concepts();
    let mut ring: Vec<usize> = (0..concepts.len()).collect();
    ring.sort_by_key(|c| hash(format!("companion {}", concepts[*c].id).as_bytes()));
    let mut result = vec![Vec::new(); concepts.len()];
    for (rank, concept) in ring.iter().enumerate() {
        result[*concept] = (1..ring.len())
            .map(|step| ring[(rank + step) % ring.len()])
            .filter(|c| concepts[*c].family != concepts[*concept].family)
            .take(COMPANIONS)
            .collect();
    }
    result
}

impl Pool {
    /// A pool of these drawings.
    pub fn new(corpus: &Corpus, drawings: &[DrawingIndex]) -> Self {
        let mut pool = Self::default();
        for concept in 0..corpus.concepts().len() {
            let own: Vec<DrawingIndex> = corpus
                .drawings_of(concept)
                .iter()
                .copied()
                .filter(|d| drawings.contains(d))
                .collect();
            if !own.is_empty() {
                pool.concepts.push(concept);
                pool.drawings.push(own);
                let draw =
                    hash(format!("popularity {}", corpus.concepts()[concept].id).as_bytes()) >> 40;
                pool.weights
                    .push(1.0 + 2.0 * (draw as f32 / (1u64 << 24) as f32).powi(2));
            }
        }
        pool.companions = companions(corpus);
        pool
    }

    /// The part of the pool that is of these concepts.
    pub fn only(&self, concepts: &[usize]) -> Self {
        let mut pool = Self {
            companions: self.companions.clone(),
            ..Self::default()
        };
        let all = self.concepts.iter().zip(&self.drawings).zip(&self.weights);
        for ((concept, drawings), weight) in all.filter(|((c, _), _)| concepts.contains(c)) {
            pool.concepts.push(*concept);
            pool.drawings.push(drawings.clone());
            pool.weights.push(*weight);
        }
        pool
    }

    /// Concepts with at least one drawing.
    pub fn concepts(&self) -> &[usize] {
        &self.concepts
    }

    /// Drawings of a concept in this pool.
    pub fn drawings_of(&self, concept: usize) -> &[DrawingIndex] {
        self.slot(concept)
            .map_or(&[], |i| self.drawings[i].as_slice())
    }

    /// How often a concept is drawn, relative to the others; 0 if it is not in the pool.
    pub fn weight(&self, concept: usize) -> f32 {
        self.slot(concept).map_or(0.0, |i| self.weights[i])
    }

    /// Concepts of the pool that often occur together with this one.
    pub fn companions_of(&self, concept: usize) -> Vec<usize> {
        let own = self.companions.get(concept).map_or(&[][..], Vec::as_slice);
        own.iter()
            .copied()
            .filter(|c| self.slot(*c).is_some())
            .collect()
    }

    fn slot(&self, concept: usize) -> Option<usize> {
        self.concepts.binary_search(&concept).ok()
    }
}
