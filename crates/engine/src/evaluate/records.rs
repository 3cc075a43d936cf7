//! One JSON line per question: what was asked, what was answered, what it was worth.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::EngineError;

/// One answered question.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Unique within the benchmark.
    pub id: String,
    /// Benchmark and split, as `pope/random`.
    pub benchmark: String,
    /// Image (or pair) that several questions share: the unit of the intervals.
    pub cluster: String,
    /// Sub-category, where the benchmark has any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// The whole prompt, images written as `<image>`.
    pub prompt: String,
    /// The options of a choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub options: Option<[String; 2]>,
    /// What is right (for descriptions: the references).
    pub truth: Vec<String>,
    /// What the model said, verbatim.
    pub answer: String,
    /// Logit of "yes" minus logit of "no" at the first answered position; for a choice, log-probability
    /// of the first option minus that of the second.
    pub margin: f64,
    /// Why the question could not be asked (an unreadable picture); it then counts as wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The records of one evaluation, appended as they are made.
pub struct RecordFile {
    path: PathBuf,
    file: File,
    done: BTreeMap<String, Record>,
}

impl RecordFile {
    /// Opens a file, keeping the records it already holds; a last line cut off by a crash is dropped.
    ///
    /// # Errors
    /// `Io` naming the file.
    pub fn open(path: &Path) -> Result<Self, EngineError> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(EngineError::io(folder))?;
        }
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(EngineError::io(path)(error)),
        };
        let done: Vec<Record> = text
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect();
        if done.len() != text.lines().count() || !(text.is_empty() || text.ends_with('\n')) {
            let kept: String = done.iter().map(line).collect();
            fs::write(path, kept).map_err(EngineError::io(path))?;
        }
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .map_err(EngineError::io(path))?;
        Ok(Self {
            path: path.into(),
            file,
            done: done
                .into_iter()
                .map(|r| (key(&r.benchmark, &r.id), r))
                .collect(),
        })
    }

    /// Whether a question has been answered.
    pub fn has(&self, benchmark: &str, id: &str) -> bool {
        self.done.contains_key(&key(benchmark, id))
    }

    /// Appends a record and hands it to the operating system.
    ///
    /// # Errors
    /// `Io` naming the file.
    pub fn push(&mut self, record: Record) -> Result<(), EngineError> {
        self.file
            .write_all(line(&record).as_bytes())
            .map_err(EngineError::io(&self.path))?;
        self.done.insert(key(&record.benchmark, &record.id), record);
        Ok(())
    }

    /// All records of benchmarks that start with `prefix`, by id.
    pub fn of<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a Record> {
        self.done
            .values()
            .filter(move |record| record.benchmark.starts_with(prefix))
    }
}

fn key(benchmark: &str, id: &str) -> String {
    format!("{benchmark}\u{0}{id}")
}

fn line(record: &Record) -> String {
    serde_json::to_string(record).expect("plain data") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(id: &str) -> Record {
        Record {
            id: id.into(),
            benchmark: "pope/random".into(),
            cluster: "1.png".into(),
            pattern: None,
            prompt: "Is there a cat in the image?".into(),
            options: None,
            truth: vec!["yes".into()],
            error: None,
            answer: "yes".into(),
            margin: 1.5,
        }
    }

    #[test]
    fn a_cut_line_is_dropped_and_the_rest_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("records.jsonl");
        let mut file = RecordFile::open(&path).unwrap();
        file.push(record("1")).unwrap();
        file.push(record("2")).unwrap();
        drop(file);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, &text[..text.len() - 10]).unwrap();
        let mut file = RecordFile::open(&path).unwrap();
        assert!(file.has("pope/random", "1") && !file.has("pope/random", "2"));
        file.push(record("2")).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
        assert_eq!(file.of("pope/").count(), 2);
        assert_eq!(file.of("mmvp").count(), 0);
    }
}
