//! The results file of a study, `results.json`.

mod outline;

use std::path::Path;

use deem_metrics::figures::{Family, Figure, Named, named};
use serde::{Deserialize, Serialize};

use crate::{ReportError, Result};

pub use outline::Row;
pub(crate) use outline::merged;

/// Results of a study: arms, and differences between them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Results {
    /// Version of the program.
    pub version: String,
    /// Commit that the program was built from, or `unknown`; `+` says that its sources were changed after it.
    pub commit: String,
    /// Seeds of the runs.
    pub seeds: Vec<u64>,
    /// Optimizer steps of each run, over all stages.
    pub steps: u64,
    /// Results of each arm, over all seeds; keyed by name in JSON.
    #[serde(with = "named")]
    pub arms: Vec<ArmResults>,
    /// Paired differences, the one that the study is about first; keyed by name in JSON.
    #[serde(with = "named")]
    pub difference: Vec<Comparison>,
}

/// Everything measured of one arm (or model).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ArmResults {
    /// Name.
    #[serde(skip)]
    pub name: String,
    /// Benchmarks.
    #[serde(with = "named")]
    pub families: Vec<Family>,
    /// Controls: what must hold if the benchmarks are to mean anything.
    #[serde(default, with = "named", skip_serializing_if = "Vec::is_empty")]
    pub controls: Vec<Family>,
    /// Costs and measures of training.
    #[serde(default, with = "named", skip_serializing_if = "Vec::is_empty")]
    pub costs: Vec<Figure>,
}

/// Two arms on the same questions: first minus second, a tree like those of the arms.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// `FIRST - SECOND`.
    #[serde(skip)]
    pub name: String,
    /// Name of the first arm.
    pub treatment: String,
    /// Name of the second arm.
    pub control: String,
    /// Benchmarks.
    #[serde(with = "named")]
    pub families: Vec<Family>,
}

impl Results {
    /// Writes the file, indented.
    ///
    /// # Errors
    /// `Write` naming the file.
    pub fn save(&self, path: &Path) -> Result<()> {
        let json = serde_json::to_string_pretty(self)?;
        std::fs::write(path, json + "\n").map_err(|source| ReportError::Write {
            path: path.into(),
            source,
        })
    }

    /// What a table of all arms shows: of each benchmark all figures of the whole, and what each part is known by.
    #[must_use]
    pub fn rows(&self) -> Vec<Row> {
        let families = merged(self.arms.iter().map(|arm| &arm.families[..]));
        outline::main_rows(&families)
    }
}

impl Comparison {
    /// The comparison of two arms.
    pub fn new(treatment: &str, control: &str, families: Vec<Family>) -> Self {
        Self {
            name: format!("{treatment} - {control}"),
            treatment: treatment.to_owned(),
            control: control.to_owned(),
            families,
        }
    }
}

impl Named for ArmResults {
    fn name(&self) -> &str {
        &self.name
    }

    fn set_name(&mut self, name: String) {
        self.name = name;
    }
}

impl Named for Comparison {
    fn name(&self) -> &str {
        &self.name
    }

    fn set_name(&mut self, name: String) {
        self.name = name;
    }
}
