//! Autoregressive text: greedy, nucleus and beam search over a key-value cache.

use deem_data::text::TextTokenizer;
use deem_model::deem::{Deem, EncodedImages};
use deem_model::layout::Layout;
use deem_model::llama::{LlamaCache, LlamaImages};
use serde::{Deserialize, Serialize};

use super::continuation::{Continuation, End, Ending};
use super::reading::{host_rows, push_fitting};
use super::sampling::{Sampling, log_softmax};

/// Random decisions of a row of a batch.
const DRAWS: u64 = 4096;

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
    let rows = (0..batch as u64).map(|row| Continuation::new(*options, row * DRAWS));
    let mut rows: Vec<Continuation> = rows.collect();
    let mut answers: Vec<Answer> = Vec::new();
    let mut finished = vec![options.max_new_tokens == 0; batch];
    while finished.iter().any(|finished| !finished) {
        let logits = reader.next_logits();
        if answers.is_empty() {
            let first = logits.iter().map(|logits| Answer {
                tokens: Vec::new(),
                first_logits: logits.clone(),
            });
            answers = first.collect();
        }
        let mut column = vec![ends.eos; batch];
        for (row, continuation) in rows.iter_mut().enumerate() {
            if finished[row] {
                continue;
            }
            let (token, end) = continuation.choose(&ends, &logits[row]);
            answers[row].tokens = continuation.tokens().to_vec();
            finished[row] = end.is_some();
            if end != Some(End::Picture) {
                column[row] = token.into();
            }
        }
        on_step(&answers);
        if finished.contains(&false) {
            reader.push(&column);
        }
    }
    answers
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

    fn push(&mut self, column: &[i64]) {
        push_fitting(&mut self.layout, self.model, column);
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
