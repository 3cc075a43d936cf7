//! Damaged configurations of runs are read or refused, by name; damaged answers never stop an evaluation.

#[path = "../../../fuzz/mutate.rs"]
mod mutate;
#[path = "../../../fuzz/readers/engine.rs"]
mod readers;

use std::fs;
use std::path::Path;

use readers::NAME;

#[test]
fn runs() {
    let folder = tempfile::tempdir().unwrap();
    let configs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs");
    let valid = fs::read(configs.join("deem-7b-stage1.toml")).unwrap();
    mutate::survives(&valid, &[NAME], |bytes| readers::run(folder.path(), bytes));
}

/// Lines that a crash cut off are asked for again.
#[test]
fn answers() {
    let folder = tempfile::tempdir().unwrap();
    let valid = r#"{"benchmark": "pope/random", "id": "1", "answer": "yes", "margin": 0.5}"#;
    let valid = format!("{valid}\n{valid}\n");
    for seed in 0..200 {
        let damaged = mutate::mutated(valid.as_bytes(), seed);
        if let Err(error) = readers::records(folder.path(), &damaged) {
            assert!(error.contains(NAME), "{error}"); // not text
        }
    }
}
