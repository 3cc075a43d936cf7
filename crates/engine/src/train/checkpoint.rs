//! Atomic checkpoints: a directory that is either the old one or the new one, never a mixture.
//!
//! ```text
//! checkpoint/
//!   model.safetensors      trained parameters (frozen ones come from their own files)
//!   optimizer.safetensors  AdamW moments
//!   state.json             position: steps finished, configuration fingerprint
//! ```

use std::collections::HashMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use deem_model::weights::{self, StateTensor, WeightsFile};
use safetensors::Dtype;
use serde::{Deserialize, Serialize};

use crate::EngineError;

/// Where a run stands. Noise, timesteps and data order are functions of the seed and the step, so
/// this is all the random state there is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Position {
    /// Optimizer steps finished.
    pub step: u64,
    /// Fingerprint of everything that shapes the run.
    pub fingerprint: String,
}

/// The checkpoint of one run directory.
pub struct Checkpoint {
    root: PathBuf,
}

impl Checkpoint {
    /// The checkpoint inside a run directory (which need not exist yet).
    pub fn of(run: &Path) -> Self {
        Self {
            root: run.to_owned(),
        }
    }

    fn current(&self) -> PathBuf {
        self.root.join("checkpoint")
    }

    fn previous(&self) -> PathBuf {
        self.root.join("checkpoint.previous")
    }

    /// Directory of the newest complete checkpoint, if any.
    ///
    /// A crash between the two renames of [`Self::write`] leaves only the previous one.
    pub fn newest(&self) -> Option<PathBuf> {
        [self.current(), self.previous()]
            .into_iter()
            .find(|dir| dir.join("state.json").is_file())
    }

    /// Writes a checkpoint; the one before stays until the new one is on disk.
    ///
    /// # Errors
    /// `Io` or `Weights` naming the file; the former checkpoint is then untouched.
    pub fn write(
        &self,
        model: &[StateTensor],
        optimizer: &[StateTensor],
        position: &Position,
    ) -> Result<(), EngineError> {
        let part = self.root.join("checkpoint.part");
        if part.exists() {
            fs::remove_dir_all(&part).map_err(EngineError::io(&part))?;
        }
        fs::create_dir_all(&part).map_err(EngineError::io(&part))?;
        let written = (|| {
            let none = HashMap::new();
            weights::write(
                model,
                &part.join("model.safetensors"),
                Dtype::F32,
                none.clone(),
            )?;
            weights::write(
                optimizer,
                &part.join("optimizer.safetensors"),
                Dtype::F32,
                none,
            )?;
            let state = part.join("state.json");
            let text = serde_json::to_string_pretty(position).expect("plain data");
            fs::write(&state, text).map_err(EngineError::io(&state))?;
            File::open(&state)
                .and_then(|file| file.sync_all())
                .map_err(EngineError::io(&state))?;
            sync_dir(&part)
        })();
        if let Err(error) = written {
            let _ = fs::remove_dir_all(&part);
            return Err(error);
        }
        let (current, previous) = (self.current(), self.previous());
        if current.exists() {
            if previous.exists() {
                fs::remove_dir_all(&previous).map_err(EngineError::io(&previous))?;
            }
            fs::rename(&current, &previous).map_err(EngineError::io(&current))?;
        }
        fs::rename(&part, &current).map_err(EngineError::io(&part))?;
        sync_dir(&self.root)?;
        if previous.exists() {
            fs::remove_dir_all(&previous).map_err(EngineError::io(&previous))?;
        }
        Ok(())
    }

    /// Reads the newest checkpoint, if any.
    ///
    /// # Errors
    /// `File` if its state is damaged, `Weights` if its tensors are.
    pub fn read(&self) -> Result<Option<(Position, WeightsFile, WeightsFile)>, EngineError> {
        let Some(dir) = self.newest() else {
            return Ok(None);
        };
        let path = dir.join("state.json");
        let text = fs::read_to_string(&path).map_err(EngineError::io(&path))?;
        let position = serde_json::from_str(&text).map_err(|error| EngineError::File {
            path,
            problem: format!(
                "not a checkpoint state ({error}); delete the run directory to start over"
            ),
        })?;
        Ok(Some((
            position,
            WeightsFile::open(&dir.join("model.safetensors"))?,
            WeightsFile::open(&dir.join("optimizer.safetensors"))?,
        )))
    }
}

fn sync_dir(dir: &Path) -> Result<(), EngineError> {
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(EngineError::io(dir))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(value: f32) -> Vec<StateTensor> {
        vec![StateTensor {
            name: "w".into(),
            shape: vec![1],
            values: vec![value],
        }]
    }

    fn position(step: u64) -> Position {
        Position {
            step,
            fingerprint: "f".into(),
        }
    }

    #[test]
    fn the_newest_checkpoint_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let checkpoint = Checkpoint::of(dir.path());
        assert!(checkpoint.read().unwrap().is_none());
        for step in [1, 2] {
            checkpoint
                .write(&tensor(step as f32), &tensor(0.0), &position(step))
                .unwrap();
        }
        let (read, model, _) = checkpoint.read().unwrap().unwrap();
        assert_eq!(read.step, 2);
        assert_eq!(model.f32("w").unwrap(), [2.0]);
    }

    #[test]
    fn a_crash_between_renames_falls_back_to_the_previous_one() {
        let dir = tempfile::tempdir().unwrap();
        let checkpoint = Checkpoint::of(dir.path());
        checkpoint
            .write(&tensor(1.0), &tensor(0.0), &position(1))
            .unwrap();
        fs::rename(checkpoint.current(), checkpoint.previous()).unwrap();
        fs::create_dir(dir.path().join("checkpoint.part")).unwrap();
        assert_eq!(checkpoint.read().unwrap().unwrap().0.step, 1);
        checkpoint
            .write(&tensor(2.0), &tensor(0.0), &position(2))
            .unwrap();
        assert_eq!(checkpoint.read().unwrap().unwrap().0.step, 2);
    }

    #[test]
    fn damaged_state_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let checkpoint = Checkpoint::of(dir.path());
        checkpoint
            .write(&tensor(1.0), &tensor(0.0), &position(1))
            .unwrap();
        fs::write(checkpoint.current().join("state.json"), "{").unwrap();
        let message = checkpoint.read().err().unwrap().to_string();
        assert!(message.contains("state.json") && message.contains("not a checkpoint state"));
    }
}
