//! What an encoder alone chooses among, where all questions of a part share it.

use super::Picture;

/// The things to choose among.
#[derive(Clone, Debug)]
pub enum Candidates {
    /// Texts, of which a picture is nearest to one.
    Texts(Vec<CandidateText>),
    /// Pictures, of which one is nearest to a text.
    Pictures(Vec<CandidatePicture>),
}

/// Something that texts stand for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CandidateText {
    /// Its name, which right answers refer to; unique.
    pub name: String,
    /// Its wordings, whose embeddings are averaged.
    pub wordings: Vec<String>,
}

/// A picture.
#[derive(Clone, Debug)]
pub struct CandidatePicture {
    /// Its name, which right answers refer to; unique.
    pub name: String,
    /// The picture.
    pub picture: Picture,
}

impl Candidates {
    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Texts(texts) => texts.len(),
            Self::Pictures(pictures) => pictures.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Their names, in order.
    pub fn names(&self) -> Vec<&str> {
        match self {
            Self::Texts(texts) => texts.iter().map(|text| text.name.as_str()).collect(),
            Self::Pictures(pictures) => pictures
                .iter()
                .map(|picture| picture.name.as_str())
                .collect(),
        }
    }
}
