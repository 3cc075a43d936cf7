//! `deem eval`: a model on published benchmarks.

use std::path::PathBuf;

use anyhow::{Result, bail};
use deem::Purpose;
use deem_data::image::ImageLimits;
use deem_engine::RunLock;
use deem_engine::evaluate::{
    BenchmarkRegistry, Evaluation, Exam, ModelIdentity, summary, table, weights_digest,
};
use serde_json::Value;

use super::setup::Setup;
use crate::args::{Eval, ModelChoice};
use crate::interrupt;
use crate::progress::Progress;

/// Runs the command.
pub fn run(setup: &Setup, args: &Eval) -> Result<()> {
    let limits = ImageLimits {
        max_pixels: args.model.max_megapixels * 1_000_000,
    };
    let exams = exams(args, limits)?;
    // Before the model is loaded: who is refused shall not wait.
    let lock = RunLock::acquire(&args.output)?;
    let choice = ModelChoice {
        model: args.weights.clone().or_else(|| args.model.model.clone()),
        ..args.model.clone()
    };
    let opened = setup.load(&choice, Purpose::Answers)?;
    let model = ModelIdentity {
        weights: weights_digest(opened.network()),
        precision: setup.compute()?.precision.to_string(),
        max_tokens: opened.spec().max_tokens,
    };
    let mut runner = opened.runner(args.batch);
    runner.limits = limits;
    let mut evaluation = Evaluation::open(&args.output, lock, &model, &exams)?;
    let mut results = Vec::new();
    for exam in &exams {
        let exam = match args.limit {
            Some(limit) => exam.limited(usize::try_from(limit)?),
            None => exam.clone(),
        };
        let mut progress = Progress::new(exam.benchmark.title(), exam.items.len() as u64);
        let mut done = None;
        let family = evaluation.run(&runner, &exam, &mut |count| {
            let now = done.unwrap_or_default() + count as u64;
            if done.is_none() {
                progress.skip_to(now);
            }
            progress.set(now, "");
            done = Some(now);
            !interrupt::asked()
        })?;
        progress.finish();
        if !args.json {
            print!("{}", table(&family));
        }
        results.push(summary(&family, opened.source()));
    }
    if args.json {
        let all = if results.len() == 1 {
            results.remove(0)
        } else {
            Value::Array(results)
        };
        println!("{}", serde_json::to_string_pretty(&all)?);
    } else {
        eprintln!("{}", evaluation.records().display());
    }
    Ok(())
}

/// The benchmarks asked for, read from their folders: one for each, or one that has them all below it.
fn exams(args: &Eval, limits: ImageLimits) -> Result<Vec<Exam>> {
    let registry = BenchmarkRegistry::standard();
    let (names, folders) = (&args.benchmark, &args.data);
    if folders.len() != 1 && folders.len() != names.len() {
        bail!(
            "{} benchmarks and {} folders: give one --data for each --benchmark, in the same order, or one for all",
            names.len(),
            folders.len()
        );
    }
    let mut exams: Vec<Exam> = Vec::new();
    for (number, name) in names.iter().enumerate() {
        let benchmark = registry.get(name)?;
        if exams.iter().any(|e| e.benchmark.name() == benchmark.name()) {
            bail!(
                "--benchmark {name} twice; evaluate two folders of a benchmark into two --output folders"
            );
        }
        let folder = match folders.get(number) {
            Some(own) if folders.len() == names.len() => own.clone(),
            _ => below(&folders[0], benchmark.name()),
        };
        exams.push(Exam::read(benchmark, &folder, limits)?);
    }
    Ok(exams)
}

/// The folder of a benchmark below one of several: `robust_vqa`, `robust-vqa`, `robustvqa`, in any case, or the folder
/// itself.
fn below(folder: &std::path::Path, name: &str) -> PathBuf {
    let plain = |name: &str| name.to_lowercase().replace(['-', '_'], "");
    let mut entries: Vec<PathBuf> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect();
    entries.sort();
    let own = entries.into_iter().find(|path| {
        let found = path.file_name().map(|n| plain(&n.to_string_lossy()));
        found.is_some_and(|found| found == plain(name))
    });
    own.unwrap_or_else(|| folder.to_owned())
}
