//! Concepts, drawings and the corpus that holds them.

use std::collections::HashMap;

use image::RgbaImage;
use serde::{Deserialize, Serialize};

use crate::DataError;

/// Position of a drawing in [`Corpus::drawings`].
pub type DrawingIndex = usize;

/// Who drew it. What a style is for, training or evaluation, the [design](crate::world::Design) says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Style {
    /// Noto Color Emoji (Google).
    Noto,
    /// Twemoji (Twitter).
    Twemoji,
    /// Fluent Emoji, rendered in 3D (Microsoft).
    #[serde(rename = "fluent-3d")]
    Fluent3d,
    /// Fluent Emoji, flat.
    FluentFlat,
    /// Fluent Emoji, black lines.
    FluentHighContrast,
    /// Noto Emoji before its redesign of 2017 (Google); some concepts only.
    NotoBlob,
    /// EmojiOne 2; some concepts only.
    Emojione,
    /// Firefox OS Emoji (Mozilla); some concepts only.
    Fxemoji,
    /// OpenMoji in colour; fetched by the user, not shipped.
    OpenmojiColor,
    /// OpenMoji, black lines; fetched by the user, not shipped.
    OpenmojiBlack,
}

impl Style {
    /// The built-in styles that have every concept.
    pub const COMPLETE: [Self; 5] = [
        Self::Noto,
        Self::Twemoji,
        Self::Fluent3d,
        Self::FluentFlat,
        Self::FluentHighContrast,
    ];

    /// Name in file names and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Noto => "noto",
            Self::Twemoji => "twemoji",
            Self::Fluent3d => "fluent-3d",
            Self::FluentFlat => "fluent-flat",
            Self::FluentHighContrast => "fluent-high-contrast",
            Self::NotoBlob => "noto-blob",
            Self::Emojione => "emojione",
            Self::Fxemoji => "fxemoji",
            Self::OpenmojiColor => "openmoji-color",
            Self::OpenmojiBlack => "openmoji-black",
        }
    }
}

/// Which concepts a preset uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
pub enum Subset {
    /// The 64 most distinct and orientable concepts: the laptop presets.
    #[default]
    Core,
    /// The others; as a request: all concepts.
    Extended,
}

/// One thing that can be drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct Concept {
    /// Unicode code point in lower-case hexadecimal, for example `1f408`.
    pub id: String,
    /// Noun used in captions and questions: one lower-case word.
    pub noun: String,
    /// Plural of the noun.
    pub plural: String,
    /// Label given by Unicode.
    pub label: String,
    /// Kind of thing: animal, plant, food, vehicle, place, object.
    pub kind: String,
    /// Near-duplicates share a family; the split never separates a family.
    pub family: String,
    /// Subset the concept belongs to.
    pub subset: Subset,
    /// Whether "upside down" is well defined for it in every style.
    pub orientable: bool,
    /// Human-written synonyms and associations.
    pub tags: Vec<String>,
    /// Unicode group.
    pub group: String,
    /// Unicode subgroup.
    pub subgroup: String,
}

/// One picture of a concept.
#[derive(Clone, Debug)]
pub struct Drawing {
    /// `<codepoint>.<style>`.
    pub id: String,
    /// Position in [`Corpus::concepts`].
    pub concept: usize,
    /// Who drew it.
    pub style: Style,
    /// Pixels with straight alpha, 64x64 in the built-in corpus.
    pub image: RgbaImage,
}

/// All concepts and drawings of a preset.
#[derive(Clone, Debug, Default)]
pub struct Corpus {
    concepts: Vec<Concept>,
    drawings: Vec<Drawing>,
    by_id: HashMap<String, DrawingIndex>,
    by_noun: HashMap<String, usize>,
    of_concept: Vec<Vec<DrawingIndex>>,
}

impl Corpus {
    /// A corpus of these concepts and drawings.
    ///
    /// # Errors
    /// `Malformed` if a drawing's concept does not exist or a drawing or a noun occurs twice.
    pub fn new(concepts: Vec<Concept>, drawings: Vec<Drawing>) -> Result<Self, DataError> {
        let mut corpus = Self {
            of_concept: vec![Vec::new(); concepts.len()],
            ..Self::default()
        };
        for (index, concept) in concepts.iter().enumerate() {
            if corpus.by_noun.insert(concept.noun.clone(), index).is_some() {
                return Err(DataError::malformed(
                    "corpus",
                    &concept.id,
                    "a noun of its own",
                    &concept.noun,
                ));
            }
        }
        for (index, drawing) in drawings.iter().enumerate() {
            let Some(list) = corpus.of_concept.get_mut(drawing.concept) else {
                return Err(DataError::malformed(
                    "corpus",
                    &drawing.id,
                    "a known concept",
                    drawing.concept.to_string(),
                ));
            };
            list.push(index);
            if corpus.by_id.insert(drawing.id.clone(), index).is_some() {
                return Err(DataError::malformed(
                    "corpus",
                    &drawing.id,
                    "one record",
                    "two",
                ));
            }
        }
        corpus.concepts = concepts;
        corpus.drawings = drawings;
        Ok(corpus)
    }

    /// The concepts, in file order.
    pub fn concepts(&self) -> &[Concept] {
        &self.concepts
    }

    /// The drawings, by style and then in file order.
    pub fn drawings(&self) -> &[Drawing] {
        &self.drawings
    }

    /// Drawings of one concept; empty for an unknown one.
    pub fn drawings_of(&self, concept: usize) -> &[DrawingIndex] {
        self.of_concept.get(concept).map_or(&[], Vec::as_slice)
    }

    /// Index of the drawing with this id.
    ///
    /// # Errors
    /// `Unknown` if there is none.
    pub fn drawing(&self, id: &str) -> Result<DrawingIndex, DataError> {
        self.by_id
            .get(id)
            .copied()
            .ok_or_else(|| DataError::Unknown {
                what: "drawing",
                name: id.to_owned(),
                available: self.drawings.len(),
            })
    }

    /// Index of the concept with this noun (singular).
    pub fn concept_of_noun(&self, noun: &str) -> Option<usize> {
        self.by_noun.get(noun).copied()
    }

    /// Only the concepts of a subset (`Extended` keeps all).
    pub fn subset(&self, subset: Subset) -> Self {
        let keep: Vec<usize> = (0..self.concepts.len())
            .filter(|i| subset == Subset::Extended || self.concepts[*i].subset == Subset::Core)
            .collect();
        let position: HashMap<usize, usize> = keep
            .iter()
            .enumerate()
            .map(|(new, old)| (*old, new))
            .collect();
        let concepts: Vec<Concept> = keep.iter().map(|i| self.concepts[*i].clone()).collect();
        let mut corpus = Self {
            of_concept: vec![Vec::new(); concepts.len()],
            ..Self::default()
        };
        for drawing in &self.drawings {
            if let Some(concept) = position.get(&drawing.concept) {
                let index = corpus.drawings.len();
                corpus.of_concept[*concept].push(index);
                corpus.by_id.insert(drawing.id.clone(), index);
                corpus.drawings.push(Drawing {
                    concept: *concept,
                    ..drawing.clone()
                });
            }
        }
        corpus.by_noun = concepts
            .iter()
            .enumerate()
            .map(|(i, c)| (c.noun.clone(), i))
            .collect();
        corpus.concepts = concepts;
        corpus
    }
}
