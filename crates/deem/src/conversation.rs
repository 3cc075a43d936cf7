//! A conversation with a model: turns so far, and the pictures in them.

use deem_engine::generate::TextOptions;

use crate::{Dialogue, Error, Exchange, Model, Picture, Piece};

/// A conversation: pictures are shown, something is said, the model answers, and so on.
///
/// ```
/// # fn main() -> Result<(), deem::Error> {
/// use deem::{Open, Picture, TextOptions};
///
/// let model = Open::preset("tiny").purpose(deem::Purpose::Answers).load()?;
/// let mut conversation = model.converse();
/// conversation.show(&Picture::new("black", image::RgbImage::new(96, 96)))?;
/// let mut pieces = String::new();
/// let answer = conversation.say("What is this?", &TextOptions::longest(4), &mut |piece| {
///     pieces.push_str(piece);
/// })?;
/// assert_eq!(pieces.trim(), answer);
/// conversation.say("And what colour has it?", &TextOptions::longest(2), &mut |_| {})?;
/// assert_eq!(conversation.turns(), 2);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Conversation<'a> {
    model: &'a Model,
    dialogue: Dialogue,
    shown: Vec<Picture>,
}

impl<'a> Conversation<'a> {
    pub(crate) fn new(model: &'a Model) -> Self {
        Self {
            model,
            dialogue: Dialogue::default(),
            shown: Vec::new(),
        }
    }

    /// Turns so far.
    pub fn turns(&self) -> usize {
        self.dialogue.turns.len()
    }

    /// Shows a picture in front of what is said next.
    ///
    /// # Errors
    /// `NotLoaded` if the model was opened for text alone.
    pub fn show(&mut self, picture: &Picture) -> Result<(), Error> {
        self.model.for_answers("showing a picture")?;
        self.shown.push(picture.clone());
        Ok(())
    }

    /// The model's answer; without beam search `on_piece` gets its pieces as they come, which together are the
    /// answer.
    ///
    /// # Errors
    /// `TooLong` if the conversation is longer than the model can read; the turn is then forgotten, as it is
    /// after any other error.
    pub fn say(
        &mut self,
        text: &str,
        options: &TextOptions,
        on_piece: &mut dyn FnMut(&str),
    ) -> Result<String, Error> {
        self.dialogue.turns.push(Exchange {
            pictures: self.shown.clone(),
            ..Exchange::question(text)
        });
        let answer = self.model.answer(&self.dialogue, options, on_piece);
        match &answer {
            Ok(answer) => {
                self.shown.clear();
                if let Some(turn) = self.dialogue.turns.last_mut() {
                    turn.answer = Some(vec![Piece::Text(answer.clone())]);
                }
            }
            Err(_) => {
                self.dialogue.turns.pop();
            }
        }
        answer
    }
}
