//! One JSON line per question: what was asked, what was answered, what it was worth.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{AnswerForm, Shard};
use crate::EngineError;
use crate::lines::whole_lines;

/// One answered question.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Unique within the part.
    pub id: String,
    /// Benchmark, as `pope`.
    pub benchmark: String,
    /// Part of the benchmark, as `random`.
    pub part: String,
    /// Image (or pair) that several questions share: the unit of the intervals.
    pub cluster: String,
    /// Sub-category, where the benchmark has any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// The picture's name.
    pub image: String,
    /// SHA-256 of the picture's file in hexadecimal (of its pixels, if it never was one); nothing if unreadable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_sha256: Option<String>,
    /// The whole prompt, images written as `<image>`.
    pub prompt: String,
    /// The options of a choice.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
    /// How the answer is read.
    pub form: AnswerForm,
    /// What is right (for descriptions: the references).
    pub truth: Vec<String>,
    /// How relevant each option is (VisDial), in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub relevance: Vec<f64>,
    /// What the model wrote, verbatim; if it was asked by likelihood alone, the option that it chose.
    pub answer: String,
    /// What the answer says, see [`super::parsed`]; nothing if that is not clear.
    pub parsed: Option<String>,
    /// What that is worth in [0, 1], see [`super::value`].
    pub score: f64,
    /// Logit of "yes" minus logit of "no" at the first written position; of candidates, the cosine of the best right one minus
    /// that of the best wrong one.
    pub margin: f64,
    /// The options by likelihood, where they were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub likelihood: Option<Likelihood>,
    /// Of candidates, the place of the best right one among all, from 1; nothing if no right one can be had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rank: Option<usize>,
    /// Time that the answer took, in seconds: its share of the batch it was part of.
    pub seconds: f64,
    /// Why the question could not be asked (an unreadable picture, more text than a sequence holds); it then counts as wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// How likely each option of a choice is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Likelihood {
    /// Log-probability of each option as a whole answer, in nats.
    pub log_probabilities: Vec<f64>,
    /// The likeliest option, from 0; the first of equals.
    pub chosen: usize,
}

impl Likelihood {
    /// Of the log-probabilities of the options.
    pub fn new(log_probabilities: Vec<f64>) -> Self {
        let mut chosen = 0;
        for (at, value) in log_probabilities.iter().enumerate() {
            if *value > log_probabilities[chosen] {
                chosen = at;
            }
        }
        Self {
            log_probabilities,
            chosen,
        }
    }
}

/// What names a record: benchmark, part, id.
type Key = (String, String, String);

impl Record {
    fn key(&self) -> Key {
        (self.benchmark.clone(), self.part.clone(), self.id.clone())
    }
}

/// The records of one evaluation, appended as they are made.
pub struct RecordFile {
    path: PathBuf,
    file: File,
    done: BTreeMap<Key, Record>,
}

/// Name of the file of records, and the beginning of the names of shares'.
const NAME: &str = "records";

/// The whole lines of a file of records, as they are and what they say; nothing if it is not there. And whether something
/// follows them.
fn whole_records(path: &Path) -> Result<(Vec<(String, Record)>, bool), EngineError> {
    let (whole, cut) = whole_lines(path)?;
    let mut records = Vec::new();
    for (number, line) in whole.lines().enumerate() {
        let record = serde_json::from_str(line).map_err(|error| EngineError::File {
            path: path.into(),
            problem: format!(
                "line {}: not a record of this version of deem ({error}); \
                 choose another --output, or delete the file to start over",
                number + 1
            ),
        })?;
        records.push((line.to_owned(), record));
    }
    Ok((records, cut))
}

/// The files of records in a folder, one or one a share, sorted.
///
/// # Errors
/// `Io` naming the folder.
pub fn record_files(folder: &Path) -> Result<Vec<PathBuf>, EngineError> {
    let entries = fs::read_dir(folder).map_err(EngineError::io(folder))?;
    let mut files: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with(NAME) && name.ends_with(".jsonl")
        })
        .collect();
    files.sort();
    Ok(files)
}

/// All records in a folder, of all shares.
///
/// # Errors
/// `Io` naming a file; `File` naming a line that is no record.
pub fn saved_records(folder: &Path) -> Result<Vec<Record>, EngineError> {
    let mut done = BTreeMap::new();
    for file in record_files(folder)? {
        let (records, _) = whole_records(&file)?;
        done.extend(
            records
                .into_iter()
                .map(|(_, record)| (record.key(), record)),
        );
    }
    Ok(done.into_values().collect())
}

impl RecordFile {
    /// Opens a file, keeping the records it already holds. A last line cut off by a crash is dropped, and so are questions
    /// that could not be asked, as of pictures that were not there: they are asked again.
    ///
    /// # Errors
    /// `Io` naming the file; `File` naming a line that is no record.
    pub fn open(path: &Path) -> Result<Self, EngineError> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(EngineError::io(folder))?;
        }
        let (mut records, cut) = whole_records(path)?;
        let count = records.len();
        records.retain(|(_, record)| record.error.is_none());
        if cut || records.len() < count {
            let lines: String = records
                .iter()
                .map(|(line, _)| format!("{line}\n"))
                .collect();
            let part = path.with_extension("part");
            fs::write(&part, lines).map_err(EngineError::io(&part))?;
            fs::rename(&part, path).map_err(EngineError::io(path))?;
        }
        let records = records.into_iter();
        let done = records.map(|(_, record)| (record.key(), record)).collect();
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .map_err(EngineError::io(path))?;
        Ok(Self {
            path: path.into(),
            file,
            done,
        })
    }

    /// Opens the file of a share in a folder, and takes in what other shares have answered.
    ///
    /// # Errors
    /// As [`Self::open`], for any of the files.
    pub fn open_share(folder: &Path, shard: Shard) -> Result<Self, EngineError> {
        let mut own = Self::open(&folder.join(format!("{NAME}{}.jsonl", shard.suffix())))?;
        own.refresh()?;
        Ok(own)
    }

    /// Takes in what other shares have answered meanwhile.
    ///
    /// # Errors
    /// As [`saved_records`].
    pub fn refresh(&mut self) -> Result<(), EngineError> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        for record in saved_records(folder)? {
            self.done.entry(record.key()).or_insert(record);
        }
        Ok(())
    }

    /// The record of a question, if it has been answered.
    pub fn get(&self, benchmark: &str, part: &str, id: &str) -> Option<&Record> {
        let key = (benchmark.to_owned(), part.to_owned(), id.to_owned());
        self.done.get(&key)
    }

    /// Appends a record and hands it to the operating system.
    ///
    /// # Errors
    /// `Io` naming the file.
    pub fn push(&mut self, record: Record) -> Result<(), EngineError> {
        self.file
            .write_all(line(&record).as_bytes())
            .map_err(EngineError::io(&self.path))?;
        self.done.insert(record.key(), record);
        Ok(())
    }

    /// All records, by benchmark, part and id.
    pub fn all(&self) -> impl Iterator<Item = &Record> {
        self.done.values()
    }
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
            benchmark: "pope".into(),
            part: "random".into(),
            cluster: "1.png".into(),
            pattern: None,
            image: "1.png".into(),
            image_sha256: None,
            prompt: "Is there a cat in the image?".into(),
            options: vec![],
            form: AnswerForm::YesNo,
            truth: vec!["yes".into()],
            relevance: vec![],
            answer: "yes".into(),
            parsed: Some("yes".into()),
            score: 1.0,
            margin: 1.5,
            likelihood: None,
            rank: None,
            seconds: 0.25,
            error: None,
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
        assert_eq!(file.get("pope", "random", "1"), Some(&record("1")));
        assert_eq!(file.get("pope", "random", "2"), None);
        file.push(record("2")).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
        assert_eq!(file.all().count(), 2);
    }

    #[test]
    fn what_could_not_be_asked_is_asked_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("records.jsonl");
        let lost = Record {
            error: Some("1.png: not there".into()),
            score: 0.0,
            ..record("1")
        };
        let mut file = RecordFile::open(&path).unwrap();
        file.push(lost.clone()).unwrap();
        file.push(record("2")).unwrap();
        assert_eq!(file.get("pope", "random", "1"), Some(&lost));
        let mut file = RecordFile::open(&path).unwrap();
        assert_eq!(file.get("pope", "random", "1"), None);
        assert_eq!(file.get("pope", "random", "2"), Some(&record("2")));
        file.push(record("1")).unwrap();
        let saved = saved_records(dir.path()).unwrap();
        assert_eq!(saved, [record("1"), record("2")]);
    }

    #[test]
    fn a_line_of_something_else_is_named_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("records.jsonl");
        fs::write(&path, "{\"id\": 3}\n").unwrap();
        let error = RecordFile::open(&path).err().unwrap().to_string();
        assert!(
            error.contains("records.jsonl") && error.contains("line 1"),
            "{error}"
        );
        assert!(path.metadata().unwrap().len() > 0);
    }
}
