//! `deem eval`: a model on published benchmarks.

mod page;

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use deem::{ImageOptions, Model, Purpose};
use deem_data::image::ImageLimits;
use deem_engine::evaluate::{
    Asked, BenchmarkRegistry, DrawingExaminer, EncoderExaminer, Evaluation, Exam, Examiner,
    ModelIdentity, summary, table, weights_digest,
};
use deem_engine::{EngineError, RunLock};
use deem_metrics::figures::Family;
use serde_json::Value;

use super::encoder;
use super::generate::GUIDANCE;
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
    let lock = RunLock::of_shard(&args.output, args.shard)?;
    let asked = exams[0].benchmark.asked();
    if exams.iter().any(|exam| exam.benchmark.asked() != asked) {
        bail!(
            "benchmarks of a whole model, of an encoder alone and of drawings have different answers; evaluate them apart"
        );
    }
    match asked {
        Asked::Model => ask_model(setup, args, lock, &exams, limits),
        Asked::Encoder => ask_encoder(setup, args, lock, &exams, limits),
        Asked::Drawing => ask_to_draw(setup, args, lock, &exams),
    }
}

fn ask_model(
    setup: &Setup,
    args: &Eval,
    lock: RunLock,
    exams: &[Exam],
    limits: ImageLimits,
) -> Result<()> {
    let opened = setup.load(&choice(args), Purpose::Answers)?;
    let model = identity(setup, &opened)?;
    let mut runner = opened.runner(args.batch);
    runner.limits = limits;
    let evaluation = Evaluation::open(&args.output, lock, &model, exams, args.shard)?;
    answer(args, evaluation, &runner, exams, opened.source())
}

fn ask_encoder(
    setup: &Setup,
    args: &Eval,
    lock: RunLock,
    exams: &[Exam],
    limits: ImageLimits,
) -> Result<()> {
    let encoder = encoder::open(setup, &args.encoder)?;
    let model = ModelIdentity {
        weights: encoder.weights().to_owned(),
        precision: setup.compute()?.precision.to_string(),
        max_tokens: 0, // an encoder alone reads no sequences of pictures and text
        drawing: None,
    };
    let examiner = EncoderExaminer {
        encoder: &encoder,
        batch: args.batch,
        limits,
    };
    let evaluation = Evaluation::open(&args.output, lock, &model, exams, args.shard)?;
    answer(args, evaluation, &examiner, exams, encoder.name())
}

fn ask_to_draw(setup: &Setup, args: &Eval, lock: RunLock, exams: &[Exam]) -> Result<()> {
    let opened = setup.load(&choice(args), Purpose::Everything)?;
    let encoder = encoder::open(setup, &args.encoder)?;
    let options = args.drawing.options(GUIDANCE);
    let way = format!(
        "{options:?}, {} tries, chosen by {}",
        args.tries,
        encoder.weights()
    );
    let model = ModelIdentity {
        drawing: Some(way),
        ..identity(setup, &opened)?
    };
    let draw = |text: &str, number: u64| {
        let options = ImageOptions {
            seed: options.seed.wrapping_add(number),
            ..options
        };
        let drawn = opened.draw(text, &options);
        drawn.map_err(|error| EngineError::Config(error.to_string()))
    };
    let examiner = DrawingExaminer {
        draw: &draw,
        encoder: &encoder,
        tries: args.tries,
        folder: args.output.clone(),
    };
    let evaluation = Evaluation::open(&args.output, lock, &model, exams, args.shard)?;
    answer(args, evaluation, &examiner, exams, opened.source())
}

/// The model that the arguments choose, by its own place or by `--model`.
fn choice(args: &Eval) -> ModelChoice {
    ModelChoice {
        model: args.weights.clone().or_else(|| args.model.model.clone()),
        ..args.model.clone()
    }
}

fn identity(setup: &Setup, opened: &Model) -> Result<ModelIdentity> {
    Ok(ModelIdentity {
        weights: weights_digest(opened.network()),
        precision: setup.compute()?.precision.to_string(),
        max_tokens: opened.spec().max_tokens,
        drawing: None,
    })
}

/// Asks, and prints what came of it.
fn answer(
    args: &Eval,
    mut evaluation: Evaluation,
    examiner: &dyn Examiner,
    exams: &[Exam],
    source: &str,
) -> Result<()> {
    let mut results = Vec::new();
    let mut families: Vec<(Exam, Family)> = Vec::new();
    for exam in exams {
        let exam = match args.limit {
            Some(limit) => exam.limited(usize::try_from(limit)?),
            None => exam.clone(),
        };
        let mut progress = Progress::new(exam.benchmark.title(), exam.items.len() as u64);
        let mut done = None;
        let family = evaluation.run(examiner, &exam, &mut |count| {
            let now = done.unwrap_or_default() + count as u64;
            if done.is_none() {
                progress.skip_to(now);
            }
            progress.set(now, "");
            done = Some(now);
            !interrupt::asked()
        })?;
        progress.finish();
        let Some(family) = family else {
            let answered = evaluation.records(&exam).len();
            eprintln!(
                "{}: share {} is done, {answered} of {} questions are answered; the share that ends last prints the \
                 figures, and so does the same command without --shard",
                exam.benchmark.title(),
                args.shard,
                exam.items.len()
            );
            continue;
        };
        if !args.json {
            print!("{}", table(&family));
        }
        results.push(summary(&family, source));
        families.push((exam, family));
    }
    if args.report && families.len() == exams.len() {
        let path = page::write(args, &evaluation, &families, source)?;
        eprintln!("{}", path.display());
    }
    if results.is_empty() {
        return Ok(());
    }
    if args.json {
        let all = if results.len() == 1 {
            results.remove(0)
        } else {
            Value::Array(results)
        };
        println!("{}", serde_json::to_string_pretty(&all)?);
    } else {
        eprintln!("{}", evaluation.folder().display());
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
fn below(folder: &Path, name: &str) -> PathBuf {
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
