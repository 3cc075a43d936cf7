//! Configurations changed field by field, and what a public library makes of each (tools/parity/variations.py).

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use deem_model::weights::{Dtype, LazyTensor, WeightsFile, write_stream};
use serde_json::{Map, Value};

use super::golden;

/// Fields of a configuration file.
pub type Fields = Map<String, Value>;

pub struct Variations {
    golden: WeightsFile,
    described: Value,
    /// What the outputs are called.
    word: &'static str,
    folder: tempfile::TempDir,
}

impl Variations {
    pub fn open(name: &str, word: &'static str) -> Self {
        let text = std::fs::read_to_string(golden(&format!("{name}.json"))).unwrap();
        Self {
            golden: WeightsFile::open(&golden(&format!("{name}.safetensors"))).unwrap(),
            described: serde_json::from_str(&text).unwrap(),
            word,
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// The whole file: inputs and outputs.
    pub fn golden(&self) -> &WeightsFile {
        &self.golden
    }

    /// The configuration of a set, unchanged.
    pub fn config(&self, set: &str) -> Fields {
        let config = self.described["configs"][set].as_object();
        config.unwrap().clone()
    }

    /// The weights of a set, as a file of their own.
    pub fn weights(&self, set: &str) -> WeightsFile {
        let path = self.folder.path().join(format!("{set}.safetensors"));
        if !path.is_file() {
            let prefix = format!("{set}.");
            let keys = self
                .golden
                .keys()
                .filter_map(|key| Some((key, key.strip_prefix(&prefix)?)));
            let mut tensors: Vec<LazyTensor> = keys
                .map(|(key, name)| LazyTensor {
                    name: name.to_owned(),
                    dtype: Dtype::F32,
                    shape: self.golden.shape(key).unwrap().to_vec(),
                    read: Box::new(|| self.golden.bytes(key).unwrap()),
                })
                .collect();
            write_stream(&mut tensors, &path, &HashMap::new()).unwrap();
        }
        WeightsFile::open(&path).unwrap()
    }

    /// Checks every case: what is computed from a set's changed configuration equals the reference within `tolerance`
    /// of its largest number, and what is refused is refused by the name of a changed field, or by the weights. What the
    /// reference refuses must be refused, too, unless only `idle` fields have changed. Gives how many were equal and how
    /// many refused.
    pub fn equal_or_refused(
        &self,
        tolerance: f32,
        idle: &[&str],
        compute: impl Fn(&str, Fields) -> Result<Vec<f32>, String>,
    ) -> (usize, usize) {
        let (mut equal, mut refused) = (0, 0);
        let mut problems = Vec::new();
        for case in self.described["cases"].as_array().unwrap() {
            let set = case["set"].as_str().unwrap();
            let given = case["given"].as_object().unwrap();
            let absent = case["absent"].as_array().unwrap();
            let absent: Vec<&str> = absent.iter().filter_map(Value::as_str).collect();
            let mut fields = self.config(set);
            fields.extend(given.clone());
            for field in &absent {
                fields.remove(*field);
            }
            let changed: Vec<&str> = given.keys().map(String::as_str).chain(absent).collect();
            let place = format!("{set} {} without {}", case["given"], case["absent"]);
            let expected = case[self.word].as_u64().map(|number| {
                let key = format!("{}.{number}", self.word);
                self.golden.f32(&key).unwrap()
            });
            let Ok(found) = catch_unwind(AssertUnwindSafe(|| compute(set, fields))) else {
                problems.push(format!("{place}: a panic"));
                continue;
            };
            match (found, expected) {
                (Ok(found), Some(expected)) => {
                    let difference = difference(&found, &expected);
                    if difference < tolerance {
                        equal += 1;
                    } else {
                        problems.push(format!("{place}: differs by {difference}"));
                    }
                }
                (Ok(_), None) if changed.iter().all(|field| idle.contains(field)) => {}
                (Ok(_), None) => problems.push(format!("{place}: the reference refuses it")),
                (Err(told), _) => {
                    refused += 1;
                    // Weights of other shapes name keys, everything else its field.
                    let named = changed.iter().any(|field| told.contains(field));
                    if changed.is_empty() || !named && !told.contains("weights do not fit") {
                        problems.push(format!("{place}: told {told}"));
                    }
                }
            }
        }
        let count = problems.len();
        assert!(count == 0, "{count} problems:\n{}", problems.join("\n"));
        (equal, refused)
    }
}

/// Largest difference, in units of the largest number that is expected, or of 1.
fn difference(found: &[f32], expected: &[f32]) -> f32 {
    if found.len() != expected.len() {
        return f32::INFINITY;
    }
    let size = expected.iter().fold(1.0_f32, |size, x| size.max(x.abs()));
    let pairs = found.iter().zip(expected);
    let differences = pairs.map(|(a, b)| {
        if a.is_nan() {
            f32::INFINITY
        } else {
            (a - b).abs()
        }
    });
    differences.fold(0.0, f32::max) / size
}
