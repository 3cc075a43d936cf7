//! An encoder alone, asked which of some pictures a text describes.

use std::time::Instant;

use deem_data::benchmark::Item;
use deem_data::image::ImageLimits;

use super::examiner::{graded, letter, unanswered};
use super::{Exam, Examiner, Likelihood, Record};
use crate::EngineError;
use crate::dual_encoder::{DualEncoder, dot, unit};

/// Answers benchmarks of an encoder alone: of an item's pictures it takes the one nearest to the text.
pub struct EncoderExaminer<'a> {
    /// The encoder.
    pub encoder: &'a DualEncoder,
    /// Items answered together.
    pub batch: usize,
    /// Largest pictures that are read.
    pub limits: ImageLimits,
}

impl Examiner for EncoderExaminer<'_> {
    fn batch(&self) -> usize {
        self.batch
    }

    fn ask(&self, exam: &Exam, items: &[&Item]) -> Result<Vec<Record>, EngineError> {
        let started = Instant::now();
        let mut records = Vec::with_capacity(items.len());
        let (mut texts, mut pictures, mut readable) = (Vec::new(), Vec::new(), Vec::new());
        for item in items {
            let question = exam.benchmark.ask(item);
            let mut record = unanswered(exam.benchmark.name(), item, &question);
            record.prompt.clone_from(&question.text);
            match load(item, self.limits) {
                Ok((images, hash)) => {
                    record.image_sha256 = hash;
                    readable.push((records.len(), images.len()));
                    texts.push(question.text);
                    pictures.extend(images);
                }
                Err(error) => record.error = Some(error.to_string()),
            }
            records.push(record);
        }
        let texts = self.encoder.texts(&texts)?.into_iter().map(unit);
        let pictures = self.encoder.images(&pictures)?;
        let mut rest = pictures.as_slice();
        for ((at, count), text) in readable.into_iter().zip(texts) {
            let (own, others) = rest.split_at(count);
            rest = others;
            let logits = own
                .iter()
                .map(|picture| self.encoder.scale() * dot(picture, &text));
            let likelihood = Likelihood::new(log_softmax(logits.collect()));
            records[at].answer = letter(likelihood.chosen);
            records[at].likelihood = Some(likelihood);
        }
        let seconds = started.elapsed().as_secs_f64() / items.len().max(1) as f64;
        let graded = records.into_iter().map(|record| graded(record, seconds));
        graded.collect()
    }
}

/// The pictures to choose among, and the SHA-256 of the item's own.
fn load(
    item: &Item,
    limits: ImageLimits,
) -> Result<(Vec<image::RgbImage>, Option<String>), deem_data::DataError> {
    let mut images = Vec::new();
    let mut own = None;
    for picture in &item.alternatives {
        let (image, hash) = picture.load_hashed(limits)?;
        if picture.id() == item.picture.id() {
            own = Some(hash);
        }
        images.push(image.as_ref().clone());
    }
    Ok((images, own))
}

fn log_softmax(logits: Vec<f64>) -> Vec<f64> {
    let most = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = logits.iter().map(|logit| libm::exp(logit - most)).sum();
    logits
        .into_iter()
        .map(|logit| logit - most - libm::log(sum))
        .collect()
}
