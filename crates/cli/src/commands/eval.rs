//! `deem eval`: a model on published benchmarks.

mod page;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use deem::{ImageOptions, Model, Purpose};
use deem_collective::Collective;
use deem_data::benchmark::LabelOptions;
use deem_data::image::ImageLimits;
use deem_engine::evaluate::{
    Asked, BenchmarkRegistry, DrawingExaminer, EncoderExaminer, Evaluation, Exam, Examiner,
    ModelIdentity, Retrieval, SavedRun, ZeroShot, compare, saved_records, summary, table,
    weights_digest,
};
use deem_engine::{EngineError, RunLock};
use deem_metrics::answer::ParseMode;
use deem_metrics::figures::Family;
use serde_json::Value;

use super::encoder;
use super::generate::GUIDANCE;
use super::setup::Setup;
use super::together;
use crate::args::{Eval, ModelChoice};
use crate::interrupt;
use crate::progress::Progress;

/// Benchmarks with their figures.
type Figures = Vec<(Exam, Family)>;

/// What is asked for, and who answers it together.
type Asking<'a> = (&'a Eval, &'a dyn Collective);

/// Runs the command. Of several processes that were started together each answers a share, and the first one prints the
/// figures.
pub fn run(setup: &Setup, args: &Eval) -> Result<()> {
    together::share(args.shard, |processes, shard| {
        let args = Eval {
            shard,
            ..args.clone()
        };
        evaluate(setup, &args, processes)
    })
}

fn evaluate(setup: &Setup, args: &Eval, processes: &dyn Collective) -> Result<()> {
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
    if args.encoder_before.is_some() && asked != Asked::Encoder {
        bail!(
            "--encoder-before is for benchmarks of an encoder alone: mmvp-vlm, zero-shot, retrieval"
        );
    }
    let encoder_alone = [
        ("--encoder", args.encoder.is_some() && asked == Asked::Model),
        ("--labels", args.labels.is_some() && asked != Asked::Encoder),
        (
            "--templates",
            args.templates.is_some() && asked != Asked::Encoder,
        ),
    ];
    if let Some((option, _)) = encoder_alone.iter().find(|(_, stray)| *stray) {
        bail!(
            "{option} is for benchmarks of an encoder alone (mmvp-vlm, zero-shot, retrieval){}; a whole model is named by --model",
            if *option == "--encoder" {
                " and to choose among drawings"
            } else {
                ""
            }
        );
    }
    match asked {
        Asked::Model => ask_model(setup, (args, processes), lock, &exams, limits),
        Asked::Encoder => ask_encoder(setup, (args, processes), lock, &exams, limits),
        Asked::Drawing => ask_to_draw(setup, (args, processes), lock, &exams),
    }
}

/// The encoder of benchmarks that ask one.
fn encoder_name(args: &Eval) -> &str {
    args.encoder.as_deref().unwrap_or("clip")
}

fn ask_model(
    setup: &Setup,
    (args, processes): Asking,
    lock: RunLock,
    exams: &[Exam],
    limits: ImageLimits,
) -> Result<()> {
    let opened = setup.load(&choice(args), Purpose::Answers)?;
    let model = identity(setup, &opened)?;
    let mut runner = opened.runner(args.batch);
    runner.limits = limits;
    let evaluation = Evaluation::open(&args.output, lock, &model, exams, args.shard)?;
    answer(
        (args, processes),
        evaluation,
        &runner,
        exams,
        opened.source(),
    )
}

fn ask_encoder(
    setup: &Setup,
    (args, processes): Asking,
    lock: RunLock,
    exams: &[Exam],
    limits: ImageLimits,
) -> Result<()> {
    let Some(before) = &args.encoder_before else {
        let (evaluation, families, source) = asked_encoder(
            setup,
            (args, processes),
            (encoder_name(args), &args.output),
            lock,
            exams,
            limits,
        )?;
        return shown(args, &evaluation, &families, &source, exams);
    };
    if !args.shard.is_whole() {
        bail!(
            "--encoder-before with --shard: evaluate both encoders in shares, and `deem compare` their outputs"
        );
    }
    let folder = args.output.join(BEFORE);
    let earlier = RunLock::acquire(&folder)?;
    asked_encoder(
        setup,
        (args, processes),
        (before, &folder),
        earlier,
        exams,
        limits,
    )?;
    asked_encoder(
        setup,
        (args, processes),
        (encoder_name(args), &args.output),
        lock,
        exams,
        limits,
    )?;
    let saved = |folder: &Path, name: &str| {
        Ok::<_, EngineError>(SavedRun {
            name: name.to_owned(),
            seeds: BTreeMap::from([(1, saved_records(folder)?)]),
        })
    };
    let (run, control) = (
        saved(&args.output, encoder_name(args))?,
        saved(&folder, before)?,
    );
    let registry = registry(args);
    let comparison = compare(&run, &control, &registry, ParseMode::Strict)?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&comparison.json(false))?);
    } else {
        print!("{}", comparison.table(false));
    }
    Ok(())
}

/// Where the answers of the encoder before its change go, below those of the one after.
const BEFORE: &str = "before";

/// An encoder's answers, into a folder.
fn asked_encoder(
    setup: &Setup,
    (args, processes): Asking,
    (name, folder): (&str, &Path),
    lock: RunLock,
    exams: &[Exam],
    limits: ImageLimits,
) -> Result<(Evaluation, Figures, String)> {
    let encoder = encoder::open(setup, name)?;
    let model = ModelIdentity {
        weights: encoder.weights().to_owned(),
        precision: setup.compute()?.precision.to_string(),
        max_tokens: 0, // an encoder alone reads no sequences of pictures and text
        drawing: None,
    };
    let examiner = EncoderExaminer::new(&encoder, args.batch, limits);
    let mut evaluation = Evaluation::open(folder, lock, &model, exams, args.shard)?;
    let families = asked((args, processes), &mut evaluation, &examiner, exams)?;
    Ok((evaluation, families, encoder.name().to_owned()))
}

fn ask_to_draw(
    setup: &Setup,
    (args, processes): Asking,
    lock: RunLock,
    exams: &[Exam],
) -> Result<()> {
    let opened = setup.load(&choice(args), Purpose::Everything)?;
    let encoder = encoder::open(setup, encoder_name(args))?;
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
    answer(
        (args, processes),
        evaluation,
        &examiner,
        exams,
        opened.source(),
    )
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
        weights: weights_digest(&opened.network().readable()),
        precision: setup.compute()?.precision.to_string(),
        max_tokens: opened.spec().max_tokens,
        drawing: None,
    })
}

/// Asks, and prints what came of it.
fn answer(
    (args, processes): Asking,
    mut evaluation: Evaluation,
    examiner: &dyn Examiner,
    exams: &[Exam],
    source: &str,
) -> Result<()> {
    let families = asked((args, processes), &mut evaluation, examiner, exams)?;
    shown(args, &evaluation, &families, source, exams)
}

/// The figures of all benchmarks of which everything is answered.
fn asked(
    (args, processes): Asking,
    evaluation: &mut Evaluation,
    examiner: &dyn Examiner,
    exams: &[Exam],
) -> Result<Figures> {
    let mut families = Figures::new();
    for exam in exams {
        let exam = match args.limit {
            Some(limit) => exam.limited(usize::try_from(limit)?),
            None => exam.clone(),
        };
        let first = processes.is_first();
        let mut progress =
            first.then(|| Progress::new(exam.benchmark.title(), exam.items.len() as u64));
        let mut done = None;
        let mut tick = |count: usize| {
            let now = done.unwrap_or_default() + count as u64;
            if let Some(progress) = &mut progress {
                if done.is_none() {
                    progress.skip_to(now);
                }
                progress.set(now, "");
            }
            done = Some(now);
            !interrupt::asked()
        };
        let mut family = evaluation.run(examiner, &exam, &mut tick)?;
        if processes.size() > 1 {
            processes.barrier()?;
            if !first {
                continue;
            }
            // Everybody's answers are there now.
            family = evaluation.run(examiner, &exam, &mut |_| true)?;
        }
        if let Some(progress) = &progress {
            progress.finish();
        }
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
        families.push((exam, family));
    }
    Ok(families)
}

/// Prints figures, and writes the page if it is asked for.
fn shown(
    args: &Eval,
    evaluation: &Evaluation,
    families: &[(Exam, Family)],
    source: &str,
    exams: &[Exam],
) -> Result<()> {
    if !args.json {
        for (_, family) in families {
            print!("{}", table(family));
        }
    }
    if args.report && families.len() == exams.len() {
        let path = page::write(args, evaluation, families, source)?;
        eprintln!("{}", path.display());
    }
    if families.is_empty() {
        return Ok(());
    }
    if args.json {
        let mut results: Vec<Value> = families
            .iter()
            .map(|(_, family)| summary(family, source))
            .collect();
        let all = if results.len() == 1 {
            results.remove(0)
        } else {
            Value::Array(results)
        };
        println!("{}", serde_json::to_string_pretty(&all)?);
    } else {
        eprintln!("{}", evaluation.folder().display());
    }
    none_seen(evaluation, families)
}

/// Refuses figures of a benchmark of which no question could be asked: they say nothing.
fn none_seen(evaluation: &Evaluation, families: &[(Exam, Family)]) -> Result<()> {
    for (exam, family) in families {
        let counts = family.counts.unwrap_or_default();
        if counts.samples > 0 && counts.unreadable == counts.samples {
            let records = evaluation.records(exam);
            let first = records.iter().find_map(|record| record.error.as_deref());
            bail!(
                "{}: none of its questions could be asked, so its figures say nothing; the first: {}",
                exam.benchmark.title(),
                first.unwrap_or_default()
            );
        }
    }
    Ok(())
}

/// The benchmarks that there are, read and asked as the arguments say.
fn registry(args: &Eval) -> BenchmarkRegistry {
    BenchmarkRegistry::standard()
        .with(ZeroShot {
            options: LabelOptions {
                labels: args.labels.clone(),
                templates: args.templates.clone(),
            },
        })
        .with(Retrieval {
            caption: args.caption.clone(),
        })
}

/// The benchmarks asked for, read from their folders: one for each, or one that has them all below it.
fn exams(args: &Eval, limits: ImageLimits) -> Result<Vec<Exam>> {
    let registry = registry(args);
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
