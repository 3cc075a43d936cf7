//! Zero-shot classification, and the mining of pictures that it gets wrong (DEEM §4: RobustVQA).
//!
//! A picture is taken for the label whose sentence "A photo of a …" lies nearest to it. Those taken for something else
//! than they show are hard: each gives a question with its true label, and one with the label that it was mistaken for.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use deem_data::benchmark::{ImageFolder, LabelledPicture, RobustVqaEntry};
use deem_data::image::{ImageLimits, read_image};
use deem_metrics::answer::ParseMode;
use image::RgbImage;
use serde::{Deserialize, Serialize};

use crate::EngineError;
use crate::dual_encoder::{DualEncoder, dot, unit};
use crate::evaluate::Shard;
use crate::lines::whole_lines;

/// Pictures classified together.
const BATCH: usize = 32;

/// Chooses one of some labels for each picture.
pub struct Classifier<'a> {
    encoder: &'a DualEncoder,
    classes: Vec<Vec<f64>>,
}

impl<'a> Classifier<'a> {
    /// For pictures of these labels.
    ///
    /// [`ParseMode::Paper`] leaves the texts' embeddings as long as they come, as the official code does: labels with long
    /// ones are then chosen more often.
    ///
    /// # Errors
    /// Those of the text encoder.
    pub fn new(
        encoder: &'a DualEncoder,
        labels: &[String],
        mode: ParseMode,
    ) -> Result<Self, EngineError> {
        let sentences: Vec<String> = labels.iter().map(|l| format!("A photo of a {l}")).collect();
        let mut classes = encoder.texts(&sentences)?;
        if mode == ParseMode::Strict {
            classes = classes.into_iter().map(unit).collect();
        }
        Ok(Self { encoder, classes })
    }

    /// The likeliest label of each picture, the first of equals.
    ///
    /// # Errors
    /// Those of the image encoder.
    pub fn classify(&self, pictures: &[RgbImage]) -> Result<Vec<usize>, EngineError> {
        let embedded = self.encoder.images(pictures)?;
        let nearest = |picture: &Vec<f64>| {
            let mut best = (0, f64::NEG_INFINITY);
            for (at, class) in self.classes.iter().enumerate() {
                let similarity = dot(picture, class);
                if similarity > best.1 {
                    best = (at, similarity);
                }
            }
            best.0
        };
        Ok(embedded.iter().map(nearest).collect())
    }
}

/// What a picture was taken for, a line of the file of progress.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Mined {
    file: String,
    label: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    predicted: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Whose predictions a file of progress holds, its first line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Identity {
    encoder_weights: String,
    mode: ParseMode,
    labels: Vec<String>,
}

/// What came of the mining.
#[derive(Clone, Debug, PartialEq)]
pub struct HardPictures {
    /// Pictures that were taken for something else than they show.
    pub entries: Vec<RobustVqaEntry>,
    /// Pictures that were looked at.
    pub pictures: usize,
    /// Pictures that could not be read, with the first reason.
    pub unreadable: usize,
    /// Why the first of them could not.
    pub first_error: Option<String>,
}

/// How hard pictures are looked for.
#[derive(Clone, Copy, Debug)]
pub struct Mining<'a> {
    /// How labels are compared with a picture.
    pub mode: ParseMode,
    /// Which pictures are accepted.
    pub limits: ImageLimits,
    /// Folder of the files of progress: `robustvqa.progress.jsonl`, or one for each share.
    pub output: &'a Path,
    /// Which of the pictures are this process's.
    pub shard: Shard,
}

/// Finds the pictures of a folder that an encoder takes for something else; nothing while other shares have pictures
/// left. What was found lies in the files of progress, a JSON line a picture, and is not computed again, whoever found it;
/// `tick` hears how many pictures are done and may stop by returning false.
///
/// # Errors
/// `OtherAnswers` if a file of progress belongs to another encoder, mode or labels; `Io` and `File` naming it; those of
/// the encoder; `Stopped` after `tick` said so.
pub fn mine(
    encoder: &DualEncoder,
    folder: &ImageFolder,
    mining: Mining,
    tick: &mut dyn FnMut(usize) -> bool,
) -> Result<Option<HardPictures>, EngineError> {
    let identity = Identity {
        encoder_weights: encoder.weights().to_owned(),
        mode: mining.mode,
        labels: folder.labels.clone(),
    };
    let mut file = Progress::open(mining.output, mining.shard, &identity)?;
    let pictures = folder.pictures.iter();
    let mut done = pictures.filter(|p| file.done.contains_key(&p.name)).count();
    if !tick(done) {
        return Err(EngineError::Stopped);
    }
    let mut classifier = None;
    // The same pictures share a batch however the work was shared or stopped.
    for (number, batch) in folder.pictures.chunks(BATCH).enumerate() {
        let is_open = |picture: &LabelledPicture| !file.done.contains_key(&picture.name);
        if !mining.shard.has(number) || !batch.iter().any(is_open) {
            continue;
        }
        let classifier = match &classifier {
            Some(classifier) => classifier,
            None => classifier.insert(Classifier::new(encoder, &folder.labels, mining.mode)?),
        };
        let mut mined = look(classifier, folder, batch, mining.limits)?;
        mined.retain(|line| !file.done.contains_key(&line.file));
        done += mined.len();
        file.push(mined)?;
        if !tick(done) {
            return Err(EngineError::Stopped);
        }
    }
    file.refresh(&identity)?;
    Ok(hard(folder, &file.done))
}

/// What pictures are taken for.
fn look(
    classifier: &Classifier,
    folder: &ImageFolder,
    pictures: &[LabelledPicture],
    limits: ImageLimits,
) -> Result<Vec<Mined>, EngineError> {
    let mut readable = Vec::new();
    let mut mined = Vec::new();
    for picture in pictures {
        let mut line = Mined {
            file: picture.name.clone(),
            label: folder.labels[picture.label].clone(),
            predicted: None,
            error: None,
        };
        match read_image(&picture.path, limits) {
            Ok(image) => readable.push((mined.len(), image)),
            Err(error) => line.error = Some(error.to_string()),
        }
        mined.push(line);
    }
    let (places, images): (Vec<usize>, Vec<RgbImage>) = readable.into_iter().unzip();
    for (place, label) in places.into_iter().zip(classifier.classify(&images)?) {
        mined[place].predicted = Some(folder.labels[label].clone());
    }
    Ok(mined)
}

/// The hard ones among pictures that were all looked at; nothing if some were not.
fn hard(folder: &ImageFolder, done: &BTreeMap<String, Mined>) -> Option<HardPictures> {
    let mut found = HardPictures {
        entries: Vec::new(),
        pictures: folder.pictures.len(),
        unreadable: 0,
        first_error: None,
    };
    for picture in &folder.pictures {
        let line = done.get(&picture.name)?;
        match &line.predicted {
            Some(predicted) if *predicted != line.label => found.entries.push(RobustVqaEntry {
                file_name: line.file.clone(),
                gt_caption: line.label.clone(),
                error_caption: predicted.clone(),
            }),
            Some(_) => {}
            None => {
                found.unreadable += 1;
                found.first_error = found.first_error.or_else(|| line.error.clone());
            }
        }
    }
    Some(found)
}

/// Beginning of the names of files of progress.
const NAME: &str = "robustvqa.progress";

/// What was found so far, and the file of what this process finds.
struct Progress {
    path: PathBuf,
    file: File,
    done: BTreeMap<String, Mined>,
}

impl Progress {
    /// Opens the file of a share in a folder, and takes in what other shares have found.
    fn open(folder: &Path, shard: Shard, identity: &Identity) -> Result<Self, EngineError> {
        let path = folder.join(format!("{NAME}{}.jsonl", shard.suffix()));
        let (whole, cut) = whole_lines(&path)?;
        let done = parsed(&path, &whole, identity)?;
        if cut {
            fs::write(&path, &whole).map_err(EngineError::io(&path))?;
        }
        let file = OpenOptions::new().create(true).append(true).open(&path);
        let mut progress = Self {
            file: file.map_err(EngineError::io(&path))?,
            path,
            done,
        };
        if whole.is_empty() {
            progress.write(&(serde_json::to_string(identity).expect("plain data") + "\n"))?;
        }
        progress.refresh(identity)?;
        Ok(progress)
    }

    /// Takes in what other shares have found meanwhile.
    fn refresh(&mut self, identity: &Identity) -> Result<(), EngineError> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let entries = fs::read_dir(folder).map_err(EngineError::io(folder))?;
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = entry.path();
            if path == self.path || !name.starts_with(NAME) || !name.ends_with(".jsonl") {
                continue;
            }
            for (picture, mined) in parsed(&path, &whole_lines(&path)?.0, identity)? {
                self.done.entry(picture).or_insert(mined);
            }
        }
        Ok(())
    }

    fn push(&mut self, mined: Vec<Mined>) -> Result<(), EngineError> {
        let lines = mined
            .iter()
            .map(|m| serde_json::to_string(m).expect("plain data") + "\n");
        self.write(&lines.collect::<String>())?;
        self.done
            .extend(mined.into_iter().map(|m| (m.file.clone(), m)));
        Ok(())
    }

    fn write(&mut self, text: &str) -> Result<(), EngineError> {
        let written = self.file.write_all(text.as_bytes());
        written.map_err(EngineError::io(&self.path))
    }
}

/// What a file of progress says, if it is of this identity.
fn parsed(
    path: &Path,
    text: &str,
    identity: &Identity,
) -> Result<BTreeMap<String, Mined>, EngineError> {
    let broken = |number: usize, error: &serde_json::Error| EngineError::File {
        path: path.into(),
        problem: format!(
            "line {number}: not written by this version of deem ({error}); choose another --output, or delete the file \
             to start over"
        ),
    };
    let mut lines = text.lines();
    if let Some(first) = lines.next() {
        let there: Identity = serde_json::from_str(first).map_err(|e| broken(1, &e))?;
        let differences = identity.differences(&there);
        if !differences.is_empty() {
            return Err(EngineError::OtherAnswers {
                path: path.into(),
                differences,
            });
        }
    }
    let mut done = BTreeMap::new();
    for (number, line) in lines.enumerate() {
        let mined: Mined = serde_json::from_str(line).map_err(|e| broken(number + 2, &e))?;
        done.insert(mined.file.clone(), mined);
    }
    Ok(done)
}

impl Identity {
    fn differences(&self, there: &Self) -> Vec<String> {
        let mut differences = Vec::new();
        if there.encoder_weights != self.encoder_weights {
            differences.push("another encoder".to_owned());
        }
        if there.mode != self.mode {
            differences.push(format!("mode {:?} there, {:?} now", there.mode, self.mode));
        }
        if there.labels != self.labels {
            differences.push(format!(
                "{} labels there, {} now",
                there.labels.len(),
                self.labels.len()
            ));
        }
        differences
    }
}
