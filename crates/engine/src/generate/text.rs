//! Autoregressive text: greedy, nucleus and beam search over a key-value cache.

use burn::tensor::Tensor;
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

/// Continues left-padded prompts (`[batch · seq]` tokens, row-major).
///
/// Generation of a row stops at eos or `<soi>` (which is kept, being the last token: the caller draws
/// the image and goes on).
pub fn generate_text(
    model: &Deem,
    prompts: &[i64],
    batch: usize,
    encoded: Option<&EncodedImages>,
    options: &TextOptions,
) -> Vec<Answer> {
    generate_text_streaming(model, prompts, batch, encoded, options, &mut |_| {})
}

/// As [`generate_text`]; without beam search `on_step` gets all answers so far after every step.
pub fn generate_text_streaming(
    model: &Deem,
    prompts: &[i64],
    batch: usize,
    encoded: Option<&EncodedImages>,
    options: &TextOptions,
    on_step: &mut dyn FnMut(&[Answer]),
) -> Vec<Answer> {
    if options.beams > 1 {
        return (0..batch)
            .map(|row| beam_search(model, prompts, batch, row, encoded, options))
            .collect();
    }
    let special = model.tokens();
    let mut reader = Reader::new(model, prompts, batch, encoded.cloned());
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
        let mut column = vec![special.eos; batch];
        for row in 0..batch {
            if finished[row] {
                continue;
            }
            let mut logits = logits[row].clone();
            if step < options.min_new_tokens {
                logits[special.eos as usize] = f32::NEG_INFINITY;
            }
            let token = choose(&logits, options.sampling, (row * 4096 + step) as u64) as i64;
            finished[row] = token == special.eos || token == special.soi;
            if token != special.eos {
                answers[row].tokens.push(token as u32);
                column[row] = if token == special.soi {
                    special.eos
                } else {
                    token
                };
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
    prompts: &[i64],
    batch: usize,
    row: usize,
    encoded: Option<&EncodedImages>,
    options: &TextOptions,
) -> Answer {
    let special = model.tokens();
    let seq = prompts.len() / batch;
    let prompt = &prompts[row * seq..][..seq];
    let own = encoded.and_then(|encoded| own_images(model, encoded, prompts, batch, row));
    let mut reader = Reader::new(model, prompt, 1, own);
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
                log_probabilities[special.eos as usize] = f64::NEG_INFINITY;
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
            let finished = token as i64 == special.eos || token as i64 == special.soi;
            if token as i64 != special.eos {
                tokens.push(token as u32);
            }
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
        let parents: Vec<i64> = kept.iter().map(|(beam, _)| *beam as i64).collect();
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
    rows: Vec<Vec<i64>>,
    encoded: Option<EncodedImages>,
    images: Option<LlamaImages>,
    cache: LlamaCache,
}

impl<'a> Reader<'a> {
    fn new(model: &'a Deem, tokens: &[i64], batch: usize, encoded: Option<EncodedImages>) -> Self {
        let rows: Vec<Vec<i64>> = tokens
            .chunks(tokens.len() / batch)
            .map(<[i64]>::to_vec)
            .collect();
        let mut reader = Self {
            model,
            rows,
            encoded,
            images: None,
            cache: LlamaCache::new(),
        };
        reader.images = model.prepare(&reader.layout(), reader.encoded.as_ref());
        reader
    }

    fn layout(&self) -> Layout {
        let tokens = self.rows.concat();
        Layout::new(
            &tokens,
            self.rows.len(),
            self.model.tokens(),
            self.model.queries(),
        )
    }

    /// Logits after the last position of each row.
    fn next_logits(&mut self) -> Vec<Vec<f32>> {
        let layout = self.layout();
        let hidden = self.model.read_on(
            &layout,
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
        for (row, token) in self.rows.iter_mut().zip(column) {
            row.push(*token);
        }
    }

    /// Replaces the rows by copies of some of them, which all have the same images.
    fn select(&mut self, parents: &[i64]) {
        let device = self.model.soi_token.lazy_device();
        self.cache = self
            .cache
            .select(Layout::int(parents.to_vec(), [parents.len()], &device));
        let before = self.rows.len();
        self.rows = parents
            .iter()
            .map(|p| self.rows[*p as usize].clone())
            .collect();
        if before == parents.len() {
            return;
        }
        if let Some(encoded) = &self.encoded {
            let per_row = encoded.condition.dims()[0] / before;
            let images: Vec<usize> = parents.iter().flat_map(|_| 0..per_row).collect();
            self.encoded = Some(encoded.select(&images));
            self.images = self.model.prepare(&self.layout(), self.encoded.as_ref());
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

/// The images of one row of a batch, if it has any.
fn own_images(
    model: &Deem,
    encoded: &EncodedImages,
    prompts: &[i64],
    batch: usize,
    row: usize,
) -> Option<EncodedImages> {
    let layout = Layout::new(prompts, batch, model.tokens(), model.queries());
    let own: Vec<usize> = (0..layout.images.len())
        .filter(|i| layout.images[*i].row == row)
        .collect();
    (!own.is_empty()).then(|| encoded.select(&own))
}
