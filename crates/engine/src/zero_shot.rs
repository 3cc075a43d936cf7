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

/// Finds the pictures of a folder that an encoder takes for something else. What was found lies in `progress`, a JSON
/// line a picture, and is not computed again; `tick` hears how many pictures are done and may stop by returning false.
///
/// # Errors
/// `OtherAnswers` if `progress` belongs to another encoder, mode or labels; `Io` and `File` naming it; those of the
/// encoder; `Stopped` after `tick` said so.
pub fn mine(
    encoder: &DualEncoder,
    folder: &ImageFolder,
    mode: ParseMode,
    limits: ImageLimits,
    progress: &Path,
    tick: &mut dyn FnMut(usize) -> bool,
) -> Result<HardPictures, EngineError> {
    let identity = Identity {
        encoder_weights: encoder.weights().to_owned(),
        mode,
        labels: folder.labels.clone(),
    };
    let mut file = Progress::open(progress, &identity)?;
    let classifier = Classifier::new(encoder, &folder.labels, mode)?;
    let open = |file: &Progress| -> Vec<LabelledPicture> {
        let pictures = folder.pictures.iter();
        let open = pictures.filter(|picture| !file.done.contains_key(&picture.name));
        open.cloned().collect()
    };
    let left = open(&file);
    let mut done = folder.pictures.len() - left.len();
    if !tick(done) {
        return Err(EngineError::Stopped);
    }
    for batch in left.chunks(BATCH) {
        let mut readable = Vec::new();
        let mut mined: Vec<Mined> = Vec::new();
        for picture in batch {
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
        done += mined.len();
        file.push(mined)?;
        if !tick(done) {
            return Err(EngineError::Stopped);
        }
    }
    let mut found = HardPictures {
        entries: Vec::new(),
        pictures: folder.pictures.len(),
        unreadable: 0,
        first_error: None,
    };
    for picture in &folder.pictures {
        let Some(line) = file.done.get(&picture.name) else {
            continue;
        };
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
    Ok(found)
}

/// The file of what was found so far.
struct Progress {
    path: PathBuf,
    file: File,
    done: BTreeMap<String, Mined>,
}

impl Progress {
    fn open(path: &Path, identity: &Identity) -> Result<Self, EngineError> {
        let text = match fs::read(path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(EngineError::io(path)(error)),
        };
        // What follows the last line break was not written to its end.
        let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
        let broken = |number: usize, error: &serde_json::Error| EngineError::File {
            path: path.into(),
            problem: format!(
                "line {number}: not written by this version of deem ({error}); choose another --output, or delete the \
                 file to start over"
            ),
        };
        let mut lines = whole.lines();
        if let Some(first) = lines.next() {
            let there: Identity = serde_json::from_str(first).map_err(|e| broken(1, &e))?;
            let mut differences = Vec::new();
            if there.encoder_weights != identity.encoder_weights {
                differences.push("another encoder".to_owned());
            }
            if there.mode != identity.mode {
                differences.push(format!(
                    "mode {:?} there, {:?} now",
                    there.mode, identity.mode
                ));
            }
            if there.labels != identity.labels {
                differences.push(format!(
                    "{} labels there, {} now",
                    there.labels.len(),
                    identity.labels.len()
                ));
            }
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
        if whole.len() < text.len() {
            fs::write(path, whole).map_err(EngineError::io(path))?;
        }
        let file = OpenOptions::new().create(true).append(true).open(path);
        let mut progress = Self {
            path: path.into(),
            file: file.map_err(EngineError::io(path))?,
            done,
        };
        if whole.is_empty() {
            progress.write(&(serde_json::to_string(identity).expect("plain data") + "\n"))?;
        }
        Ok(progress)
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
