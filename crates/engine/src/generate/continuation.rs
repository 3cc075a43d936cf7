//! One answer, token by token: what is chosen, and when it is over.

use deem_data::text::TextTokenizer;
use deem_model::deem::Deem;

use super::TextOptions;
use super::sampling::{Sampling, choose};

/// An answer that grows.
#[derive(Clone, Debug)]
pub struct Continuation {
    options: TextOptions,
    /// Number of its first draw.
    draws: u64,
    steps: usize,
    tokens: Vec<u32>,
}

/// Why an answer is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The model ended it.
    Stop,
    /// It has as many tokens as it may.
    Length,
    /// The model wants to draw: the last token is `<soi>`.
    Picture,
}

impl Continuation {
    /// An answer that has not begun. `draws` numbers its first random decision; each token takes one.
    pub fn new(options: TextOptions, draws: u64) -> Self {
        Self {
            options,
            draws,
            steps: 0,
            tokens: Vec::new(),
        }
    }

    /// Another answer of the same length, which has not begun.
    pub fn again(&self, sampling: Sampling) -> Self {
        let options = TextOptions {
            sampling,
            ..self.options
        };
        Self::new(options, self.draws)
    }

    /// Its tokens, without eos.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Tokens that were chosen, eos and earlier parts of the answer included.
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// Goes on after a picture: what ends an answer is sought in what follows.
    pub fn resume(&mut self) {
        self.tokens.clear();
    }

    /// Chooses the next token by the logits after all before it: the token, which is also the last of
    /// [`Self::tokens`] unless it is eos; and whether the answer is over with it.
    pub fn choose(&mut self, ends: &Ending, logits: &[f32]) -> (u32, Option<End>) {
        let draw = self.draws + self.steps as u64;
        let token = if self.steps < self.options.min_new_tokens {
            let mut logits = logits.to_vec();
            for token in ends.tokens() {
                logits[token as usize] = f32::NEG_INFINITY;
            }
            choose(&logits, self.options.sampling, draw) as u32
        } else {
            choose(logits, self.options.sampling, draw) as u32
        };
        self.steps += 1;
        if i64::from(token) == ends.eos {
            return (token, Some(End::Stop));
        }
        self.tokens.push(token);
        let end = if i64::from(token) == ends.soi {
            Some(End::Picture)
        } else if ends.is_end(token) || ends.ends_text(&self.tokens) {
            Some(End::Stop)
        } else {
            (self.steps >= self.options.max_new_tokens).then_some(End::Length)
        };
        (token, end)
    }
}

/// What ends an answer.
#[derive(Clone, Copy, Debug)]
pub struct Ending<'a> {
    pub(super) eos: i64,
    pub(super) soi: i64,
    tokenizer: Option<&'a TextTokenizer>,
}

impl<'a> Ending<'a> {
    /// - `tokenizer`: says what else than eos [ends](TextTokenizer::ends) an answer
    pub fn new(model: &Deem, tokenizer: Option<&'a TextTokenizer>) -> Self {
        let special = model.tokens();
        Self {
            eos: special.eos,
            soi: special.soi,
            tokenizer,
        }
    }

    /// Tokens that end an answer.
    pub(super) fn tokens(&self) -> impl Iterator<Item = u32> {
        let others = self
            .tokenizer
            .iter()
            .flat_map(|tokenizer| &tokenizer.ends().tokens);
        std::iter::once(self.eos as u32).chain(others.copied())
    }

    pub(super) fn is_end(&self, token: u32) -> bool {
        self.tokens().any(|end| end == token)
    }

    /// Whether an answer is over with its last token.
    pub(super) fn is_last(&self, answer: &[u32]) -> bool {
        let drawn = answer
            .last()
            .is_some_and(|token| i64::from(*token) == self.soi);
        drawn || self.ends_text(answer)
    }

    fn ends_text(&self, answer: &[u32]) -> bool {
        self.tokenizer
            .is_some_and(|tokenizer| tokenizer.ends_with_text(answer))
    }
}
