//! The thread that owns a model: jobs one after the other, in the order in which they came.

use std::thread::{self, JoinHandle};
use std::time::Instant;

use deem::{AdaptOptions, Error, ImageOptions, Model, Sampling, TextOptions};
use deem_engine::generate::generate_text_streaming;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::{AnswerJob, Choice, EndReason, Event, Job, Metrics, ReadJob, Scored, Submitted, Usage};

/// Starts the thread, which ends when all handles are gone.
///
/// # Errors
/// If the system gives no thread.
pub fn schedule(
    model: Model,
    mut arriving: UnboundedReceiver<Submitted>,
    metrics: Metrics,
) -> std::io::Result<JoinHandle<()>> {
    thread::Builder::new().name("model".into()).spawn(move || {
        while let Some(submitted) = arriving.blocking_recv() {
            if submitted.events.is_closed() {
                continue;
            }
            metrics.queued(arriving.len());
            metrics.batch(1);
            let work = Work {
                model: &model,
                metrics: &metrics,
                began: Instant::now(),
                tell: &|event| drop(submitted.events.send(event)), // a client that left hears nothing
            };
            let done = work.on(&submitted.job);
            (work.tell)(done.map_or_else(Event::Failed, Event::Done));
            metrics.batch(0);
        }
    })
}

struct Work<'a> {
    model: &'a Model,
    metrics: &'a Metrics,
    began: Instant,
    tell: &'a dyn Fn(Event),
}

impl Work<'_> {
    fn on(&self, job: &Job) -> Result<Usage, Error> {
        match job {
            Job::Answer(job) => self.answer(job),
            Job::Read(job) => self.read(job),
            Job::Draw(job) => {
                for choice in 0..job.n {
                    let options = ImageOptions {
                        seed: job.options.seed.wrapping_add(choice as u64),
                        ..job.options
                    };
                    let picture = self.model.draw(&job.text, &options)?;
                    self.metrics.drawn();
                    (self.tell)(Event::Picture { choice, picture });
                }
                self.used(self.model.drawing_prompt(&job.text)?.len(), 0)
            }
            Job::Restore(job) => {
                let picture = self
                    .model
                    .restore(&job.picture, job.strength, &job.options)?;
                self.metrics.encoded();
                self.metrics.drawn();
                (self.tell)(Event::Picture { choice: 0, picture });
                Ok(Usage::default())
            }
            Job::Score(job) => {
                let answers: Vec<&str> = job.answers.iter().map(String::as_str).collect();
                let likely = self.model.likelihoods(&job.dialogue, &answers)?;
                let scores = likely.iter().map(|likely| Scored {
                    log_probability: likely.log_probability,
                    tokens: likely.tokens,
                });
                (self.tell)(Event::Scores(scores.collect()));
                self.used(self.model.prompt(&job.dialogue)?.len(), 0)
            }
        }
    }

    fn answer(&self, job: &AnswerJob) -> Result<Usage, Error> {
        let shown = job
            .dialogue
            .turns
            .last()
            .and_then(|turn| turn.pictures.last());
        let adapted = match shown.filter(|_| job.adapt > 0) {
            Some(picture) => {
                let options = AdaptOptions {
                    steps: job.adapt,
                    ..AdaptOptions::default()
                };
                Some(self.model.adapted(picture, &options)?)
            }
            None => None,
        };
        let model = adapted.as_ref().unwrap_or(self.model);
        let prompt = model.prompt(&job.dialogue)?.len();
        let mut said = 0;
        for choice in 0..job.choice.n {
            let options = self.options(&job.choice, choice, prompt);
            let mut told = String::new();
            let streams = job.choice.stop.is_empty();
            let answer = model.answer(&job.dialogue, &options, &mut |piece| {
                if told.is_empty() {
                    self.metrics.first_token(self.began.elapsed());
                }
                if streams {
                    self.say(choice, piece);
                    told.push_str(piece);
                }
            })?;
            said += self.end(&job.choice, choice, &options, &answer, &told)?;
        }
        for _ in job.dialogue.pictures() {
            self.metrics.encoded();
        }
        self.used(prompt, said)
    }

    fn read(&self, job: &ReadJob) -> Result<Usage, Error> {
        let (network, tokenizer) = (self.model.network(), self.model.tokenizer());
        let mut tokens = vec![i64::from(tokenizer.special().bos)];
        tokens.extend(tokenizer.encode(&job.text)?.into_iter().map(i64::from));
        let limit = self.model.spec().model.llama.max_position_embeddings;
        let mut said = 0;
        for choice in 0..job.choice.n {
            let options = self.options(&job.choice, choice, tokens.len());
            if tokens.len() + options.max_new_tokens > limit {
                return Err(Error::TooLong {
                    tokens: tokens.len(),
                    answer: options.max_new_tokens,
                    limit,
                });
            }
            let layout = network.layout(&tokens, 1);
            let ends = Some(tokenizer);
            let answers =
                generate_text_streaming(network, ends, &layout, None, &options, &mut |_| {});
            let answer = tokenizer.decode(&answers[0].tokens)?;
            said += self.end(&job.choice, choice, &options, &answer, "")?;
        }
        self.used(tokens.len(), said)
    }

    fn options(&self, choice: &Choice, number: usize, prompt: usize) -> TextOptions {
        let limit = self.model.spec().model.llama.max_position_embeddings;
        let left = limit.saturating_sub(prompt).clamp(1, choice.ceiling);
        let sampling = match choice.sampling {
            Sampling::Greedy => Sampling::Greedy,
            Sampling::Nucleus {
                temperature,
                top_p,
                seed,
            } => Sampling::Nucleus {
                temperature,
                top_p,
                seed: seed.wrapping_add(number as u64),
            },
        };
        TextOptions {
            sampling,
            ..TextOptions::longest(choice.max_tokens.unwrap_or(left))
        }
    }

    fn say(&self, choice: usize, text: &str) {
        if !text.is_empty() {
            (self.tell)(Event::Text {
                choice,
                text: text.to_owned(),
                tokens: Vec::new(),
            });
        }
    }

    /// Says what was not said yet of an answer, up to the first stop text; the number of its tokens.
    fn end(
        &self,
        choice: &Choice,
        number: usize,
        options: &TextOptions,
        answer: &str,
        told: &str,
    ) -> Result<usize, Error> {
        let stop = choice
            .stop
            .iter()
            .filter_map(|stop| answer.find(stop))
            .min();
        let kept = &answer[..stop.unwrap_or(answer.len())];
        self.say(number, kept.strip_prefix(told).unwrap_or_default());
        let tokens = self.model.tokenizer().encode(kept)?.len();
        let reason = if stop.is_none() && tokens >= options.max_new_tokens {
            EndReason::Length
        } else {
            EndReason::Stop
        };
        (self.tell)(Event::End {
            choice: number,
            reason,
        });
        Ok(tokens)
    }

    fn used(&self, prompt: usize, completion: usize) -> Result<Usage, Error> {
        self.metrics.prompt_tokens(prompt, 0);
        self.metrics.tokens(completion);
        Ok(Usage {
            prompt,
            cached: 0,
            completion,
        })
    }
}
