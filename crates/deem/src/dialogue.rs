//! What was said so far, in words and pictures.

use deem_data::text::{Said, Turn};

use crate::Picture;

/// A conversation as a value: everything a model needs to know to answer its last question.
///
/// ```
/// # fn main() -> Result<(), deem::Error> {
/// use deem::{Dialogue, Exchange, Open, Picture, TextOptions};
///
/// let model = Open::preset("tiny").purpose(deem::Purpose::Answers).load()?;
/// let mut exchange = Exchange::question("What is this?");
/// exchange.pictures.push(Picture::new("black", image::RgbImage::new(96, 96)));
/// let dialogue = Dialogue { system: None, turns: vec![exchange] };
/// let answer = model.answer(&dialogue, &TextOptions::longest(4), &mut |_| {})?;
/// assert!(!answer.is_empty());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Dialogue {
    /// Instructions before everything else, instead of the usual line.
    pub system: Option<String>,
    /// Questions with their answers; the last one's is to be found.
    pub turns: Vec<Exchange>,
}

/// A question and its answer.
#[derive(Clone, Debug, Default)]
pub struct Exchange {
    /// Shown before the question.
    pub pictures: Vec<Picture>,
    /// The question.
    pub question: String,
    /// The answer, if it has been given.
    pub answer: Option<Vec<Piece>>,
}

/// A part of an answer.
#[derive(Clone, Debug)]
pub enum Piece {
    /// Words.
    Text(String),
    /// A picture that the model drew.
    Picture(Picture),
}

impl Exchange {
    /// A question that has no answer yet.
    pub fn question(text: impl Into<String>) -> Self {
        Self {
            question: text.into(),
            ..Self::default()
        }
    }
}

impl Dialogue {
    /// All pictures in the order in which the model sees them.
    pub fn pictures(&self) -> impl Iterator<Item = &Picture> {
        self.turns.iter().flat_map(|turn| {
            let drawn = turn
                .answer
                .iter()
                .flatten()
                .filter_map(|piece| match piece {
                    Piece::Picture(picture) => Some(picture),
                    Piece::Text(_) => None,
                });
            turn.pictures.iter().chain(drawn)
        })
    }

    /// The words, and where the pictures stand among them.
    pub(crate) fn script(&self) -> Vec<Turn> {
        let said = |piece: &Piece| match piece {
            Piece::Text(text) => Said::Text(text.clone()),
            Piece::Picture(_) => Said::Picture,
        };
        let turn = |turn: &Exchange| Turn {
            images: turn.pictures.len(),
            region: turn.pictures.iter().any(Picture::has_region),
            question: turn.question.clone(),
            answer: turn
                .answer
                .as_ref()
                .map(|pieces| pieces.iter().map(said).collect()),
        };
        self.turns.iter().map(turn).collect()
    }
}
