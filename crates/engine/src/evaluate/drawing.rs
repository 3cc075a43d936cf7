//! A model that draws texts: of some tries the one that an encoder finds nearest to the text is kept (DEEM: eight, for
//! COCO), as a file among the others, from which a feature network of one's own makes what a Fréchet distance needs.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use deem_data::benchmark::Item;
use image::{ImageFormat, RgbImage};
use sha2::{Digest, Sha256};

use super::examiner::unanswered;
use super::{Exam, Examiner, Record};
use crate::EngineError;
use crate::dual_encoder::{DualEncoder, dot, unit};

/// Draws a text; the number tells one try from another.
pub type Draw<'a> = &'a dyn Fn(&str, u64) -> Result<RgbImage, EngineError>;

/// Draws the texts of a benchmark.
pub struct DrawingExaminer<'a> {
    /// The model.
    pub draw: Draw<'a>,
    /// Chooses among the tries, and says how near the kept one is.
    pub encoder: &'a DualEncoder,
    /// Pictures drawn of each text, at least one.
    pub tries: u64,
    /// Folder of the evaluation; pictures go to a folder of the benchmark's name in it.
    pub folder: PathBuf,
}

impl Examiner for DrawingExaminer<'_> {
    fn batch(&self) -> usize {
        1
    }

    /// The answer is the picture's file, from the evaluation's folder on; its score the cosine of picture and text, not below
    /// 0; its checksum that of the file.
    fn ask(&self, exam: &Exam, items: &[&Item]) -> Result<Vec<Record>, EngineError> {
        let drawn = |item: &&Item| {
            let started = Instant::now();
            let question = exam.benchmark.ask(item);
            let mut record = unanswered(exam.benchmark.name(), item, &question);
            record.prompt.clone_from(&question.text);
            let (picture, cosine) = self.best(&question.text)?;
            let name = format!("{}/{}.png", exam.benchmark.name(), file_name(&item.id));
            record.image_sha256 = Some(write(&picture, &self.folder.join(&name))?);
            record.parsed = Some(name.clone());
            record.answer = name;
            record.score = cosine.clamp(0.0, 1.0);
            record.seconds = started.elapsed().as_secs_f64();
            Ok(record)
        };
        items.iter().map(drawn).collect()
    }
}

impl DrawingExaminer<'_> {
    /// The try nearest to the text, the first of equals.
    fn best(&self, text: &str) -> Result<(RgbImage, f64), EngineError> {
        let mut texts = self.encoder.texts(&[text])?;
        let text_embedding = unit(texts.pop().unwrap_or_default());
        let mut best: Option<(RgbImage, f64)> = None;
        for number in 0..self.tries.max(1) {
            let picture = (self.draw)(text, number)?;
            let embedded = self.encoder.images(std::slice::from_ref(&picture))?;
            let cosine = embedded
                .first()
                .map_or(0.0, |row| dot(row, &text_embedding));
            if best.as_ref().is_none_or(|(_, other)| cosine > *other) {
                best = Some((picture, cosine));
            }
        }
        best.ok_or_else(|| EngineError::Config("no picture was drawn".into()))
    }
}

/// Of an id, what may stand in a file's name.
fn file_name(id: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    id.chars().map(plain).collect()
}

/// Writes a PNG, whole or not at all, and gives its checksum.
fn write(picture: &RgbImage, path: &Path) -> Result<String, EngineError> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(EngineError::io(folder))?;
    }
    let mut bytes = std::io::Cursor::new(Vec::new());
    let encoded = picture.write_to(&mut bytes, ImageFormat::Png);
    encoded.map_err(|e| EngineError::io(path)(std::io::Error::other(e)))?;
    let bytes = bytes.into_inner();
    let temporary = path.with_extension("png.part");
    fs::write(&temporary, &bytes).map_err(EngineError::io(&temporary))?;
    fs::rename(&temporary, path).map_err(EngineError::io(path))?;
    let digest = Sha256::digest(&bytes);
    Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect())
}
