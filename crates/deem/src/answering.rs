//! Answers that grow side by side: what a server does for many people at once.

use deem_data::text::GrowingText;
use deem_engine::generate::{
    Continuation, End, Ending, ImageOptions, Reading, Sampling, TextOptions, Together, Watch,
    log_softmax,
};
use deem_model::deem::EncodedImages;
use image::RgbImage;

use crate::{Dialogue, Error, Model, Picture};

/// How an answer is chosen.
#[derive(Clone, Debug, PartialEq)]
pub struct AnswerOptions {
    /// Tokens at most; absent: as many as the model's length leaves, up to `ceiling`.
    pub max_tokens: Option<usize>,
    /// Tokens at most where nobody set a length.
    pub ceiling: usize,
    /// Tokens before which no answer ends; usually 1.
    pub min_tokens: usize,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Texts that end an answer and are not part of it.
    pub stop: Vec<String>,
    /// How many of the most probable tokens are told with each token; absent: not even its own probability.
    pub top: Option<usize>,
}

/// A token of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenSaid {
    /// Its text alone; a character that takes several tokens is a replacement character in each.
    pub text: String,
    /// Its log-probability in nats.
    pub log_probability: f64,
    /// The most probable tokens in its place, with theirs.
    pub top: Vec<(String, f64)>,
}

/// What a token brought.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Said {
    /// Text that the answer goes on with; empty while a character, or perhaps a stop text, is not complete.
    pub text: String,
    /// The tokens of it that were not told before, if they were asked for.
    pub tokens: Vec<TokenSaid>,
    /// Whether the answer is over, and why.
    pub end: Option<End>,
}

/// An answer that grows. A copy shares what has been read of the prompt.
#[derive(Clone, Debug)]
pub struct Answering {
    reading: Reading,
    prompt: usize,
    continuation: Continuation,
    options: AnswerOptions,
    /// Whether white space at the beginning is left out, as everywhere but in a text that is continued.
    trims: bool,
    /// Text of this part so far.
    text: GrowingText,
    /// As much of it as was told.
    told: String,
    pending: Vec<TokenSaid>,
    logits: Option<Vec<f32>>,
}

impl Answering {
    /// Tokens of its prompt.
    pub fn prompt_tokens(&self) -> usize {
        self.prompt
    }

    /// Tokens it has said.
    pub fn tokens(&self) -> usize {
        self.continuation.steps()
    }

    /// Tokens that are to be read before the next can be said; 1 where only the last is.
    pub fn unread(&self) -> usize {
        self.reading.unread()
    }

    /// What it reads.
    pub fn reading(&self) -> &Reading {
        &self.reading
    }

    /// Takes over what another has read of the first `positions` tokens, which are the same here.
    pub fn take_over(&mut self, read: &Reading, positions: usize) {
        // The last token is read again: its logits choose the next.
        let positions = positions.min(self.reading.len() - 1);
        self.reading.take_over(read, positions);
    }

    /// Reads on in the prompt, `most` tokens at most; whether it has been read.
    pub fn read(&mut self, model: &Model, most: usize) -> bool {
        if self.logits.is_none() {
            self.logits = self.reading.read(model.network(), most);
        }
        self.logits.is_some()
    }

    /// Another answer to the same prompt, which has been read.
    pub fn again(&self, sampling: Sampling) -> Self {
        let mut other = self.clone();
        other.options.sampling = sampling;
        other.continuation = self.continuation.again(sampling);
        other
    }

    /// Says the next token, after everything before it was read.
    ///
    /// # Errors
    /// `Data` if the tokenizer cannot decode.
    ///
    /// # Panics
    /// If something is unread.
    pub fn begin(&mut self, model: &Model) -> Result<Said, Error> {
        let logits = self.logits.take().expect("a prompt that was read");
        self.say(model, &logits)
    }

    /// Shows it the picture that it wanted to draw; it is to be read like a prompt then.
    ///
    /// # Errors
    /// As [`Model::encode`].
    pub fn show(&mut self, model: &Model, picture: &RgbImage) -> Result<(), Error> {
        let encoded = model.encode(&Picture::new("drawn", picture.clone()))?;
        self.reading.show(model.network(), &encoded);
        self.continuation.resume();
        self.text = GrowingText::default();
        self.told.clear();
        self.logits = None;
        Ok(())
    }

    /// Draws the picture that it wants to draw.
    ///
    /// # Errors
    /// `NotLoaded` if the model was opened for less, `Engine` if the sampler refuses the options or `watch` stopped it.
    pub fn draw(
        &self,
        model: &Model,
        options: &ImageOptions,
        watch: Watch,
    ) -> Result<RgbImage, Error> {
        let mut tokens = self.reading.tokens();
        tokens.push(model.network().tokens().soi);
        model.draw_after(&tokens, self.reading.encoded(), options, watch)
    }

    /// Whether a picture and its end fit into the model's length.
    pub fn has_room(&self, model: &Model) -> bool {
        let limit = model.spec().model.llama.max_position_embeddings;
        self.reading.len() + model.network().queries() + 2 <= limit
    }

    fn say(&mut self, model: &Model, logits: &[f32]) -> Result<Said, Error> {
        let ends = Ending::new(model.network(), Some(model.tokenizer()));
        let (token, end) = self.continuation.choose(&ends, logits);
        let said = self.continuation.tokens().last() == Some(&token) && end != Some(End::Picture);
        if said && let Some(top) = self.options.top {
            self.pending.push(told(model, logits, token, top)?);
        }
        if end.is_none() {
            self.reading.push(model.network(), token);
        }
        self.tell(model, end)
    }

    /// What can be told now.
    fn tell(&mut self, model: &Model, end: Option<End>) -> Result<Said, Error> {
        let tokens = self.continuation.tokens();
        let now = self.text.of(model.tokenizer(), tokens)?.to_owned();
        let now = if self.trims { now.trim_start() } else { &now };
        let stopped = self
            .options
            .stop
            .iter()
            .filter_map(|stop| now.find(stop))
            .min();
        let (until, end) = match stopped {
            Some(at) => (at, Some(End::Stop)),
            None if end.is_some() => (now.len(), end),
            None => (self.certain(now), None),
        };
        let fresh = now[..until].strip_prefix(&self.told).unwrap_or_default();
        let text = match end {
            Some(End::Stop | End::Length) if self.trims => fresh.trim_end().to_owned(),
            _ => fresh.to_owned(),
        };
        self.told.push_str(&text);
        let tokens = if text.is_empty() && end.is_none() {
            Vec::new()
        } else {
            std::mem::take(&mut self.pending)
        };
        Ok(Said { text, tokens, end })
    }

    /// How much of a text will stay: a character may take several tokens, and what looks like the beginning of a stop
    /// text, or of the white space at the end, may be one.
    fn certain(&self, now: &str) -> usize {
        if now.ends_with(char::REPLACEMENT_CHARACTER) {
            return self.told.len().min(now.len());
        }
        let trimmed = if self.trims {
            now.trim_end().len()
        } else {
            now.len()
        };
        let beginning = |stop: &String| {
            let ends = (1..stop.len())
                .rev()
                .filter(|length| stop.is_char_boundary(*length));
            ends.map(|length| &stop[..length])
                .find(|begun| now.ends_with(begun))
                .map(str::len)
        };
        let held = self.options.stop.iter().filter_map(beginning).max();
        trimmed
            .min(now.len() - held.unwrap_or(0))
            .max(self.told.len())
    }
}

fn told(model: &Model, logits: &[f32], token: u32, top: usize) -> Result<TokenSaid, Error> {
    let log_probabilities = log_softmax(logits);
    let text = |token: u32| model.tokenizer().decode(&[token]);
    let mut order: Vec<u32> = (0..logits.len() as u32).collect();
    let better = |a: &u32, b: &u32| {
        let of = |token: &u32| log_probabilities[*token as usize];
        of(b).total_cmp(&of(a)).then(a.cmp(b))
    };
    let top = top.min(order.len());
    if top > 0 && top < order.len() {
        order.select_nth_unstable_by(top - 1, better);
    }
    order.truncate(top);
    order.sort_by(better);
    let likely = |token: u32| Ok((text(token)?, log_probabilities[token as usize]));
    let top: Result<Vec<_>, Error> = order.into_iter().map(likely).collect();
    Ok(TokenSaid {
        text: text(token)?,
        log_probability: log_probabilities[token as usize],
        top: top?,
    })
}

fn continuation(options: &AnswerOptions, prompt: usize, limit: usize) -> Continuation {
    let left = limit.saturating_sub(prompt);
    let most = options.max_tokens.unwrap_or(options.ceiling).min(left);
    let options = TextOptions {
        min_new_tokens: options.min_tokens,
        sampling: options.sampling,
        ..TextOptions::longest(most)
    };
    Continuation::new(options, 0)
}

/// Says the next token of several answers in one pass over the model.
#[derive(Debug, Default)]
pub struct Chorus(Together);

impl Chorus {
    /// What each says, or that the tokenizer cannot decode it; that does not depend on the others.
    ///
    /// # Panics
    /// If one has not exactly one unread token.
    pub fn step(
        &mut self,
        model: &Model,
        answering: &mut [&mut Answering],
    ) -> Vec<Result<Said, Error>> {
        let readings = answering.iter_mut().map(|one| &mut one.reading);
        let logits = self
            .0
            .step(model.network(), &mut readings.collect::<Vec<_>>());
        let each = answering.iter_mut().zip(logits);
        each.map(|(one, logits)| one.say(model, &logits)).collect()
    }
}

impl Model {
    /// An answer that has not begun, to the last question of a conversation.
    ///
    /// - `pictures`: what the encoder understood of its pictures, in their order
    ///
    /// # Errors
    /// `TooLong` if the prompt leaves no room for it, `Data` if the tokenizer refuses it.
    pub fn answering(
        &self,
        dialogue: &Dialogue,
        pictures: Vec<EncodedImages>,
        options: AnswerOptions,
    ) -> Result<Answering, Error> {
        self.growing(self.prompt(dialogue)?, pictures, options, true)
    }

    /// A text that is to be continued as it stands.
    ///
    /// # Errors
    /// As [`Self::answering`].
    pub fn continuing(&self, text: &str, options: AnswerOptions) -> Result<Answering, Error> {
        let words = self.tokenizer().encode(text)?;
        let bos = self.tokenizer().special().bos;
        let tokens = std::iter::once(bos).chain(words).map(i64::from).collect();
        self.growing(tokens, Vec::new(), options, false)
    }

    /// An answer to given tokens, which has not begun.
    ///
    /// - `trims`: whether white space at its beginning and end is left out
    pub(crate) fn growing(
        &self,
        tokens: Vec<i64>,
        pictures: Vec<EncodedImages>,
        options: AnswerOptions,
        trims: bool,
    ) -> Result<Answering, Error> {
        self.check_length(tokens.len(), options.max_tokens.unwrap_or(1).max(1))?;
        let limit = self.spec().model.llama.max_position_embeddings;
        let encoded = EncodedImages::cat(pictures);
        let reading = Reading::new(self.network(), &tokens, encoded);
        let reading = reading.expect("a prompt that was laid out here");
        Ok(Answering {
            continuation: continuation(&options, tokens.len(), limit),
            prompt: tokens.len(),
            reading,
            options,
            trims,
            text: GrowingText::default(),
            told: String::new(),
            pending: Vec::new(),
            logits: None,
        })
    }
}
