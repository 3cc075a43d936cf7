//! Atomic checkpoints: a directory that is either the old one or the new one, never a mixture.
//!
//! ```text
//! checkpoint/
//!   model.safetensors      everything trained so far: what this run trains, and what earlier stages trained;
//!                          on top of the base weights it is the complete result
//!   optimizer.safetensors  AdamW moments, and the factors of low-rank adapters, which are folded in above; of several
//!                          processes each has a file, optimizer-00001-of-00004.safetensors
//!   state.json             steps finished, identity of the run
//!   config.toml            its configuration, where it has one
//!   SHA256SUMS             checksums of these files, as `sha256sum` writes them
//! ```

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use deem_collective::{Collective, CollectiveError};
use deem_model::weights::{Checksum, LazyTensor, WeightsFile, sha256, write_stream};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::identity::RunIdentity;
use super::store::RunStore;
use crate::EngineError;
use crate::foundation::{CHECKSUMS, listed, parsed};

const MODEL: &str = "model.safetensors";
const OPTIMIZER: &str = "optimizer.safetensors";
const STATE: &str = "state.json";
const CONFIG: &str = "config.toml";
/// What the names of former checkpoints begin with; their step follows.
const KEPT: &str = "checkpoint-";

/// Where a run stands. Noise, timesteps and data order are functions of the seed and the step, so
/// this is all the random state there is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// Optimizer steps finished.
    pub step: u64,
    /// Everything that shapes the run.
    pub identity: RunIdentity,
}

/// What is written into a checkpoint.
pub struct Contents<'a> {
    /// Parameters that this run trains, and those that earlier stages trained.
    pub model: Vec<LazyTensor<'a>>,
    /// Moments of the optimizer.
    pub optimizer: Vec<LazyTensor<'a>>,
    /// Where the run stands.
    pub state: &'a State,
    /// The run's configuration as TOML.
    pub config: Option<&'a str>,
}

/// A checkpoint that has been read; its checksums were right.
#[derive(Debug)]
pub struct Saved {
    /// Its directory.
    pub folder: PathBuf,
    /// Where the run stood.
    pub state: State,
    /// Everything trained so far.
    pub model: WeightsFile,
    /// Moments of the optimizer, a file for each process that wrote it.
    pub optimizer: Vec<WeightsFile>,
}

impl Saved {
    /// A parameter's moment by name (`PATH.first`), put together if several processes shared it.
    pub fn moment(&self, name: &str) -> Option<Vec<f32>> {
        if let Some(values) = self.optimizer.iter().find_map(|file| file.f32(name)) {
            return Some(values);
        }
        let prefix = format!("{name}@");
        let mut parts: Vec<(usize, Vec<f32>)> = Vec::new();
        for file in &self.optimizer {
            for key in file.keys() {
                let from = key.strip_prefix(&prefix).and_then(|n| n.parse().ok());
                if let Some(from) = from {
                    parts.push((from, file.f32(key)?));
                }
            }
        }
        parts.sort_by_key(|(from, _)| *from);
        let mut values = Vec::new();
        for (from, part) in parts {
            if from != values.len() {
                return None;
            }
            values.extend(part);
        }
        (!values.is_empty()).then_some(values)
    }
}

/// The checkpoint of one run directory.
pub struct Checkpoint {
    root: PathBuf,
    keep: u64,
    store: Option<RunStore>,
}

impl Checkpoint {
    /// The checkpoint inside a run directory (which need not exist yet).
    pub fn of(run: &Path) -> Self {
        Self {
            root: run.to_owned(),
            keep: 1,
            store: None,
        }
    }

    /// It goes into an object store, too, and counts when it is there. Each process then has a folder of its own.
    pub(super) fn in_store(self, store: Option<RunStore>) -> Self {
        Self { store, ..self }
    }

    /// The newest `count` stay when another is written: the ones before under the names `checkpoint-STEP`.
    pub fn keep(self, count: u64) -> Self {
        Self {
            keep: count,
            ..self
        }
    }

    fn current(&self) -> PathBuf {
        self.root.join("checkpoint")
    }

    fn previous(&self) -> PathBuf {
        self.root.join("checkpoint.previous")
    }

    /// Weights of the newest checkpoint; where they will be, if there is none.
    pub fn weights(&self) -> PathBuf {
        let folder = self.newest().unwrap_or_else(|| self.current());
        folder.join(MODEL)
    }

    /// Directory of the newest complete checkpoint, if any.
    ///
    /// A crash between the two renames of [`Self::write`] leaves only the previous one.
    pub fn newest(&self) -> Option<PathBuf> {
        [self.current(), self.previous()]
            .into_iter()
            .find(|dir| dir.join(STATE).is_file())
    }

    /// Writes a checkpoint; the one before stays until the new one is on disk. Tensors are read one at a time. Of several
    /// processes each writes its part of the optimizer's state, the first one everything else: they share the folder.
    ///
    /// # Errors
    /// `Io` or `Weights` naming the file, `Processes` if another process failed; the former checkpoint is then
    /// untouched.
    pub fn write(&self, contents: Contents, processes: &dyn Collective) -> Result<(), EngineError> {
        self.begin(processes)?;
        let written = self.write_part(contents, &Part::of(processes));
        self.finish(written, processes)
    }

    /// Makes the folder that a checkpoint is written into.
    ///
    /// # Errors
    /// `Io` naming the folder, `Processes` if another process failed.
    pub(super) fn begin(&self, processes: &dyn Collective) -> Result<(), EngineError> {
        let begun = if processes.is_first() || self.store.is_some() {
            fresh(&self.part())
        } else {
            Ok(())
        };
        all_well(processes, begun.map(|()| String::new())).map(|_| ())
    }

    /// Writes what is a process's to write, without asking others; returns the checksums of the files.
    ///
    /// # Errors
    /// `Io` or `Weights` naming the file.
    pub(super) fn write_part(&self, contents: Contents, own: &Part) -> Result<Sums, EngineError> {
        let part = self.part();
        let Contents {
            mut model,
            mut optimizer,
            state,
            config,
        } = contents;
        let mut sums = Sums::new();
        let mut tensors = |name: &str, tensors: &mut [LazyTensor]| {
            let sum = write_tensors(&part.join(name), tensors)?;
            sums.insert(name.to_owned(), sum);
            Ok::<_, EngineError>(())
        };
        tensors(&own.optimizer, &mut optimizer)?;
        if own.first {
            tensors(MODEL, &mut model)?;
            let state = serde_json::to_string_pretty(state).expect("plain data");
            let texts = [(STATE, Some(state.as_str())), (CONFIG, config)];
            for (name, text) in texts {
                if let Some(text) = text {
                    write_text(&part.join(name), text)?;
                    sums.insert(name.to_owned(), sha256(text.as_bytes()));
                }
            }
        }
        if let Some(store) = &self.store {
            store.upload(&part, &sums)?;
        }
        Ok(sums)
    }

    /// Puts a folder in the place of the checkpoint once every process has written its part.
    ///
    /// # Errors
    /// That of writing, `Io` naming the file, `Processes` if another process failed.
    pub(super) fn finish(
        &self,
        written: Result<Sums, EngineError>,
        processes: &dyn Collective,
    ) -> Result<(), EngineError> {
        let part = self.part();
        let first = processes.is_first();
        let all = all_well(processes, written.map(|sums| listed(&sums)));
        let finished = match &all {
            Ok(lists) if first => {
                let sums = lists.iter().flat_map(|list| parsed(list)).collect();
                write_text(&part.join(CHECKSUMS), &listed(&sums))
                    .and_then(|()| sync_dir(&part))
                    .and_then(|()| self.publish(&part, &sums))
                    .and_then(|()| self.replace(&part))
            }
            _ => Ok(()),
        };
        let of_no_use = if first {
            all.is_err() || finished.is_err()
        } else {
            self.store.is_some()
        };
        if of_no_use {
            let _ = fs::remove_dir_all(&part);
        }
        all?;
        all_well(processes, finished.map(|()| String::new())).map(|_| ())
    }

    fn part(&self) -> PathBuf {
        self.root.join("checkpoint.part")
    }

    /// Has the object store name a complete folder, of which all processes have put their files there.
    fn publish(&self, part: &Path, sums: &Sums) -> Result<(), EngineError> {
        let Some(store) = &self.store else {
            return Ok(());
        };
        let step = Self::state(part)?.step;
        store.publish(&self.root, part, (step, sums), self.keep)
    }

    /// Puts a complete folder in the place of the checkpoint.
    fn replace(&self, part: &Path) -> Result<(), EngineError> {
        let (current, previous) = (self.current(), self.previous());
        if current.exists() {
            if previous.exists() {
                fs::remove_dir_all(&previous).map_err(EngineError::io(&previous))?;
            }
            fs::rename(&current, &previous).map_err(EngineError::io(&current))?;
        }
        fs::rename(part, &current).map_err(EngineError::io(part))?;
        sync_dir(&self.root)?;
        if previous.exists() {
            self.retire(&previous)?;
        }
        Ok(())
    }

    /// Keeps a former checkpoint under its step as long as it is one of the newest, and none that is older.
    fn retire(&self, former: &Path) -> Result<(), EngineError> {
        let remove = |path: &Path| fs::remove_dir_all(path).map_err(EngineError::io(path));
        if self.keep < 2 || self.store.is_some() {
            return remove(former);
        }
        let step = Self::state(former)?.step;
        let kept = self.root.join(format!("{KEPT}{step}"));
        if kept.exists() {
            remove(&kept)?;
        }
        fs::rename(former, &kept).map_err(EngineError::io(former))?;
        let mut steps = self.kept()?;
        while steps.len() as u64 >= self.keep {
            remove(&self.root.join(format!("{KEPT}{}", steps.remove(0))))?;
        }
        Ok(())
    }

    /// Steps of the former checkpoints that are there, the oldest first.
    fn kept(&self) -> Result<Vec<u64>, EngineError> {
        let entries = fs::read_dir(&self.root).map_err(EngineError::io(&self.root))?;
        let names = entries
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok());
        let mut steps: Vec<u64> = names
            .filter_map(|name| name.strip_prefix(KEPT)?.parse().ok())
            .collect();
        steps.sort_unstable();
        Ok(steps)
    }

    /// Reads the newest checkpoint, if any, and compares its checksums.
    ///
    /// # Errors
    /// `File` if its state, configuration or list of checksums is damaged or of an earlier version, `Weights` if
    /// its tensors are; all name the file.
    pub fn read(&self) -> Result<Option<Saved>, EngineError> {
        let Some(folder) = self.newest() else {
            return Ok(None);
        };
        let (state, sums) = read_state(&folder)?;
        let open = |name: &str| -> Result<WeightsFile, EngineError> {
            let sum = sums
                .get(name)
                .ok_or_else(|| unlisted(&folder.join(CHECKSUMS), name))?;
            Ok(WeightsFile::open_verified(&folder.join(name), sum)?)
        };
        let shards = sums.keys().filter(|name| name.starts_with("optimizer"));
        let optimizer = shards
            .map(|name| open(name))
            .collect::<Result<Vec<_>, _>>()?;
        if optimizer.is_empty() {
            return Err(unlisted(&folder.join(CHECKSUMS), OPTIMIZER));
        }
        Ok(Some(Saved {
            model: open(MODEL)?,
            optimizer,
            state,
            folder,
        }))
    }

    /// What a checkpoint's directory says of itself, without reading its tensors.
    ///
    /// # Errors
    /// `File` as [`Self::read`], `Io` if there is no checkpoint.
    pub fn state(folder: &Path) -> Result<State, EngineError> {
        Ok(read_state(folder)?.0)
    }
}

/// An empty folder.
fn fresh(part: &Path) -> Result<(), EngineError> {
    if part.exists() {
        fs::remove_dir_all(part).map_err(EngineError::io(part))?;
    }
    fs::create_dir_all(part).map_err(EngineError::io(part))
}

/// Checksums by file name.
pub(super) type Sums = BTreeMap<String, Checksum>;

/// What of a checkpoint is a process's to write.
#[derive(Clone, Debug)]
pub(super) struct Part {
    /// Name of its file of the optimizer's state.
    optimizer: String,
    /// Whether it writes everything else.
    first: bool,
}

impl Part {
    /// That of one of these processes.
    pub(super) fn of(processes: &dyn Collective) -> Self {
        let optimizer = match processes.size() {
            1 => OPTIMIZER.into(),
            size => format!(
                "optimizer-{:05}-of-{size:05}.safetensors",
                processes.rank() + 1
            ),
        };
        Self {
            optimizer,
            first: processes.is_first(),
        }
    }
}

/// What every process has to say, if none failed.
fn all_well(
    processes: &dyn Collective,
    own: Result<String, EngineError>,
) -> Result<Vec<String>, EngineError> {
    let told = match &own {
        Ok(text) => format!("+{text}"),
        Err(error) => format!("-{error}"),
    };
    let all = processes.all_gather(told.as_bytes())?;
    own?;
    let all = all.iter().enumerate().map(|(rank, told)| {
        let told = String::from_utf8_lossy(told);
        let failed = |reason: &str| CollectiveError::Aborted {
            rank,
            size: processes.size(),
            reason: reason.to_owned(),
        };
        match told.strip_prefix('+') {
            Some(text) => Ok(text.to_owned()),
            None => Err(failed(told.trim_start_matches('-')).into()),
        }
    });
    all.collect()
}

/// Writes tensors; returns the file's checksum.
fn write_tensors(path: &Path, tensors: &mut [LazyTensor]) -> Result<Checksum, EngineError> {
    write_stream(tensors, path, &HashMap::new())?;
    Ok(WeightsFile::open(path)?.checksum())
}

/// State and checksums of a checkpoint; the small files are compared with theirs.
fn read_state(folder: &Path) -> Result<(State, Sums), EngineError> {
    let path = folder.join(STATE);
    let bytes = fs::read(&path).map_err(EngineError::io(&path))?;
    let found: Value = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    if found.get("fingerprint").is_some() {
        return Err(EngineError::File {
            path,
            problem: format!(
                "made by a version of deem whose checkpoints did not say what they were trained with, so it cannot be \
                 resumed; start another run (--output) from its weights: --from {}",
                folder.join(MODEL).display()
            ),
        });
    }
    let list = folder.join(CHECKSUMS);
    let sums = checksums(&list)?;
    for name in [STATE, CONFIG] {
        let path = folder.join(name);
        match sums.get(name) {
            None if name == CONFIG => {}
            None => return Err(unlisted(&list, name)),
            Some(expected) => {
                let bytes = fs::read(&path).map_err(EngineError::io(&path))?;
                let found = sha256(&bytes);
                if found != *expected {
                    let problem = format!(
                        "damaged: expected checksum {expected}, found {found}; restore the file, or delete the run \
                         directory to start over"
                    );
                    return Err(EngineError::File { path, problem });
                }
            }
        }
    }
    let state = serde_json::from_slice(&bytes).map_err(|error| EngineError::File {
        path,
        problem: format!(
            "not a checkpoint state that this version of deem knows ({error}); use the version that made it, or \
             delete the run directory to start over"
        ),
    })?;
    Ok((state, sums))
}

/// What a list of checksums says.
fn checksums(list: &Path) -> Result<Sums, EngineError> {
    let text = fs::read_to_string(list).map_err(EngineError::io(list))?;
    Ok(parsed(&text))
}

fn unlisted(list: &Path, name: &str) -> EngineError {
    EngineError::File {
        path: list.into(),
        problem: format!(
            "damaged: no checksum of {name}; restore the file, or delete the run directory to start over"
        ),
    }
}

fn write_text(path: &Path, text: &str) -> Result<(), EngineError> {
    File::create(path)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        })
        .map_err(EngineError::io(path))
}

fn sync_dir(dir: &Path) -> Result<(), EngineError> {
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(EngineError::io(dir))
}

#[cfg(test)]
mod tests {
    use deem_collective::Alone;

    use super::*;
    use crate::config;
    use crate::train::{TrainConfig, floats};

    fn state(step: u64) -> State {
        let text = "save_every = 1\ngroups = []\nschedule = { steps = 2, warmup = 1 }";
        let train: TrainConfig = config::parse(text, &[]).unwrap();
        State {
            step,
            identity: RunIdentity::new("s", &train),
        }
    }

    fn write(checkpoint: &Checkpoint, step: u64) {
        checkpoint
            .write(
                Contents {
                    model: vec![floats("w", &[step as f32])],
                    optimizer: vec![floats("w.first", &[0.0])],
                    state: &state(step),
                    config: Some("batch = 1\n"),
                },
                &Alone,
            )
            .unwrap();
    }

    #[test]
    fn the_newest_checkpoint_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let checkpoint = Checkpoint::of(dir.path());
        assert!(checkpoint.read().unwrap().is_none());
        for step in [1, 2] {
            write(&checkpoint, step);
        }
        let saved = checkpoint.read().unwrap().unwrap();
        assert_eq!(saved.state, state(2));
        assert_eq!(saved.model.f32("w").unwrap(), [2.0]);
        assert_eq!(Checkpoint::state(&saved.folder).unwrap(), state(2));
    }

    #[test]
    fn a_crash_between_renames_falls_back_to_the_previous_one() {
        let dir = tempfile::tempdir().unwrap();
        let checkpoint = Checkpoint::of(dir.path());
        write(&checkpoint, 1);
        fs::rename(checkpoint.current(), checkpoint.previous()).unwrap();
        fs::create_dir(dir.path().join("checkpoint.part")).unwrap();
        assert_eq!(checkpoint.read().unwrap().unwrap().state.step, 1);
        write(&checkpoint, 2);
        assert_eq!(checkpoint.read().unwrap().unwrap().state.step, 2);
    }

    #[test]
    fn former_checkpoints_stay_as_long_as_wanted() {
        let dir = tempfile::tempdir().unwrap();
        let keeping = |count| Checkpoint::of(dir.path()).keep(count);
        for step in [9, 10, 11, 12] {
            write(&keeping(3), step);
        }
        assert_eq!(keeping(3).kept().unwrap(), [10, 11]);
        assert_eq!(keeping(3).read().unwrap().unwrap().state, state(12));
        let former = dir.path().join("checkpoint-11");
        assert_eq!(Checkpoint::state(&former).unwrap(), state(11));
        // Back to an earlier one, and on from there: the same names again.
        fs::remove_dir_all(keeping(3).current()).unwrap();
        fs::rename(&former, keeping(3).current()).unwrap();
        write(&keeping(2), 12);
        assert_eq!(keeping(2).kept().unwrap(), [11]);
        write(&keeping(1), 13);
        assert_eq!(keeping(1).kept().unwrap(), [11]);
    }

    #[test]
    fn a_damaged_file_is_named() {
        let names = [MODEL, OPTIMIZER, STATE, CONFIG];
        for name in names {
            let dir = tempfile::tempdir().unwrap();
            let checkpoint = Checkpoint::of(dir.path());
            write(&checkpoint, 1);
            let path = checkpoint.current().join(name);
            let mut bytes = fs::read(&path).unwrap();
            // The last byte belongs to a number in tensors.
            *bytes.last_mut().unwrap() ^= 1;
            fs::write(&path, bytes).unwrap();
            let message = checkpoint.read().unwrap_err().to_string();
            assert!(
                message.contains(name) && message.contains("checksum"),
                "{message}"
            );
        }
        let dir = tempfile::tempdir().unwrap();
        let checkpoint = Checkpoint::of(dir.path());
        write(&checkpoint, 1);
        let list = checkpoint.current().join(CHECKSUMS);
        let text = fs::read_to_string(&list).unwrap();
        let lines = text.lines().filter(|line| !line.ends_with(MODEL));
        let shorter: String = lines.map(|line| format!("{line}\n")).collect();
        fs::write(&list, shorter).unwrap();
        let message = checkpoint.read().unwrap_err().to_string();
        assert!(message.contains(CHECKSUMS), "{message}");
    }

    #[test]
    fn checkpoints_without_an_identity_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let checkpoint = Checkpoint::of(dir.path());
        write(&checkpoint, 1);
        let path = checkpoint.current().join(STATE);
        fs::write(&path, r#"{ "step": 1, "fingerprint": "ab" }"#).unwrap();
        fs::remove_file(checkpoint.current().join(CHECKSUMS)).unwrap();
        let message = checkpoint.read().unwrap_err().to_string();
        assert!(
            message.contains("state.json") && message.contains("--from"),
            "{message}"
        );
    }
}
