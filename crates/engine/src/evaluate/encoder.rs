//! An encoder alone: which of some pictures a text describes, which of some texts a picture shows.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use deem_data::benchmark::{Candidates, Item, Picture};
use deem_data::image::ImageLimits;
use image::RgbImage;

use super::examiner::{graded, letter, unanswered};
use super::ranked::rank;
use super::{Exam, Examiner, Likelihood, Record};
use crate::EngineError;
use crate::dual_encoder::{DualEncoder, dot, unit};

/// Candidates embedded between two looks at whether to stop.
const CHUNK: usize = 32;

/// Answers benchmarks of an encoder alone: of an item's pictures it takes the one nearest to the text; of candidates that a part
/// of a benchmark shares it takes the nearest, too, and says where the right one stands.
pub struct EncoderExaminer<'a> {
    /// The encoder.
    encoder: &'a DualEncoder,
    /// Items answered together.
    batch: usize,
    /// Largest pictures that are read.
    limits: ImageLimits,
    /// What was embedded for all questions of a part.
    kept: RefCell<Kept>,
}

/// Embeddings that many questions need.
#[derive(Default)]
struct Kept {
    candidates: Option<(Arc<Candidates>, Arc<Gallery>)>,
    pictures: HashMap<String, Seen>,
}

/// The embeddings of candidates; nothing of a picture that cannot be read.
struct Gallery {
    places: HashMap<String, usize>,
    rows: Vec<Option<Vec<f64>>>,
}

/// A picture that was looked at: its embedding and SHA-256, or why it could not be read.
type Seen = Result<(Vec<f64>, String), String>;

impl<'a> EncoderExaminer<'a> {
    /// Answers with an encoder, `batch` items together, of pictures within `limits`.
    pub fn new(encoder: &'a DualEncoder, batch: usize, limits: ImageLimits) -> Self {
        Self {
            encoder,
            batch,
            limits,
            kept: RefCell::default(),
        }
    }

    /// Embeds pictures.
    fn look(&self, pictures: &[&Picture]) -> Result<Vec<Seen>, EngineError> {
        let mut seen: Vec<Seen> = Vec::with_capacity(pictures.len());
        let (mut images, mut places) = (Vec::new(), Vec::new());
        for picture in pictures {
            seen.push(match picture.load_hashed(self.limits) {
                Ok((image, hash)) => {
                    images.push(image.as_ref().clone());
                    places.push(seen.len());
                    Ok((Vec::new(), hash))
                }
                Err(error) => Err(error.to_string()),
            });
        }
        for (place, row) in places.into_iter().zip(self.encoder.images(&images)?) {
            if let Ok((own, _)) = &mut seen[place] {
                *own = row;
            }
        }
        Ok(seen)
    }

    /// The mean of the wordings' directions, of each text.
    fn read(&self, texts: &[Vec<String>]) -> Result<Vec<Vec<f64>>, EngineError> {
        let wordings: Vec<&String> = texts.iter().flatten().collect();
        let mut rows = self.encoder.texts(&wordings)?.into_iter().map(unit);
        let means = texts.iter().map(|text| {
            let own: Vec<Vec<f64>> = rows.by_ref().take(text.len()).collect();
            let width = own.first().map_or(0, Vec::len);
            unit(
                (0..width)
                    .map(|at| own.iter().map(|row| row[at]).sum())
                    .collect(),
            )
        });
        Ok(means.collect())
    }

    /// The embeddings of candidates, made once.
    fn gallery(
        &self,
        candidates: &Arc<Candidates>,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Arc<Gallery>, EngineError> {
        if let Some((own, gallery)) = &self.kept.borrow().candidates
            && Arc::ptr_eq(own, candidates)
        {
            return Ok(gallery.clone());
        }
        let mut rows: Vec<Option<Vec<f64>>> = Vec::with_capacity(candidates.len());
        match candidates.as_ref() {
            Candidates::Texts(texts) => {
                for chunk in texts.chunks(CHUNK) {
                    let wordings: Vec<Vec<String>> =
                        chunk.iter().map(|text| text.wordings.clone()).collect();
                    rows.extend(self.read(&wordings)?.into_iter().map(Some));
                    if !go_on() {
                        return Err(EngineError::Stopped);
                    }
                }
            }
            Candidates::Pictures(pictures) => {
                for chunk in pictures.chunks(CHUNK) {
                    let own: Vec<&Picture> =
                        chunk.iter().map(|candidate| &candidate.picture).collect();
                    for (candidate, seen) in chunk.iter().zip(self.look(&own)?) {
                        rows.push(seen.as_ref().ok().map(|(row, _)| row.clone()));
                        if let Some(key) = key(&candidate.picture) {
                            self.kept.borrow_mut().pictures.insert(key, seen);
                        }
                    }
                    if !go_on() {
                        return Err(EngineError::Stopped);
                    }
                }
            }
        }
        let names = candidates.names().into_iter().enumerate();
        let gallery = Arc::new(Gallery {
            places: names.map(|(at, name)| (name.to_owned(), at)).collect(),
            rows,
        });
        self.kept.borrow_mut().candidates = Some((candidates.clone(), gallery.clone()));
        Ok(gallery)
    }

    /// Which of an item's own pictures its text describes.
    fn ask_own(&self, exam: &Exam, items: &[&Item]) -> Result<Vec<Record>, EngineError> {
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
        Ok(records)
    }

    /// Which of the candidates that they share belongs to each item.
    fn ask_shared(
        &self,
        exam: &Exam,
        items: &[&Item],
        candidates: &Arc<Candidates>,
    ) -> Result<Vec<Record>, EngineError> {
        let gallery = self.gallery(candidates, &mut || true)?;
        let names = candidates.names();
        let questions = match candidates.as_ref() {
            Candidates::Texts(_) => self.pictures_of(items)?,
            Candidates::Pictures(_) => {
                let texts: Vec<Vec<String>> = items
                    .iter()
                    .map(|item| vec![item.question.clone()])
                    .collect();
                let hash = |item: &&Item| match self.seen(&item.picture) {
                    Some(Ok((_, hash))) => hash,
                    _ => String::new(),
                };
                let rows = self.read(&texts)?.into_iter();
                rows.zip(items)
                    .map(|(row, item)| Ok((row, hash(item))))
                    .collect()
            }
        };
        let mut records = Vec::with_capacity(items.len());
        for (item, question) in items.iter().zip(questions) {
            let asked = exam.benchmark.ask(item);
            let mut record = unanswered(exam.benchmark.name(), item, &asked);
            record.prompt = asked.text;
            match question {
                Err(error) => record.error = Some(error),
                Ok((row, hash)) => {
                    record.image_sha256 = Some(hash).filter(|hash| !hash.is_empty());
                    let right: Vec<usize> = item
                        .answers
                        .iter()
                        .filter_map(|name| gallery.places.get(name).copied())
                        .collect();
                    let similarities: Vec<Option<f64>> = gallery
                        .rows
                        .iter()
                        .map(|own| own.as_ref().map(|own| dot(own, &row)))
                        .collect();
                    if similarities
                        .iter()
                        .flatten()
                        .any(|similarity| similarity.is_nan())
                    {
                        return Err(EngineError::Config(format!(
                            "{}: an embedding of {} is no number; the weights are damaged",
                            self.encoder.name(),
                            item.id
                        )));
                    }
                    if !right.iter().any(|at| similarities[*at].is_some()) {
                        let cause = self.seen(&item.picture).and_then(Result::err);
                        record.error = Some(
                            cause.unwrap_or_else(|| "none of its right answers can be had".into()),
                        );
                    } else if let Some(ranked) = rank(&similarities, |at| right.contains(&at)) {
                        record.answer = names[ranked.chosen].to_owned();
                        record.rank = ranked.rank;
                        record.margin = ranked.margin;
                    }
                }
            }
            records.push(record);
        }
        Ok(records)
    }

    /// The embeddings of items' pictures, each looked at once.
    fn pictures_of(&self, items: &[&Item]) -> Result<Vec<Seen>, EngineError> {
        let open: Vec<&Picture> = items
            .iter()
            .map(|item| &item.picture)
            .filter(|picture| self.seen(picture).is_none())
            .collect();
        let mut fresh = self.look(&open)?.into_iter();
        let seen = items.iter().map(|item| {
            let known = self.seen(&item.picture).or_else(|| fresh.next());
            known.unwrap_or_else(|| Err("not looked at".into()))
        });
        Ok(seen.collect())
    }

    /// What was seen of a candidate.
    fn seen(&self, picture: &Picture) -> Option<Seen> {
        self.kept.borrow().pictures.get(&key(picture)?).cloned()
    }
}

/// What tells a picture from all others, if it lies somewhere.
fn key(picture: &Picture) -> Option<String> {
    match picture {
        Picture::File(path) => Some(path.display().to_string()),
        Picture::Shard { shards, index, .. } => Some(format!("{:p} {index}", Arc::as_ptr(shards))),
        Picture::Memory { .. } | Picture::Encoded { .. } => None,
    }
}

impl Examiner for EncoderExaminer<'_> {
    fn batch(&self) -> usize {
        self.batch
    }

    fn prepare(&self, item: &Item, go_on: &mut dyn FnMut() -> bool) -> Result<(), EngineError> {
        match &item.candidates {
            Some(candidates) => self.gallery(candidates, go_on).map(|_| ()),
            None => Ok(()),
        }
    }

    fn ask(&self, exam: &Exam, items: &[&Item]) -> Result<Vec<Record>, EngineError> {
        let started = Instant::now();
        let shared = items.first().and_then(|item| item.candidates.as_ref());
        let records = match shared {
            Some(candidates) => self.ask_shared(exam, items, candidates)?,
            None => self.ask_own(exam, items)?,
        };
        let seconds = started.elapsed().as_secs_f64() / items.len().max(1) as f64;
        let graded = records.into_iter().map(|record| graded(record, seconds));
        graded.collect()
    }
}

/// The pictures to choose among, and the SHA-256 of the item's own.
fn load(
    item: &Item,
    limits: ImageLimits,
) -> Result<(Vec<RgbImage>, Option<String>), deem_data::DataError> {
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
