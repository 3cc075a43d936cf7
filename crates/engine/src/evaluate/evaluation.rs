//! An evaluation on disk: whose answers they are, and the answers.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;
use deem_data::Segment;
use deem_data::benchmark::{Candidates, Item, Mask, Picture};
use deem_metrics::answer::ParseMode;
use deem_metrics::figures::Family;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::records::record_files;
use super::{Answering, Answers, BenchmarkRegistry, Exam, Examiner, Record, RecordFile, Shard};
use crate::{EngineError, RunLock};

/// Which model answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelIdentity {
    /// Checksum of the weights, see [`weights_digest`].
    pub weights: String,
    /// Float type of activations, as `f32`.
    pub precision: String,
    /// Longest sequence in tokens.
    pub max_tokens: usize,
    /// How drawings are made and chosen, where the answers are drawings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drawing: Option<String>,
}

/// What was asked, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct BenchmarkIdentity {
    /// Number of questions in the files.
    questions: usize,
    /// Checksum of the questions as the files have them.
    files: String,
    /// Checksum of the prompts.
    prompts: String,
    /// How answers are had.
    answering: Answering,
}

/// Whose answers a folder holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Identity {
    model: ModelIdentity,
    benchmarks: BTreeMap<String, BenchmarkIdentity>,
}

/// A folder with the answers of one model to one or more benchmarks: `evaluation.json` says whose they are,
/// `records.jsonl` (or a file for each share) holds them. Locked for as long as this value lives.
pub struct Evaluation {
    folder: PathBuf,
    file: RecordFile,
    shard: Shard,
    #[allow(dead_code)] // held, not used
    lock: RunLock,
}

const IDENTITY: &str = "evaluation.json";

impl Evaluation {
    /// Opens the folder that `lock` guards for the answers of `model` to `exams` (with all their questions), keeping what
    /// it holds. Benchmarks may be added later. `shard` is the share of the questions that this process asks; `lock`
    /// must be that share's.
    ///
    /// # Errors
    /// `OtherAnswers` naming what differs if it belongs to another model, other
    /// files or other prompts; `Io` and `File` naming the file.
    pub fn open(
        folder: &Path,
        lock: RunLock,
        model: &ModelIdentity,
        exams: &[Exam],
        shard: Shard,
    ) -> Result<Self, EngineError> {
        let path = folder.join(IDENTITY);
        let now = exams.iter().map(|exam| {
            let name = exam.benchmark.name().to_owned();
            (name, BenchmarkIdentity::of(exam))
        });
        let mut identity = Identity {
            model: model.clone(),
            benchmarks: now.collect(),
        };
        match fs::read_to_string(&path) {
            Ok(text) => {
                let there: Identity =
                    serde_json::from_str(&text).map_err(|error| EngineError::File {
                        path: path.clone(),
                        problem: format!(
                            "not written by this version of deem ({error}); choose another --output, or delete \
                             the folder to start over"
                        ),
                    })?;
                let differences = identity.differences(&there);
                if !differences.is_empty() {
                    return Err(EngineError::OtherAnswers {
                        path: folder.into(),
                        differences,
                    });
                }
                for (name, benchmark) in there.benchmarks {
                    identity.benchmarks.entry(name).or_insert(benchmark);
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                if let Some(records) = record_files(folder)?.into_iter().next() {
                    return Err(EngineError::File {
                        path: records,
                        problem: format!(
                            "answers without {IDENTITY}, which says whose they are; choose another --output"
                        ),
                    });
                }
            }
            Err(error) => return Err(EngineError::io(&path)(error)),
        }
        let json = serde_json::to_string_pretty(&identity).expect("plain data");
        // Shares write the same, each its own file first.
        let temporary = folder.join(format!("{IDENTITY}{}.part", shard.suffix()));
        fs::write(&temporary, json + "\n").map_err(EngineError::io(&temporary))?;
        fs::rename(&temporary, &path).map_err(EngineError::io(&path))?;
        Ok(Self {
            folder: folder.into(),
            file: RecordFile::open_share(folder, shard)?,
            shard,
            lock,
        })
    }

    /// The folder of the answers.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The answers so far to the questions of an exam, in its order, of all shares.
    pub fn records(&self, exam: &Exam) -> Vec<Record> {
        let name = exam.benchmark.name();
        let own = |item: &Item| self.file.get(name, &item.part, &item.id).cloned();
        exam.items.iter().filter_map(own).collect()
    }

    /// Asks what has not been answered yet of this share, and gives the figures of the exam; nothing while other shares
    /// have questions left. See [`Examiner::run`].
    ///
    /// # Errors
    /// Those of [`Examiner::run`] and of the figures.
    pub fn run(
        &mut self,
        examiner: &dyn Examiner,
        exam: &Exam,
        tick: &mut dyn FnMut(usize) -> bool,
    ) -> Result<Option<Family>, EngineError> {
        examiner.run(exam, &mut self.file, self.shard, tick)?;
        if !self.shard.is_whole() {
            self.file.refresh()?;
        }
        let name = exam.benchmark.name();
        let records = self.records(exam);
        if records.len() < exam.items.len() {
            return Ok(None);
        }
        let registry = BenchmarkRegistry::default().with_shared(exam.benchmark.clone());
        let mut answers = Answers::new(&registry, ParseMode::Strict);
        answers.add(0, records);
        let figures = answers.families()?.into_iter().next();
        let figures =
            figures.ok_or_else(|| EngineError::Config(format!("{name}: no questions to ask")))?;
        Ok(Some(figures))
    }
}

impl Identity {
    /// What differs between the answers in a folder and those that are to be added, each with both values.
    fn differences(&self, there: &Self) -> Vec<String> {
        let mut differences = Vec::new();
        let mut compare = |what: String, there: &dyn ToString, now: &dyn ToString| {
            let (there, now) = (there.to_string(), now.to_string());
            if there != now {
                differences.push(format!("{what} {there} there, {now} now"));
            }
        };
        let (model, other) = (&self.model, &there.model);
        let short = |digest: &str| digest.chars().take(12).collect::<String>();
        compare(
            "the model's weights".into(),
            &short(&other.weights),
            &short(&model.weights),
        );
        compare("precision".into(), &other.precision, &model.precision);
        compare(
            "the longest sequence".into(),
            &other.max_tokens,
            &model.max_tokens,
        );
        let way = |identity: &ModelIdentity| identity.drawing.clone().unwrap_or("none".into());
        compare("way of drawing".into(), &way(other), &way(model));
        for (name, now) in &self.benchmarks {
            let Some(there) = there.benchmarks.get(name) else {
                continue;
            };
            compare(
                format!("{name}: number of questions"),
                &there.questions,
                &now.questions,
            );
            compare(
                format!("{name}: benchmark files"),
                &short(&there.files),
                &short(&now.files),
            );
            compare(
                format!("{name}: prompts"),
                &short(&there.prompts),
                &short(&now.prompts),
            );
            let answering = |identity: &BenchmarkIdentity| {
                serde_json::to_string(&identity.answering).expect("plain data")
            };
            compare(
                format!("{name}: way of answering"),
                &answering(there),
                &answering(now),
            );
        }
        differences
    }
}

impl BenchmarkIdentity {
    fn of(exam: &Exam) -> Self {
        let (mut files, mut prompts) = (Sha256::new(), Sha256::new());
        let mut shared: Option<&Arc<Candidates>> = None;
        for item in &exam.items {
            if let Some(candidates) = &item.candidates
                && !shared.is_some_and(|last| Arc::ptr_eq(last, candidates))
            {
                add_candidates(candidates, &mut files, &mut prompts);
                shared = Some(candidates);
            }
            let picture = match &item.picture {
                Picture::Memory { image, .. } => hex(&Sha256::digest(image.as_raw())),
                Picture::Encoded { bytes, .. } => hex(&Sha256::digest(bytes)),
                Picture::File(_) | Picture::Shard { .. } => item.picture.id(),
            };
            for text in [
                &item.id,
                &item.part,
                &item.question,
                &item.cluster,
                &picture,
            ]
            .into_iter()
            .chain(&item.options)
            .chain(&item.answers)
            .chain(&item.pattern)
            {
                add(&mut files, text.as_bytes());
            }
            match &item.mask {
                None => {}
                Some(Mask::Pixels(mask)) => add(&mut files, mask.as_raw()),
                Some(Mask::Segmentation(mask)) => add(&mut files, format!("{mask:?}").as_bytes()),
            }
            for value in &item.relevance {
                add(&mut files, &value.to_le_bytes());
            }
            let question = exam.benchmark.ask(item);
            for segment in &question.segments {
                match segment {
                    Segment::Text { text, .. } => add(&mut prompts, text.as_bytes()),
                    other => add(&mut prompts, format!("{other:?}").as_bytes()),
                }
            }
            add(&mut prompts, format!("{:?}", question.form).as_bytes());
        }
        Self {
            questions: exam.items.len(),
            files: hex(&files.finalize()),
            prompts: hex(&prompts.finalize()),
            answering: exam.benchmark.answering(),
        }
    }
}

/// What all questions of a part choose among: names are files', wordings are prompts.
fn add_candidates(candidates: &Candidates, files: &mut Sha256, prompts: &mut Sha256) {
    for name in candidates.names() {
        add(files, name.as_bytes());
    }
    if let Candidates::Texts(texts) = candidates {
        for wording in texts.iter().flat_map(|text| &text.wordings) {
            add(prompts, wording.as_bytes());
        }
    }
}

/// Checksum of a model's parameters as they lie in memory, whatever files they came from: SHA-256 of names, types,
/// shapes and values, one parameter at a time.
pub fn weights_digest<M: Module>(model: &M) -> String {
    struct Parameters {
        path: Vec<String>,
        digest: Sha256,
    }

    impl ModuleVisitor for Parameters {
        fn enter_module(&mut self, name: &str, _container: &str) {
            self.path.push(name.to_owned());
        }

        fn exit_module(&mut self, _name: &str, _container: &str) {
            self.path.pop();
        }

        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let data = param.val().into_data();
            let head = format!(
                "{} {:?} {:?}",
                self.path.join("."),
                data.dtype(),
                data.shape()
            );
            add(&mut self.digest, head.as_bytes());
            add(&mut self.digest, data.as_bytes());
        }
    }

    let mut parameters = Parameters {
        path: Vec::new(),
        digest: Sha256::new(),
    };
    model.visit(&mut parameters);
    hex(&parameters.digest.finalize())
}

/// Adds bytes so that no two lists of them give the same.
fn add(digest: &mut Sha256, bytes: &[u8]) {
    digest.update((bytes.len() as u64).to_le_bytes());
    digest.update(bytes);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
