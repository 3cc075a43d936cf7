//! The lane that looks at pictures before anything is said about them, and scores given answers.

use std::sync::mpsc::{Receiver, Sender, channel};

use deem::{AdaptOptions, EncodedImages, Error, Likely, Model, Picture};
use sha2::{Digest, Sha256};

use super::kept::Kept;
use super::speak::Message;
use crate::{AnswerJob, Event, Job, Metrics, ScoreJob, Submitted, Usage};

/// A picture by its content: pixels and region.
pub(super) type PictureKey = [u8; 32];

/// What the encoder understood of a picture.
pub(super) struct Looked {
    pub(super) key: PictureKey,
    pub(super) encoded: EncodedImages,
}

pub(super) struct Looker {
    model: Model,
    metrics: Metrics,
    kept: Kept<PictureKey, EncodedImages>,
    arriving: Receiver<Submitted>,
    speaker: Sender<Message>,
}

impl Looker {
    pub(super) fn new(
        bytes: usize,
        model: &Model,
        metrics: &Metrics,
        speaker: Sender<Message>,
    ) -> (Sender<Submitted>, Self) {
        let (sender, arriving) = channel();
        let looker = Self {
            model: model.clone(),
            metrics: metrics.clone(),
            kept: Kept::new(bytes),
            arriving,
            speaker,
        };
        (sender, looker)
    }

    pub(super) fn run(mut self) {
        while let Ok(submitted) = self.arriving.recv() {
            if submitted.events.is_closed() {
                continue;
            }
            match &submitted.job {
                Job::Score(job) => {
                    let told = match self.score(job) {
                        Ok((scores, usage)) => {
                            let _ = submitted.events.send(Event::Scores(scores));
                            Event::Done(usage)
                        }
                        Err(error) => Event::Failed(error),
                    };
                    let _ = submitted.events.send(told);
                }
                Job::Answer(job) => match self.look(job) {
                    Ok(pictures) => {
                        let _ = self.speaker.send(Message::Answer(submitted, pictures));
                    }
                    Err(error) => {
                        let _ = submitted.events.send(Event::Failed(error));
                    }
                },
                Job::Read(_) | Job::Draw(_) | Job::Restore(_) => {}
            }
        }
        // Whoever else sends to the speaker has ended before.
        let _ = self.speaker.send(Message::Closing);
    }

    fn look(&mut self, job: &AnswerJob) -> Result<Vec<Looked>, Error> {
        let adapted = match job
            .dialogue
            .turns
            .last()
            .and_then(|turn| turn.pictures.last())
        {
            Some(picture) if job.adapt > 0 => {
                let options = AdaptOptions {
                    steps: job.adapt,
                    ..AdaptOptions::default()
                };
                Some((picture_key(picture), self.model.adapted(picture, &options)?))
            }
            _ => None,
        };
        let pictures = job.dialogue.pictures();
        pictures
            .map(|picture| self.picture(picture, adapted.as_ref(), job.adapt))
            .collect()
    }

    fn picture(
        &mut self,
        picture: &Picture,
        adapted: Option<&(PictureKey, Model)>,
        steps: usize,
    ) -> Result<Looked, Error> {
        let mut key = picture_key(picture);
        if let Some((to, _)) = adapted {
            let hash = Sha256::new().chain_update(key).chain_update(to);
            key = hash.chain_update(steps.to_le_bytes()).finalize().into();
        }
        if let Some(encoded) = self.kept.get(&key) {
            self.metrics.cache_hit("picture");
            return Ok(Looked {
                key,
                encoded: encoded.clone(),
            });
        }
        let model = adapted.map_or(&self.model, |(_, model)| model);
        let encoded = model.encode(picture)?;
        self.metrics.encoded();
        self.kept.put(key, encoded.clone(), encoded.bytes());
        Ok(Looked { key, encoded })
    }

    fn score(&self, job: &ScoreJob) -> Result<(Vec<Likely>, Usage), Error> {
        let answers: Vec<&str> = job.answers.iter().map(String::as_str).collect();
        let likely = self.model.likelihoods(&job.dialogue, &answers)?;
        let usage = Usage {
            prompt: self.model.prompt(&job.dialogue)?.len(),
            cached: 0,
            completion: likely.iter().map(|likely| likely.tokens).sum(),
        };
        Ok((likely, usage))
    }
}

/// Hash of what the encoder sees of a picture.
fn picture_key(picture: &Picture) -> PictureKey {
    let pixels = picture.pixels();
    let mut hash = Sha256::new();
    for side in [pixels.width(), pixels.height()] {
        hash.update(side.to_le_bytes());
    }
    hash.update(pixels.as_raw());
    if let Some(region) = picture.region() {
        hash.update(region.as_raw());
    }
    hash.finalize().into()
}
