//! A batch that broke the training, kept so that it can be computed again: arrays as safetensors, and a small JSON
//! file that says where it comes from and what it says.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use deem_data::Batch;
use deem_model::weights::{Dtype, LazyTensor, WeightsFile, write_stream};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::piece::Piece;
use crate::EngineError;

/// Host data of a micro-batch, which can be written to a file and read back.
pub trait HostBatch: Send + Sized {
    /// Its large arrays by name ([`floats`], [`integers`] and [`flags`] make them).
    fn arrays(&self) -> Vec<LazyTensor<'_>>;

    /// Everything else, as JSON.
    fn rest(&self) -> Value;

    /// A batch from what [`Self::arrays`] and [`Self::rest`] gave; `None` if something is missing.
    fn restore(arrays: &WeightsFile, rest: &Value) -> Option<Self>;
}

/// Numbers for a file.
pub fn floats<'a>(name: &str, values: &'a [f32]) -> LazyTensor<'a> {
    LazyTensor {
        name: name.to_owned(),
        dtype: Dtype::F32,
        shape: vec![values.len()],
        read: Box::new(move || values.iter().flat_map(|v| v.to_le_bytes()).collect()),
    }
}

/// Token ids for a file.
pub fn integers<'a>(name: &str, values: &'a [i64]) -> LazyTensor<'a> {
    LazyTensor {
        name: name.to_owned(),
        dtype: Dtype::I64,
        shape: vec![values.len()],
        read: Box::new(move || values.iter().flat_map(|v| v.to_le_bytes()).collect()),
    }
}

/// Truth values for a file, one byte each.
pub fn flags<'a>(name: &str, values: &'a [bool]) -> LazyTensor<'a> {
    LazyTensor {
        name: name.to_owned(),
        dtype: Dtype::U8,
        shape: vec![values.len()],
        read: Box::new(move || values.iter().map(|v| u8::from(*v)).collect()),
    }
}

impl HostBatch for Batch {
    fn arrays(&self) -> Vec<LazyTensor<'_>> {
        let mut arrays = vec![
            integers("tokens", &self.tokens),
            integers("labels", &self.labels),
            flags("valid", &self.valid),
            floats("encoder_pixels", &self.encoder_pixels),
            floats("diffusion_pixels", &self.diffusion_pixels),
        ];
        arrays.extend(self.masks.as_ref().map(|masks| floats("masks", masks)));
        arrays
    }

    fn rest(&self) -> Value {
        let small = Self {
            tokens: Vec::new(),
            labels: Vec::new(),
            valid: Vec::new(),
            encoder_pixels: Vec::new(),
            diffusion_pixels: Vec::new(),
            masks: None,
            ..self.clone()
        };
        serde_json::to_value(small).expect("plain data")
    }

    fn restore(arrays: &WeightsFile, rest: &Value) -> Option<Self> {
        let valid = arrays.bytes("valid")?;
        Some(Self {
            tokens: arrays.i64("tokens")?,
            labels: arrays.i64("labels")?,
            valid: valid.into_iter().map(|flag| flag != 0).collect(),
            encoder_pixels: arrays.f32("encoder_pixels")?,
            diffusion_pixels: arrays.f32("diffusion_pixels")?,
            masks: arrays.f32("masks"),
            ..Self::deserialize(rest).ok()?
        })
    }
}

/// What the JSON file of a batch says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchFile {
    /// What was being learned: a stage's name.
    pub task: String,
    /// Optimizer step, from 0.
    pub step: u64,
    /// Which rows of the run it holds, which chooses samples, noise and timesteps.
    pub piece: Piece,
    /// Seed of noise and timesteps.
    pub seed: u64,
    /// What was not finite.
    pub what: String,
    /// Its value: `NaN`, `inf` or `-inf`.
    pub value: String,
    /// The rows in words.
    pub texts: Vec<String>,
    /// The batch without its arrays.
    pub batch: Value,
}

impl BatchFile {
    /// Writes both files; the JSON file's path says where.
    ///
    /// # Errors
    /// `Io` or `Weights` naming the file.
    pub fn write<B: HostBatch>(&self, batch: &B, path: &Path) -> Result<(), EngineError> {
        write_stream(&mut batch.arrays(), &arrays_of(path), &HashMap::new())?;
        let text = serde_json::to_string_pretty(self).expect("plain data");
        fs::write(path, text).map_err(EngineError::io(path))
    }

    /// Reads the files; either's path will do.
    ///
    /// # Errors
    /// `Io` or `Weights` naming the file that cannot be read, `File` if it is not of a batch of this kind.
    pub fn read<B: HostBatch>(path: &Path) -> Result<(Self, B), EngineError> {
        let path = &path.with_extension("json");
        let file = Self::describe(path)?;
        let arrays = WeightsFile::open(&arrays_of(path))?;
        let batch = B::restore(&arrays, &file.batch).ok_or_else(|| EngineError::File {
            path: arrays.path().into(),
            problem: format!(
                "expected the arrays of a batch of {:?}, found {}",
                file.task,
                arrays.keys().collect::<Vec<_>>().join(", ")
            ),
        })?;
        Ok((file, batch))
    }

    /// Reads the JSON file alone; either's path will do.
    ///
    /// # Errors
    /// `Io` if it cannot be read, `File` if it is no such file.
    pub fn describe(path: &Path) -> Result<Self, EngineError> {
        let path = &path.with_extension("json");
        let text = fs::read_to_string(path).map_err(EngineError::io(path))?;
        serde_json::from_str(&text).map_err(|error| EngineError::File {
            path: path.clone(),
            problem: format!(
                "expected what `deem train` writes when a loss is not finite (not-finite-step-N.json), found \
                 something else: {error}"
            ),
        })
    }
}

fn arrays_of(path: &Path) -> PathBuf {
    path.with_extension("safetensors")
}

#[cfg(test)]
mod tests {
    use deem_data::BatchImage;

    use super::*;

    #[test]
    fn a_batch_is_read_back_as_it_was() {
        let batch = Batch {
            batch: 1,
            seq: 3,
            tokens: vec![1, 2, 3],
            labels: vec![-100, 2, 3],
            valid: vec![true, true, false],
            images: vec![BatchImage {
                row: 0,
                soi: 1,
                document_start: 0,
                counted_nip: true,
                id: "cat.png".into(),
            }],
            encoder_pixels: vec![0.25, f32::MIN_POSITIVE, 1.0],
            diffusion_pixels: Vec::new(),
            masks: Some(vec![1.0]),
            document_starts: vec![(0, 0)],
            ids: vec!["cat".into()],
            ..Batch::default()
        };
        let file = BatchFile {
            task: "s".into(),
            step: 3,
            piece: Piece::whole(6, 1),
            seed: 1,
            what: "the loss".into(),
            value: f64::NAN.to_string(),
            texts: vec!["a cat".into()],
            batch: batch.rest(),
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("not-finite-step-3.json");
        file.write(&batch, &path).unwrap();
        for path in [&path, &path.with_extension("safetensors")] {
            let (read, again) = BatchFile::read::<Batch>(path).unwrap();
            assert_eq!((read, again), (file.clone(), batch.clone()));
        }
        let text = fs::read_to_string(&path).unwrap();
        assert!(
            !text.contains("0.25"),
            "pixels are in the other file: {text}"
        );
        let lost = Batch {
            masks: None,
            ..batch
        };
        let other = folder.path().join("other.json");
        file.write(&lost, &other).unwrap();
        assert_eq!(BatchFile::read::<Batch>(&other).unwrap().1, lost);
        fs::write(&other, "{}").unwrap();
        let message = BatchFile::describe(&other).unwrap_err().to_string();
        assert!(message.contains("other.json"), "{message}");
    }
}
