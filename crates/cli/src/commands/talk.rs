//! A conversation with a model: turns so far, and the pictures in them.

use std::io::Write;

use anyhow::{Result, bail};
use burn::tensor::Tensor;
use deem_data::SampleImage;
use deem_data::text::Turn;
use deem_engine::generate::{Answer, Sampling, TextOptions, generate_text_streaming};

use super::session::Session;

/// A conversation.
pub struct Talk<'a> {
    session: &'a Session,
    turns: Vec<Turn>,
    pixels: Option<Tensor<4>>,
    pending: usize,
}

impl<'a> Talk<'a> {
    /// One that begins.
    pub fn new(session: &'a Session) -> Self {
        Self {
            session,
            turns: Vec::new(),
            pixels: None,
            pending: 0,
        }
    }

    /// Adds a picture in front of what is said next.
    pub fn show(&mut self, picture: &SampleImage) -> Result<()> {
        let side = self.session.preset.model.image_size;
        let view = self.session.view(picture, side)?;
        self.pixels = Some(match self.pixels.take() {
            Some(before) => Tensor::cat(vec![before, view], 0),
            None => view,
        });
        self.pending += 1;
        Ok(())
    }

    /// The model's answer; `heard` gets its pieces as they come.
    ///
    /// # Errors
    /// A conversation longer than the model can read; the turn is then forgotten.
    pub fn say(
        &mut self,
        text: &str,
        options: &TextOptions,
        heard: &mut dyn FnMut(&str),
    ) -> Result<String> {
        let Session {
            model,
            tokenizer,
            preset,
            ..
        } = self.session;
        self.turns.push(Turn {
            images: self.pending,
            question: text.to_owned(),
            answer: None,
        });
        let tokens = tokenizer.conversation(&self.turns, model.queries())?;
        let limit = preset.model.llama.max_position_embeddings;
        if tokens.len() + options.max_new_tokens > limit {
            self.turns.pop();
            bail!(
                "the conversation has {} tokens and the answer up to {}, the language model reads {limit}; start \
                 over, or ask for less",
                tokens.len(),
                options.max_new_tokens
            );
        }
        self.pending = 0;
        let tokens: Vec<i64> = tokens.into_iter().map(i64::from).collect();
        let encoded = self.pixels.clone().map(|p| model.encode_images(p, None));
        let words = |answer: &Answer| {
            let soi = tokenizer.special().soi;
            let words: Vec<u32> = answer
                .tokens
                .iter()
                .copied()
                .filter(|t| *t != soi)
                .collect();
            tokenizer.decode(&words)
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
                heard(fresh);
                told.push_str(fresh);
            }
        };
        let prompt = model.layout(&tokens, 1);
        let answers = generate_text_streaming(model, &prompt, encoded.as_ref(), options, &mut tell);
        let answer = words(&answers[0])?.trim().to_owned();
        if let Some(turn) = self.turns.last_mut() {
            turn.answer = Some(answer.clone());
        }
        Ok(answer)
    }

    /// As [`Self::say`], to standard output while it comes.
    pub fn say_aloud(&mut self, text: &str, options: &TextOptions) -> Result<()> {
        let mut told = String::new();
        let answer = self.say(text, options, &mut |piece| {
            print!("{piece}");
            // Whoever does not listen loses nothing but this.
            let _ = std::io::stdout().flush();
            told.push_str(piece);
        })?;
        match answer.strip_prefix(told.trim_end()) {
            Some(rest) => println!("{rest}"),
            None => println!("\n{answer}"),
        }
        Ok(())
    }
}

/// Options of an answer of at most this many tokens.
pub fn text_options(max_new_tokens: usize, beams: usize) -> TextOptions {
    TextOptions {
        max_new_tokens,
        min_new_tokens: 1,
        beams,
        sampling: Sampling::Greedy,
    }
}
