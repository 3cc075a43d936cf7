//! A run's folder in an object store: its newest checkpoints, for whoever goes on with it, on whichever machine.
//!
//! ```text
//! index.json                      the checkpoints that there are, the newest last, and what each consists of
//! parts/SHA256-model.safetensors  files, under their checksums
//! ```
//!
//! A file never changes under its name, and the index, which is one object and appears whole, is put there when all files
//! that it names are: so it names a complete checkpoint whenever a run is killed. What it no longer names is removed
//! afterwards. Each process puts there what it wrote; the first one puts the index.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use deem_data::storage::{Bucket, Location};
use deem_model::weights::{Checksum, sha256};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::checkpoint::{Checkpoint, Sums};
use crate::EngineError;
use crate::foundation::CHECKSUMS;

const INDEX: &str = "index.json";
const PARTS: &str = "parts";
/// Where files of a checkpoint lie in a run's folder.
const CHECKPOINT: &str = "checkpoint";

/// A run's folder in an object store.
#[derive(Clone, Debug)]
pub struct RunStore(Bucket);

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Index {
    /// The newest last.
    checkpoints: Vec<Stored>,
}

/// A complete checkpoint.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    step: u64,
    /// Checksums of the files that a run goes on from, by their paths in its folder.
    files: BTreeMap<String, Checksum>,
}

/// The object that a file is.
fn object(path: &str, sum: &str) -> String {
    let name = path.rsplit('/').next().unwrap_or(path);
    format!("{PARTS}/{sum}-{name}")
}

impl RunStore {
    /// That at an address.
    ///
    /// # Errors
    /// `Data` naming the address if it is none of an object store.
    pub fn at(address: &Location) -> Result<Self, EngineError> {
        Ok(Self(Bucket::at(address)?))
    }

    /// That in a bucket.
    pub fn of(bucket: Bucket) -> Self {
        Self(bucket)
    }

    /// Its address.
    pub fn address(&self) -> String {
        self.0.location().to_string()
    }

    /// Puts files of a folder there.
    ///
    /// # Errors
    /// `Data` naming the file or its address.
    pub(super) fn upload(&self, folder: &Path, sums: &Sums) -> Result<(), EngineError> {
        for (name, sum) in sums {
            let object = object(name, sum);
            if self.0.size(&object)?.is_none() {
                self.0.put_file(&object, &folder.join(name))?;
            }
        }
        Ok(())
    }

    /// Makes a checkpoint of which all files are there the newest one, with the log and whatever else lies in the run's folder.
    /// The newest `keep` stay.
    ///
    /// # Errors
    /// `Io` and `Data` naming the file or its address; the newest one is then what it was.
    pub(super) fn publish(
        &self,
        run: &Path,
        folder: &Path,
        (step, sums): (u64, &Sums),
        keep: u64,
    ) -> Result<(), EngineError> {
        let mut files: BTreeMap<String, Checksum> = BTreeMap::new();
        let within = |name: &str| format!("{CHECKPOINT}/{name}");
        files.extend(sums.iter().map(|(n, sum)| (within(n), sum.clone())));
        let list = folder.join(CHECKSUMS);
        let beside = beside(run)?.into_iter();
        let beside = beside.chain([(within(CHECKSUMS), list)]);
        for (name, path) in beside {
            // Read once: a log grows.
            let bytes = fs::read(&path).map_err(EngineError::io(&path))?;
            let sum = sha256(&bytes);
            let object = object(&name, &sum);
            if self.0.size(&object)?.is_none() {
                self.0.put(&object, bytes)?;
            }
            files.insert(name, sum);
        }
        let mut index = self.index()?;
        index.checkpoints.retain(|stored| stored.step < step);
        index.checkpoints.push(Stored { step, files });
        let former = index.checkpoints.len().saturating_sub(keep.max(1) as usize);
        index.checkpoints.drain(..former);
        let text = serde_json::to_vec_pretty(&index).expect("plain data");
        self.0.put(INDEX, text)?;
        self.sweep(&index)
    }

    /// Removes what no checkpoint needs: of former ones, and of those that were not finished.
    fn sweep(&self, index: &Index) -> Result<(), EngineError> {
        let files = index.checkpoints.iter().flat_map(|stored| &stored.files);
        let needed: BTreeSet<String> = files.map(|(path, sum)| object(path, sum)).collect();
        for name in self.0.list(PARTS)? {
            let object = format!("{PARTS}/{name}");
            if !needed.contains(&object) {
                self.0.delete(&object)?;
            }
        }
        Ok(())
    }

    fn index(&self) -> Result<Index, EngineError> {
        let Some(bytes) = self.0.get(INDEX)? else {
            return Ok(Index::default());
        };
        serde_json::from_slice(&bytes).map_err(|error| EngineError::File {
            path: PathBuf::from(self.0.location().join(INDEX).to_string()),
            problem: format!("no index of a run's checkpoints ({error}); choose another --output"),
        })
    }

    /// Makes a run's folder on this machine what the newest checkpoint there says; gives its step. Of what the folder has already
    /// nothing is fetched.
    ///
    /// # Errors
    /// `Data` naming an address, `Io` a file; `File` for a file whose content is not what the index says, and for a folder
    /// with a checkpoint of another run.
    pub fn pull(&self, run: &Path) -> Result<Option<u64>, EngineError> {
        let mut index = self.index()?;
        let current = run.join(CHECKPOINT);
        let Some(newest) = index.checkpoints.pop() else {
            if let Some(path) = Checkpoint::of(run).newest() {
                return Err(EngineError::File {
                    path,
                    problem: format!(
                        "a checkpoint, but {} has none; remove it, or choose another --scratch",
                        self.address()
                    ),
                });
            }
            return Ok(None);
        };
        let list = format!("{CHECKPOINT}/{CHECKSUMS}");
        let fresh = run.join(format!("{CHECKPOINT}.fetched"));
        let complete = newest.files.get(&list) == checksum(&run.join(&list))?.as_ref()
            && newest.files.keys().all(|name| run.join(name).is_file());
        for folder in [run, &fresh] {
            fs::create_dir_all(folder).map_err(EngineError::io(folder))?;
        }
        for (name, sum) in &newest.files {
            let place = match name.strip_prefix(CHECKPOINT) {
                Some(_) if complete => continue,
                Some(own) => fresh.join(own.trim_start_matches('/')),
                None => run.join(name),
            };
            self.fetch(name, sum, &place)?;
        }
        if !complete {
            if current.exists() {
                fs::remove_dir_all(&current).map_err(EngineError::io(&current))?;
            }
            fs::rename(&fresh, &current).map_err(EngineError::io(&fresh))?;
        } else {
            fs::remove_dir_all(&fresh).map_err(EngineError::io(&fresh))?;
        }
        Ok(Some(newest.step))
    }

    /// A file, unless it is there.
    fn fetch(&self, name: &str, sum: &Checksum, place: &Path) -> Result<(), EngineError> {
        if checksum(place)?.as_ref() == Some(sum) {
            return Ok(());
        }
        let object = object(name, sum);
        let part = place.with_added_extension("part");
        self.0.get_file(&object, &part)?;
        let found = checksum(&part)?;
        if found.as_ref() != Some(sum) {
            return Err(EngineError::File {
                path: PathBuf::from(self.0.location().join(&object).to_string()),
                problem: format!(
                    "checksum: expected {sum}, found {}; the object is damaged",
                    found.unwrap_or_default()
                ),
            });
        }
        fs::rename(&part, place).map_err(EngineError::io(&part))
    }
}

/// Files of a run's folder that are kept beside checkpoints: its log, its description.
fn beside(run: &Path) -> Result<Vec<(String, PathBuf)>, EngineError> {
    let entries = fs::read_dir(run).map_err(EngineError::io(run))?;
    let files = entries.flatten().filter(|entry| entry.path().is_file());
    let named =
        files.filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.path())));
    let kept = named.filter(|(name, _)| {
        let of_this_machine = name == "lock" || name.starts_with("rank-");
        let plain = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
        let of_no_run =
            name.starts_with('.') || name.ends_with(".part") || !name.chars().all(plain);
        !of_this_machine && !of_no_run
    });
    Ok(kept.collect())
}

/// SHA-256 of a file; nothing if there is none.
fn checksum(path: &Path) -> Result<Option<Checksum>, EngineError> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(EngineError::io(path)(error)),
    };
    let mut hasher = Sha256::new();
    let mut piece = vec![0; 1 << 20];
    loop {
        let length = file.read(&mut piece).map_err(EngineError::io(path))?;
        if length == 0 {
            break;
        }
        hasher.update(&piece[..length]);
    }
    let sum = hasher.finalize();
    Ok(Some(sum.iter().map(|byte| format!("{byte:02x}")).collect()))
}

#[cfg(test)]
mod tests {
    use deem_collective::{Alone, Collective, Threads};

    use super::*;
    use crate::config;
    use crate::train::checkpoint::{Contents, Part, State};
    use crate::train::{RunIdentity, TrainConfig, floats};

    fn state(step: u64) -> State {
        let text = "save_every = 1\ngroups = []\nschedule = { steps = 9, warmup = 1 }";
        let train: TrainConfig = config::parse(text, &[]).unwrap();
        State {
            step,
            identity: RunIdentity::new("s", &train),
        }
    }

    /// Everything has the step as its value.
    fn contents<'a>(state: &'a State, values: &'a [f32; 1]) -> Contents<'a> {
        let own = |name: &str| vec![floats(name, values)];
        Contents {
            model: own("w"),
            optimizer: own("w.first"),
            state,
            config: None,
        }
    }

    fn checkpoint(run: &Path, store: &RunStore, keep: u64) -> Checkpoint {
        fs::create_dir_all(run).unwrap();
        Checkpoint::of(run).keep(keep).in_store(Some(store.clone()))
    }

    /// What another machine finds.
    fn elsewhere(store: &RunStore) -> Option<u64> {
        let folder = tempfile::tempdir().unwrap();
        let step = store.pull(folder.path()).unwrap()?;
        let saved = Checkpoint::of(folder.path()).read().unwrap().unwrap();
        assert_eq!(saved.state, state(step));
        assert_eq!(saved.model.f32("w").unwrap(), [step as f32]);
        assert_eq!(saved.moment("w.first").unwrap(), [step as f32]);
        Some(step)
    }

    fn parts(store: &RunStore) -> usize {
        store.0.list(PARTS).unwrap().len()
    }

    #[test]
    fn a_checkpoint_counts_when_the_index_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let store = RunStore::of(Bucket::in_memory());
        let write = |step, keep| {
            let state = state(step);
            let checkpoint = checkpoint(folder.path(), &store, keep);
            checkpoint
                .write(contents(&state, &[step as f32]), &Alone)
                .unwrap();
        };
        assert_eq!(elsewhere(&store), None);
        fs::write(folder.path().join("rank-1.log"), "of this machine").unwrap();
        for step in [1, 2] {
            write(step, 1);
            assert_eq!((elsewhere(&store), parts(&store)), (Some(step), 4));
        }
        // As killed before the index: everything of step 3 is there, and step 2 counts.
        let state = state(3);
        let unfinished = checkpoint(folder.path(), &store, 1);
        unfinished.begin(&Alone).unwrap();
        let sums = unfinished.write_part(contents(&state, &[3.0]), &Part::of(&Alone));
        assert_eq!(sums.unwrap().len(), 3);
        assert_eq!((elsewhere(&store), parts(&store)), (Some(2), 7));
        // The next one sweeps what nobody needs; two are kept then.
        write(4, 2);
        assert_eq!((elsewhere(&store), parts(&store)), (Some(4), 8));
        // Back here nothing is fetched, whatever was lost meanwhile.
        let index = store.index().unwrap();
        let (_, sum) = index.checkpoints[1].files.iter().next().unwrap();
        for name in store.0.list(PARTS).unwrap() {
            if name.starts_with(sum.as_str()) {
                store.0.put(&format!("{PARTS}/{name}"), vec![0]).unwrap();
            }
        }
        assert_eq!(store.pull(folder.path()).unwrap(), Some(4));
        let other = tempfile::tempdir().unwrap();
        let error = store.pull(other.path()).unwrap_err().to_string();
        assert!(error.contains("damaged") && error.contains(sum), "{error}");
    }

    #[test]
    fn processes_with_disks_of_their_own_make_one_checkpoint() {
        let folder = tempfile::tempdir().unwrap();
        let store = RunStore::of(Bucket::in_memory());
        std::thread::scope(|scope| {
            for member in Threads::team(2) {
                let (store, folder) = (store.clone(), folder.path());
                scope.spawn(move || {
                    let own = folder.join(member.rank().to_string());
                    let state = state(5);
                    let name = ["w.first@0", "v.first@0"][member.rank()];
                    let contents = Contents {
                        optimizer: vec![floats(name, &[5.0])],
                        ..contents(&state, &[5.0])
                    };
                    checkpoint(&own, &store, 1)
                        .write(contents, &member)
                        .unwrap();
                    assert!(!own.join("checkpoint.part").exists());
                    store.pull(&own).unwrap();
                    let saved = Checkpoint::of(&own).read().unwrap().unwrap();
                    assert_eq!(saved.moment("v.first").unwrap(), [5.0]);
                });
            }
        });
        assert_eq!(elsewhere(&store), Some(5));
    }

    #[test]
    fn a_folder_of_another_run_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let state = state(1);
        let here = Checkpoint::of(folder.path());
        here.write(contents(&state, &[1.0]), &Alone).unwrap();
        let empty = RunStore::of(Bucket::in_memory());
        let error = empty.pull(folder.path()).unwrap_err().to_string();
        assert!(error.contains("--scratch"), "{error}");
        empty.0.put(INDEX, b"<html>".to_vec()).unwrap();
        let error = empty.pull(folder.path()).unwrap_err().to_string();
        assert!(error.contains(INDEX), "{error}");
    }
}
