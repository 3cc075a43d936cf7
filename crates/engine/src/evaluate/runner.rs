//! Answers questions in batches and keeps a record of each.

use burn::tensor::Device;
use deem_data::benchmark::Item;
use deem_data::image::{Crop, ImageLimits, ViewConfig};
use deem_data::text::{TextTokenizer, answer};
use deem_data::{BatchConfig, Collator, PackConfig, Padding, Sample, Segment};
use deem_model::deem::Deem;

use super::records::{Record, RecordFile};
use crate::EngineError;
use crate::generate::{TextOptions, generate_text, log_likelihoods};
use crate::objective::DeemBatch;

/// What a model answered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reply {
    /// The answer, verbatim.
    pub text: String,
    /// Logit of "yes" minus logit of "no" at the first position; between options, see
    /// [`Runner::choose`].
    pub margin: f64,
}

/// A model with everything needed to ask it.
pub struct Runner<'a> {
    /// The model, without gradient tracking.
    pub model: &'a Deem,
    /// Makes left-padded batches of prompts.
    pub collator: Collator,
    /// Questions answered together.
    pub batch: usize,
    /// Where to compute, without gradient tracking.
    pub device: Device,
}

impl<'a> Runner<'a> {
    /// A runner that answers `batch` questions of at most `max_tokens` together.
    pub fn new(
        model: &'a Deem,
        tokenizer: TextTokenizer,
        image_size: u32,
        max_tokens: usize,
        batch: usize,
        device: Device,
    ) -> Self {
        let config = BatchConfig {
            pack: PackConfig {
                max_tokens,
                image_tokens: model.queries(),
                count_first_image: false,
            },
            views: ViewConfig {
                encoder: image_size,
                diffusion: 0,
                crop: Crop::Center,
            },
            padding: Padding::Left,
            fixed_length: None,
            seed: 0,
        };
        Self {
            model,
            collator: Collator::new(config, tokenizer),
            batch,
            device,
        }
    }

    /// Answers prompts, in order.
    ///
    /// # Errors
    /// Those of making the batches.
    pub fn answer(
        &self,
        samples: &[Sample],
        options: &TextOptions,
    ) -> Result<Vec<Reply>, EngineError> {
        let yes = self.word("yes")?;
        let no = self.word("no")?;
        let mut replies = Vec::with_capacity(samples.len());
        for chunk in samples.chunks(self.batch.max(1)) {
            let host = self.collator.samples(chunk)?;
            let batch = DeemBatch::new(&host, self.model, &self.device);
            let encoded = batch.encode(self.model);
            let answers = generate_text(self.model, &batch.layout, encoded.as_ref(), options);
            for answer in answers {
                let margin = match (yes, no) {
                    (Some(yes), Some(no)) => {
                        f64::from(answer.first_logits[yes]) - f64::from(answer.first_logits[no])
                    }
                    _ => 0.0,
                };
                replies.push(Reply {
                    text: self.collator.tokenizer().decode(&answer.tokens)?,
                    margin,
                });
            }
        }
        Ok(replies)
    }

    /// Chooses between two options for each prompt: the one that is more probable as a whole answer.
    /// The margin is the log-probability of the first minus that of the second.
    ///
    /// # Errors
    /// Those of making the batches.
    pub fn choose(
        &self,
        samples: &[Sample],
        options: &[[String; 2]],
    ) -> Result<Vec<Reply>, EngineError> {
        let mut replies = Vec::with_capacity(samples.len());
        let prompts: Vec<_> = samples.iter().zip(options).collect();
        for chunk in prompts.chunks(self.batch.max(1)) {
            let answered: Vec<Sample> = chunk
                .iter()
                .flat_map(|(sample, options)| {
                    options.iter().map(|option| {
                        let mut answered = (*sample).clone();
                        answered.segments.extend(answer(option));
                        answered
                    })
                })
                .collect();
            let host = self.collator.samples(&answered)?;
            let batch = DeemBatch::new(&host, self.model, &self.device);
            let encoded = batch.encode(self.model);
            let scores = log_likelihoods(
                self.model,
                &batch.layout,
                encoded.as_ref(),
                &host.labels,
                &self.device,
            );
            for ((_, options), scores) in chunk.iter().zip(scores.chunks_exact(2)) {
                let margin = scores[0] - scores[1];
                replies.push(Reply {
                    text: options[usize::from(margin < 0.0)].clone(),
                    margin,
                });
            }
        }
        Ok(replies)
    }

    /// Answers the items that are not yet in the file; `tick` hears how many were just done and may
    /// stop the evaluation by returning false. Items whose picture cannot be read are recorded as such.
    ///
    /// # Errors
    /// Those of answering, `Io` of the file, `Stopped` after `tick` said so.
    pub fn run(
        &self,
        items: &[&Item],
        options: &TextOptions,
        file: &mut RecordFile,
        tick: &mut dyn FnMut(usize) -> bool,
    ) -> Result<(), EngineError> {
        let open: Vec<&&Item> = items
            .iter()
            .filter(|item| !file.has(&benchmark_of(item), &item.id))
            .collect();
        tick(items.len() - open.len());
        for chunk in open.chunks(self.batch.max(1)) {
            let mut readable = Vec::new();
            let mut samples = Vec::new();
            for item in chunk {
                match item.sample(ImageLimits::default()) {
                    Ok(sample) => {
                        readable.push(item);
                        samples.push(sample);
                    }
                    Err(error) => {
                        let mut record = record(item, String::new(), Reply::default());
                        record.error = Some(error.to_string());
                        file.push(record)?;
                    }
                }
            }
            let choices: Option<Vec<_>> = readable.iter().map(|i| i.options.clone()).collect();
            let replies = match choices {
                Some(choices) => self.choose(&samples, &choices)?,
                None => self.answer(&samples, options)?,
            };
            for ((item, sample), reply) in readable.into_iter().zip(&samples).zip(replies) {
                file.push(record(item, written(sample), reply))?;
            }
            if !tick(chunk.len()) {
                return Err(EngineError::Stopped);
            }
        }
        Ok(())
    }

    /// The id of a word that is one token.
    fn word(&self, word: &str) -> Result<Option<usize>, EngineError> {
        Ok(match self.collator.tokenizer().encode(word)?.as_slice() {
            [id] => Some(*id as usize),
            _ => None,
        })
    }
}

/// Benchmark and part of an item, as `pope/random`.
fn benchmark_of(item: &Item) -> String {
    format!("{}/{}", item.suite.family(), item.suite.part())
}

fn record(item: &Item, prompt: String, reply: Reply) -> Record {
    Record {
        id: item.id.clone(),
        benchmark: benchmark_of(item),
        cluster: item.cluster.clone(),
        pattern: item.pattern.clone(),
        prompt,
        options: item.options.clone(),
        truth: item.answers.clone(),
        answer: reply.text,
        margin: reply.margin,
        error: None,
    }
}

/// A prompt as text, with its images written as `<image>`.
fn written(sample: &Sample) -> String {
    let parts = sample.segments.iter().map(|segment| match segment {
        Segment::Text { text, .. } => text.as_str(),
        Segment::Image { .. } => " <image> ",
        Segment::Bos | Segment::Eos { .. } => "",
    });
    parts.collect::<String>()
}
