//! A conversation with a model: turns so far, and the pictures in them.

use burn::tensor::Tensor;
use deem_data::text::Turn;
use deem_engine::generate::{Answer, TextOptions, generate_text_streaming};

use crate::model::check_text;
use crate::{Error, Model, Picture};

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
    turns: Vec<Turn>,
    pixels: Option<Tensor<4>>,
    pending: usize,
}

impl<'a> Conversation<'a> {
    pub(crate) fn new(model: &'a Model) -> Self {
        Self {
            model,
            turns: Vec::new(),
            pixels: None,
            pending: 0,
        }
    }

    /// Turns so far.
    pub fn turns(&self) -> usize {
        self.turns.len()
    }

    /// Shows a picture in front of what is said next.
    ///
    /// # Errors
    /// `NotLoaded` if the model was opened for text alone, `Engine` for a picture without pixels.
    pub fn show(&mut self, picture: &Picture) -> Result<(), Error> {
        self.model.for_answers("showing a picture")?;
        let view = self.model.seen(std::slice::from_ref(picture.pixels()))?;
        self.pixels = Some(match self.pixels.take() {
            Some(before) => Tensor::cat(vec![before, view], 0),
            None => view,
        });
        self.pending += 1;
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
        check_text(options)?;
        self.turns.push(Turn {
            images: self.pending,
            question: text.to_owned(),
            answer: None,
        });
        match self.answer(options, on_piece) {
            Ok(answer) => {
                self.pending = 0;
                if let Some(turn) = self.turns.last_mut() {
                    turn.answer = Some(answer.clone());
                }
                Ok(answer)
            }
            Err(error) => {
                self.turns.pop();
                Err(error)
            }
        }
    }

    /// The answer to the last turn.
    fn answer(
        &self,
        options: &TextOptions,
        on_piece: &mut dyn FnMut(&str),
    ) -> Result<String, Error> {
        let (network, tokenizer) = (self.model.network(), self.model.tokenizer());
        let tokens = tokenizer.conversation(&self.turns, network.queries())?;
        let limit = self.model.spec().model.llama.max_position_embeddings;
        if tokens.len() + options.max_new_tokens > limit {
            return Err(Error::TooLong {
                tokens: tokens.len(),
                answer: options.max_new_tokens,
                limit,
            });
        }
        let tokens: Vec<i64> = tokens.into_iter().map(i64::from).collect();
        let pixels = self.pixels.clone();
        let encoded = pixels.map(|pixels| network.encode_images(pixels, None));
        let words = |answer: &Answer| {
            let soi = tokenizer.special().soi;
            let words = answer.tokens.iter().copied().filter(|token| *token != soi);
            tokenizer.decode(&words.collect::<Vec<u32>>())
        };
        let mut told = String::new();
        let mut tell = |answers: &[Answer]| {
            // A character may take several tokens, and is not one before the last.
            let now = answers.first().and_then(|answer| words(answer).ok());
            let now = now.filter(|now| !now.ends_with(char::REPLACEMENT_CHARACTER));
            let fresh = now
                .as_ref()
                .and_then(|now| now.trim_start().strip_prefix(&told));
            if let Some(fresh) = fresh.filter(|fresh| !fresh.is_empty()) {
                on_piece(fresh);
                told.push_str(fresh);
            }
        };
        let prompt = network.layout(&tokens, 1);
        let ends = Some(tokenizer);
        let encoded = encoded.as_ref();
        let answers = generate_text_streaming(network, ends, &prompt, encoded, options, &mut tell);
        Ok(words(&answers[0])?.trim().to_owned())
    }
}
