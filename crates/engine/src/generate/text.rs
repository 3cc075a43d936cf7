//! Autoregressive text: greedy, nucleus and beam search over a key-value cache.

use burn::tensor::Tensor;
use deem_data::text::TextTokenizer;
use deem_model::deem::{Deem, EncodedImages};
use deem_model::layout::Layout;
use deem_model::llama::{LlamaCache, LlamaImages};
use serde::{Deserialize, Serialize};

use super::sampling::{Sampling, choose, log_softmax};

/// How text is generated.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextOptions {
    /// Tokens generated at most.
    pub max_new_tokens: usize,
    /// Tokens before which no end is accepted.
    #[serde(default)]
    pub min_new_tokens: usize,
    /// Hypotheses kept; 1 is no beam search.
    #[serde(default = "one")]
    pub beams: usize,
    /// Choice of the next token without beam search.
    #[serde(default)]
    pub sampling: Sampling,
}

impl TextOptions {
    /// The most probable words: at least one token, and at most this many.
    pub fn longest(max_new_tokens: usize) -> Self {
        Self {
            max_new_tokens,
            min_new_tokens: 1,
            beams: 1,
            sampling: Sampling::Greedy,
        }
    }
}

fn one() -> usize {
    1
}

/// A generated continuation.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Tokens, without eos.
    pub tokens: Vec<u32>,
    /// Logits of the first generated position over the whole vocabulary.
    pub first_logits: Vec<f32>,
}

/// Continues left-padded prompts.
///
/// Generation of a row stops at eos, at what else ends an answer, or at `<soi>` (which is kept, being the last token:
/// the caller draws the image and goes on).
///
/// - `ends`: the tokenizer that says what else [ends](TextTokenizer::ends) an answer
/// - `encoded`: the images of `prompts`, in its order
///
/// # Panics
/// If a prompt ends in a bare `<soi>`: what follows that is an image, not text.
pub fn generate_text(
    model: &Deem,
    ends: Option<&TextTokenizer>,
    prompts: &Layout,
    encoded: Option<&EncodedImages>,
    options: &TextOptions,
) -> Vec<Answer> {
    generate_text_streaming(model, ends, prompts, encoded, options, &mut |_| {})
}

/// As [`generate_text`]; without beam search `on_step` gets all answers so far after every step.
pub fn generate_text_streaming(
    model: &Deem,
    ends: Option<&TextTokenizer>,
    prompts: &Layout,
    encoded: Option<&EncodedImages>,
    options: &TextOptions,
    on_step: &mut dyn FnMut(&[Answer]),
) -> Vec<Answer> {
    let batch = prompts.batch;
    if options.beams > 1 {
        return (0..batch)
            .map(|row| beam_search(model, ends, prompts, row, encoded, options))
            .collect();
    }
    let ends = Ending::new(model, ends);
    let mut reader = Reader::new(model, prompts.clone(), encoded.cloned());
    let mut answers: Vec<Answer> = Vec::new();
    let mut finished = vec![false; batch];
    for step in 0..options.max_new_tokens {
        let logits = reader.next_logits();
        if step == 0 {
            answers = logits
                .iter()
                .map(|logits| Answer {
                    tokens: Vec::new(),
                    first_logits: logits.clone(),
                })
                .collect();
        }
        let mut column = vec![ends.eos; batch];
        for row in 0..batch {
            if finished[row] {
                continue;
            }
            let mut logits = logits[row].clone();
            if step < options.min_new_tokens {
                for token in ends.tokens() {
                    logits[token as usize] = f32::NEG_INFINITY;
                }
            }
            let token = choose(&logits, options.sampling, (row * 4096 + step) as u64) as u32;
            if i64::from(token) == ends.eos {
                finished[row] = true;
                continue;
            }
            answers[row].tokens.push(token);
            finished[row] = ends.is_end(token) || ends.is_last(&answers[row].tokens);
            if i64::from(token) != ends.soi {
                column[row] = token.into();
            }
        }
        on_step(&answers);
        if finished.iter().all(|f| *f) {
            break;
        }
        reader.push(&column);
    }
    answers
}

/// What ends an answer.
struct Ending<'a> {
    eos: i64,
    soi: i64,
    tokenizer: Option<&'a TextTokenizer>,
}

impl<'a> Ending<'a> {
    fn new(model: &Deem, tokenizer: Option<&'a TextTokenizer>) -> Self {
        let special = model.tokens();
        Self {
            eos: special.eos,
            soi: special.soi,
            tokenizer,
        }
    }

    /// Tokens that end an answer.
    fn tokens(&self) -> impl Iterator<Item = u32> {
        let others = self
            .tokenizer
            .iter()
            .flat_map(|tokenizer| &tokenizer.ends().tokens);
        std::iter::once(self.eos as u32).chain(others.copied())
    }

    fn is_end(&self, token: u32) -> bool {
        self.tokens().any(|end| end == token)
    }

    /// Whether an answer is over with its last token.
    fn is_last(&self, answer: &[u32]) -> bool {
        let drawn = answer
            .last()
            .is_some_and(|token| i64::from(*token) == self.soi);
        drawn
            || self
                .tokenizer
                .is_some_and(|tokenizer| tokenizer.ends_with_text(answer))
    }
}

struct Hypothesis {
    tokens: Vec<u32>,
    score: f64,
    finished: bool,
}

impl Hypothesis {
    /// Mean log-probability per token, eos included.
    fn normalised(&self) -> f64 {
        self.score / (self.tokens.len() + usize::from(self.finished)).max(1) as f64
    }
}

/// Beam search of one row: at each step the best extensions by summed log-probability; the result is
/// the best by mean log-probability (transformers' length penalty 1).
fn beam_search(
    model: &Deem,
    ends: Option<&TextTokenizer>,
    prompts: &Layout,
    row: usize,
    encoded: Option<&EncodedImages>,
    options: &TextOptions,
) -> Answer {
    let ends = Ending::new(model, ends);
    let (prompt, images) = prompts.select(&[row]);
    let own = encoded.filter(|_| !images.is_empty());
    let own = own.map(|encoded| encoded.select(&images));
    let mut reader = Reader::new(model, prompt, own);
    let first = reader.next_logits().remove(0);
    let mut beams = vec![Hypothesis {
        tokens: Vec::new(),
        score: 0.0,
        finished: false,
    }];
    let mut done: Vec<Hypothesis> = Vec::new();
    let mut logits = vec![first.clone()];
    for step in 0..options.max_new_tokens {
        let mut extensions: Vec<(f64, usize, usize)> = Vec::new();
        for (beam, logits) in logits.iter().enumerate() {
            let mut log_probabilities = log_softmax(logits);
            if step < options.min_new_tokens {
                for token in ends.tokens() {
                    log_probabilities[token as usize] = f64::NEG_INFINITY;
                }
            }
            extensions.extend(
                log_probabilities
                    .iter()
                    .enumerate()
                    .map(|(token, p)| (beams[beam].score + p, beam, token)),
            );
        }
        extensions.sort_by(|a, b| b.0.total_cmp(&a.0));
        let mut kept = Vec::new();
        for (score, beam, token) in extensions.into_iter().take(2 * options.beams) {
            let mut tokens = beams[beam].tokens.clone();
            if token as i64 != ends.eos {
                tokens.push(token as u32);
            }
            let finished = ends.is_end(token as u32) || ends.is_last(&tokens);
            let hypothesis = Hypothesis {
                tokens,
                score,
                finished,
            };
            if finished {
                done.push(hypothesis);
            } else if kept.len() < options.beams {
                kept.push((beam, hypothesis));
            }
        }
        let parents: Vec<usize> = kept.iter().map(|(beam, _)| *beam).collect();
        beams = kept.into_iter().map(|(_, hypothesis)| hypothesis).collect();
        if done.len() >= options.beams || step + 1 == options.max_new_tokens {
            break;
        }
        let column = beams
            .iter()
            .map(|b| i64::from(b.tokens[step]))
            .collect::<Vec<_>>();
        reader.select(&parents);
        reader.push(&column);
        logits = reader.next_logits();
    }
    let best = done
        .into_iter()
        .chain(beams)
        .max_by(|a, b| a.normalised().total_cmp(&b.normalised()))
        .expect("at least one beam");
    Answer {
        tokens: best.tokens,
        first_logits: first,
    }
}

/// Rows of equal length that grow at the right, read with a cache.
struct Reader<'a> {
    model: &'a Deem,
    layout: Layout,
    encoded: Option<EncodedImages>,
    images: Option<LlamaImages>,
    cache: LlamaCache,
}

impl<'a> Reader<'a> {
    fn new(model: &'a Deem, layout: Layout, encoded: Option<EncodedImages>) -> Self {
        Self {
            images: model.prepare(&layout, encoded.as_ref()),
            model,
            layout,
            encoded,
            cache: LlamaCache::new(),
        }
    }

    /// Logits after the last position of each row.
    fn next_logits(&mut self) -> Vec<Vec<f32>> {
        let hidden = self.model.read_on(
            &self.layout,
            self.encoded.as_ref(),
            self.images.as_ref(),
            Some(&mut self.cache),
        );
        let [batch, fresh, width] = hidden.dims();
        let last = hidden
            .slice([0..batch, fresh - 1..fresh, 0..width])
            .reshape([batch, width]);
        host_rows(self.model.logits(last))
    }

    /// Appends a token to each row. A placeholder that the model writes after an image's last is none of the
    /// image's: an end stands in its place.
    fn push(&mut self, column: &[i64]) {
        let end = self.model.tokens().eos;
        let fitting = column.iter().enumerate();
        let fitting = fitting.map(|(row, token)| match self.layout.accepts(row, *token) {
            true => *token,
            false => end,
        });
        let fitting: Vec<i64> = fitting.collect();
        let pushed = self.layout.push(&fitting);
        pushed.expect("no row ends in a bare <soi>");
    }

    /// Replaces the rows by copies of some of them, which all have the same images.
    fn select(&mut self, parents: &[usize]) {
        let device = self.model.soi_token.lazy_device();
        let rows = parents.iter().map(|parent| *parent as i64).collect();
        self.cache = self
            .cache
            .select(Layout::int(rows, [parents.len()], &device));
        let before = self.layout.batch;
        let (layout, images) = self.layout.select(parents);
        self.layout = layout;
        if before == parents.len() {
            return;
        }
        if let Some(encoded) = &self.encoded {
            self.encoded = Some(encoded.select(&images));
            self.images = self.model.prepare(&self.layout, self.encoded.as_ref());
        }
    }
}

fn host_rows(logits: Tensor<2>) -> Vec<Vec<f32>> {
    let [_, vocabulary] = logits.dims();
    let values: Vec<f32> = logits
        .into_data()
        .convert::<f32>()
        .try_into_vec()
        .expect("converted to f32");
    values.chunks(vocabulary).map(<[f32]>::to_vec).collect()
}
