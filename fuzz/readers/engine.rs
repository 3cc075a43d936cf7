//! Readers of runs, as fuzz targets and damaged files drive them.

use std::fs;
use std::path::Path;

use deem_engine::evaluate::RecordFile;
use deem_engine::run_config::RunConfig;

/// The file that is written and read, without its ending.
pub const NAME: &str = "fuzzed";

/// A run's configuration.
pub fn run(folder: &Path, bytes: &[u8]) -> Result<(), String> {
    let path = folder.join(format!("{NAME}.toml"));
    fs::write(&path, bytes).expect("a scratch folder");
    RunConfig::read(&path, &[])
        .map(drop)
        .map_err(|error| error.to_string())
}

/// The answers of an evaluation.
pub fn records(folder: &Path, bytes: &[u8]) -> Result<(), String> {
    let path = folder.join(format!("{NAME}.jsonl"));
    fs::write(&path, bytes).expect("a scratch folder");
    RecordFile::open(&path)
        .map(drop)
        .map_err(|error| error.to_string())
}
