//! Evaluations that lie on disk, of one model or of the seeds of one recipe.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::records::{record_files, saved_records};
use super::{Answers, BenchmarkRegistry, Record};
use crate::EngineError;
use deem_metrics::answer::ParseMode;

/// The answers of one recipe: a run of `deem eval`, or several that differ in their training seed.
#[derive(Clone, Debug)]
pub struct SavedRun {
    /// As it was named.
    pub name: String,
    /// The answers of each seed.
    pub seeds: BTreeMap<u64, Vec<Record>>,
}

/// How folders of seeds are named.
const SEED: &str = "seed-";

impl SavedRun {
    /// Reads a run: the folder of an evaluation; a folder of such folders named `seed-1`, `seed-2`, … (as a study
    /// leaves them); or several folders between commas, seeds in this order.
    ///
    /// # Errors
    /// `File` naming a folder that holds no answers, or a line that is no record; `Io`.
    pub fn read(name: &str) -> Result<Self, EngineError> {
        let folders: Vec<PathBuf> = name
            .split(',')
            .map(|part| PathBuf::from(part.trim()))
            .collect();
        let mut seeds = BTreeMap::new();
        if let [one] = folders.as_slice() {
            for (seed, folder) in of_study(one)? {
                seeds.insert(seed, answers(&folder)?);
            }
            if seeds.is_empty() {
                seeds.insert(1, answers(one)?);
            }
        } else {
            for (seed, folder) in (1..).zip(&folders) {
                seeds.insert(seed, answers(folder)?);
            }
        }
        Ok(Self {
            name: name.to_owned(),
            seeds,
        })
    }

    /// Its answers to the benchmarks of a registry.
    pub fn answers(&self, registry: &BenchmarkRegistry, mode: ParseMode) -> Answers {
        let mut answers = Answers::new(registry, mode);
        for (seed, records) in &self.seeds {
            answers.add(*seed, records.iter().cloned());
        }
        answers
    }

    /// All records with their seeds.
    pub(super) fn records(&self) -> impl Iterator<Item = (u64, &Record)> {
        let seeds = self.seeds.iter();
        seeds.flat_map(|(seed, records)| records.iter().map(|record| (*seed, record)))
    }
}

/// Folders of seeds in a folder.
fn of_study(folder: &Path) -> Result<Vec<(u64, PathBuf)>, EngineError> {
    let entries = fs::read_dir(folder).map_err(EngineError::io(folder))?;
    let seeds = entries.flatten().filter_map(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        let seed = name.strip_prefix(SEED)?.parse().ok()?;
        Some((seed, entry.path()))
    });
    Ok(seeds.collect())
}

fn answers(folder: &Path) -> Result<Vec<Record>, EngineError> {
    if record_files(folder)?.is_empty() {
        return Err(EngineError::File {
            path: folder.into(),
            problem: "holds no answers (records.jsonl); give the --output of a `deem eval`, a folder of seed-1, seed-2, …, \
                      or several folders between commas"
                .into(),
        });
    }
    saved_records(folder)
}
