//! The run's log: one JSON object per step, and the same figures for TensorBoard.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::tensorboard::EventWriter;
use crate::EngineError;

/// Appends to `metrics.jsonl` and a TensorBoard event file.
pub struct MetricsLog {
    path: PathBuf,
    file: File,
    events: EventWriter,
}

impl MetricsLog {
    /// Opens the log of a run directory; lines of steps from `step` on (written after the checkpoint
    /// that a run resumes from) are dropped.
    ///
    /// # Errors
    /// `Io` naming the file.
    pub fn open(run: &Path, step: u64) -> Result<Self, EngineError> {
        let path = run.join("metrics.jsonl");
        let kept: String = read_metrics(&path)?
            .iter()
            .filter(|line| line["step"].as_u64().is_some_and(|s| s < step))
            .map(|line| format!("{line}\n"))
            .collect();
        fs::write(&path, kept).map_err(EngineError::io(&path))?;
        let file = OpenOptions::new()
            .append(true)
            .open(&path)
            .map_err(EngineError::io(&path))?;
        let events = EventWriter::create(run, step)?;
        Ok(Self { path, file, events })
    }

    /// Appends one step.
    ///
    /// # Errors
    /// `Io` naming the file (a full disk, for example).
    pub fn write(&mut self, step: u64, scalars: &[(String, f64)]) -> Result<(), EngineError> {
        let mut line = Map::new();
        line.insert("step".into(), step.into());
        for (name, value) in scalars {
            line.insert(name.clone(), Value::from(*value));
        }
        writeln!(self.file, "{}", Value::Object(line)).map_err(EngineError::io(&self.path))?;
        self.events.write(step, scalars)
    }
}

/// Lines of a `metrics.jsonl`; a last line cut off by a crash is ignored, a missing file is empty.
///
/// # Errors
/// `Io` if the file exists but cannot be read.
pub fn read_metrics(path: &Path) -> Result<Vec<Value>, EngineError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(text
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(EngineError::io(path)(error)),
    }
}
