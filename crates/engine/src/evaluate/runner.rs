//! Answers questions in batches and keeps a record of each.

use std::time::Instant;

use burn::tensor::Device;
use deem_data::benchmark::Item;
use deem_data::image::{Crop, ImageLimits, ViewConfig};
use deem_data::text::{TextTokenizer, answer};
use deem_data::{BatchConfig, Collator, PackConfig, Padding, Sample};
use deem_model::deem::{Deem, EncodedImages};

use super::examiner::{graded, unanswered};
use super::{Exam, Examiner, Likelihood, Record};
use crate::EngineError;
use crate::generate::{TextOptions, generate_text, log_likelihoods};
use crate::objective::DeemBatch;

/// Of each question of a batch, so many options are read together at most: some have a hundred.
const OPTIONS_TOGETHER: usize = 4;

/// What a model answered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reply {
    /// The answer, verbatim.
    pub text: String,
    /// Logit of "yes" minus logit of "no" at the first position.
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
    /// Largest pictures of benchmarks that are read.
    pub limits: ImageLimits,
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
            limits: ImageLimits::default(),
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
            let ends = Some(self.collator.tokenizer());
            let answers = generate_text(self.model, ends, &batch.layout, encoded.as_ref(), options);
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

    /// How likely each option of each prompt is as a whole answer.
    ///
    /// # Errors
    /// Those of making the batches.
    pub fn choose(
        &self,
        samples: &[Sample],
        options: &[&[String]],
    ) -> Result<Vec<Likelihood>, EngineError> {
        let mut choices = Vec::with_capacity(samples.len());
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
            let seen = self.seen_once(chunk)?;
            let owners: Vec<usize> = (0..chunk.len())
                .flat_map(|at| std::iter::repeat_n(at, chunk[at].1.len()))
                .collect();
            let mut scores = Vec::with_capacity(answered.len());
            let together = self.batch.max(1) * OPTIONS_TOGETHER;
            for (answered, owners) in answered.chunks(together).zip(owners.chunks(together)) {
                let host = self.collator.samples(answered)?;
                let batch = DeemBatch::new(&host, self.model, &self.device);
                let encoded = match &seen {
                    Some(seen) => Some(seen.select(owners)),
                    None => batch.encode(self.model),
                };
                scores.extend(log_likelihoods(
                    self.model,
                    &batch.layout,
                    encoded.as_ref(),
                    &host.labels,
                    &self.device,
                ));
            }
            let mut scores = scores.into_iter();
            for (_, options) in chunk {
                let of_options: Vec<f64> = scores.by_ref().take(options.len()).collect();
                choices.push(Likelihood::new(of_options));
            }
        }
        Ok(choices)
    }

    /// The id of a word that is one token.
    fn word(&self, word: &str) -> Result<Option<usize>, EngineError> {
        Ok(match self.collator.tokenizer().encode(word)?.as_slice() {
            [id] => Some(*id as usize),
            _ => None,
        })
    }
}

impl Runner<'_> {
    /// What is told of a question that would have to be cut: with its longest option it has more tokens than a sequence
    /// holds. Nobody would know afterwards what the model did not read. The sample stays as it is.
    fn too_long(
        &self,
        sample: &mut Sample,
        options: &[String],
    ) -> Result<Option<String>, EngineError> {
        let limit = self.collator.config().pack.max_tokens;
        let asked = sample.segments.len();
        let longest = options.iter().max_by_key(|option| option.len());
        let answered = longest.into_iter().flat_map(|option| answer(option));
        sample.segments.extend(answered);
        let tokens = self.collator.length(sample);
        sample.segments.truncate(asked);
        let tokens = tokens?;
        Ok((tokens > limit).then(|| {
            format!(
                "the question has {tokens} tokens, pictures and the longest option included; a sequence holds {limit} \
                 (max_tokens)"
            )
        }))
    }

    /// The pictures of questions with many options, encoded once for all of them; nothing where options are few, or a
    /// question has not just one picture.
    fn seen_once(
        &self,
        questions: &[(&Sample, &&[String])],
    ) -> Result<Option<EncodedImages>, EngineError> {
        let many = questions
            .iter()
            .any(|(_, options)| options.len() > OPTIONS_TOGETHER);
        let one_each = questions.iter().all(|(sample, _)| sample.images.len() == 1);
        if !many || !one_each {
            return Ok(None);
        }
        let samples: Vec<Sample> = questions
            .iter()
            .map(|(sample, _)| (*sample).clone())
            .collect();
        let host = self.collator.samples(&samples)?;
        let batch = DeemBatch::new(&host, self.model, &self.device);
        Ok(batch.encode(self.model))
    }
}

impl Examiner for Runner<'_> {
    fn batch(&self) -> usize {
        self.batch
    }

    fn ask(&self, exam: &Exam, items: &[&Item]) -> Result<Vec<Record>, EngineError> {
        let started = Instant::now();
        let answering = exam.benchmark.answering();
        let mut records = Vec::new();
        let mut samples = Vec::new();
        let mut readable = Vec::new();
        for item in items {
            let question = exam.benchmark.ask(item);
            let mut record = unanswered(exam.benchmark.name(), item, &question);
            match item.sample(question.segments, self.limits) {
                Ok((mut sample, hash)) => {
                    record.image_sha256 = Some(hash);
                    let options = match answering.likelihood {
                        true => record.options.as_slice(),
                        false => &[],
                    };
                    record.error = self.too_long(&mut sample, options)?;
                    if record.error.is_none() {
                        samples.push(sample);
                        readable.push(records.len());
                    }
                }
                Err(error) => record.error = Some(error.to_string()),
            }
            records.push(record);
        }
        if let Some(options) = &answering.written {
            for (at, reply) in readable.iter().zip(self.answer(&samples, options)?) {
                records[*at].answer = reply.text;
                records[*at].margin = reply.margin;
            }
        }
        if answering.likelihood {
            let options = readable.iter().map(|at| records[*at].options.as_slice());
            let choices = self.choose(&samples, &options.collect::<Vec<_>>())?;
            for (at, choice) in readable.iter().zip(choices) {
                let record = &mut records[*at];
                if answering.written.is_none() {
                    let chosen = record.options.get(choice.chosen);
                    record.answer = chosen.cloned().unwrap_or_default();
                }
                record.likelihood = Some(choice);
            }
        }
        let seconds = started.elapsed().as_secs_f64() / items.len().max(1) as f64;
        let graded = records.into_iter().map(|record| graded(record, seconds));
        graded.collect()
    }
}
