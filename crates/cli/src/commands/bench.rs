//! `deem bench`: what people wait for, timed through the very code they wait for.

use std::time::Instant;

use anyhow::{Context, Result, bail};
use burn::tensor::Device;
use deem_data::text::question_prompt;
use deem_data::{Sample, SampleImage};
use deem_engine::generate::{ImageOptions, SamplerKind, Sampling, TextOptions, generate_image};
use deem_engine::sources::BuiltIn;
use deem_engine::task::DeemTask;
use deem_engine::train::{Observer, StepReport, train};
use serde_json::{Value, json};

use super::session::{Session, StandInChoice};
use crate::args::{Bench, BenchPart, ModelChoice};

/// Runs the command.
pub fn run(standins: &StandInChoice, args: &Bench) -> Result<()> {
    if args.runs == 0 {
        bail!("--runs: expected at least 1");
    }
    let mut report = match &args.part {
        BenchPart::TrainStep { stage } => train_step(standins, args, stage)?,
        BenchPart::Ask { tokens } => ask(standins, args, *tokens)?,
        BenchPart::Generate { steps } => generate(standins, args, *steps)?,
    };
    report["threads"] = json!(std::thread::available_parallelism()?.get());
    report["peak_memory_bytes"] = json!(peak_memory());
    if args.json {
        println!("{report}");
    } else {
        for (name, value) in report.as_object().into_iter().flatten() {
            println!("{name:>24}  {value}");
        }
    }
    Ok(())
}

/// Whole optimizer steps of a stage, data included.
fn train_step(choice: &StandInChoice, args: &Bench, stage: &str) -> Result<Value> {
    let standins = choice.open()?;
    let preset = standins.preset();
    let names = || preset.stages.iter().map(|s| &s.name).collect::<Vec<_>>();
    let mut stage = preset
        .stages
        .iter()
        .find(|s| s.name == stage)
        .with_context(|| format!("no stage {stage:?} in the preset; it has {:?}", names()))?
        .clone();
    let steps = (args.warmup + args.runs) as u64;
    stage.train.schedule.steps = steps;
    stage.train.save_every = steps;
    stage.train.probe_every = 0;
    let device = Device::flex().autodiff();
    let data = BuiltIn::new(preset)?;
    let task = DeemTask {
        batches: data.stage_batches(&stage, preset, 1)?,
        weights: stage.loss,
        align: stage.align,
        seed: 1,
        device: device.clone(),
    };
    let folder = std::env::temp_dir().join(format!("deem-bench-{}", std::process::id()));
    let mut seconds = StepSeconds::default();
    let model = standins.connected(&device)?;
    let trained = train(&task, model, &stage.train, "bench", &folder, &mut seconds);
    std::fs::remove_dir_all(&folder).with_context(|| folder.display().to_string())?;
    trained?;
    let timed = Timed::of(seconds.0.split_off(args.warmup));
    Ok(json!({
        "bench": "train-step",
        "preset": preset.name,
        "stage": stage.name,
        "rows": stage.batch,
        "seconds_median": timed.median,
        "seconds_fastest": timed.fastest,
        "runs": args.runs,
    }))
}

/// Reading a question about a picture, and writing `tokens` tokens.
fn ask(choice: &StandInChoice, args: &Bench, tokens: usize) -> Result<Value> {
    if tokens < 2 {
        bail!("--tokens: expected at least 2, to tell reading from writing");
    }
    let session = Session::open(choice, &newest_model())?;
    let data = BuiltIn::new(&session.preset)?;
    let feed = data.feed("bench", 1)?;
    let sample = Sample {
        id: "bench".into(),
        segments: question_prompt(0, "How many objects are in the image?"),
        images: vec![SampleImage {
            id: "bench".into(),
            image: feed.pair(0, true)?.image,
            mask: None,
        }],
        provenance: Vec::new(),
    };
    let runner = session.runner(1);
    let time = |count: usize| -> Result<Timed> {
        let options = TextOptions {
            max_new_tokens: count,
            min_new_tokens: count,
            beams: 1,
            sampling: Sampling::Greedy,
        };
        repeat(args, || {
            runner.answer(std::slice::from_ref(&sample), &options)?;
            Ok(())
        })
    };
    let (first, all) = (time(1)?, time(tokens)?);
    let prompt = runner.collator.samples(std::slice::from_ref(&sample))?.seq;
    Ok(json!({
        "bench": "ask",
        "preset": session.preset.name,
        "prompt_tokens": prompt,
        "seconds_to_first_token": first.median,
        "prefill_tokens_per_second": prompt as f64 / first.median,
        "decode_tokens_per_second": (tokens - 1) as f64 / (all.median - first.median),
        "runs": args.runs,
    }))
}

/// Drawing a picture of a text.
fn generate(choice: &StandInChoice, args: &Bench, steps: usize) -> Result<Value> {
    let session = Session::open(choice, &newest_model())?;
    let tokens = session.drawing_prompt("a photo of a cat")?;
    let options = ImageOptions {
        steps,
        guidance: 3.5,
        sampler: SamplerKind::DpmSolver,
        seed: 1,
    };
    let timed = repeat(args, || {
        generate_image(&session.model, &tokens, None, &options)?;
        Ok(())
    })?;
    Ok(json!({
        "bench": "generate",
        "preset": session.preset.name,
        "seconds_median": timed.median,
        "denoising_steps_per_second": steps as f64 / timed.median,
        "runs": args.runs,
    }))
}

/// The model that the other commands use by default.
fn newest_model() -> ModelChoice {
    ModelChoice {
        config: None,
        offline: false,
        model: None,
        max_megapixels: 64,
    }
}

/// Seconds of some runs.
struct Timed {
    median: f64,
    fastest: f64,
}

impl Timed {
    fn of(mut seconds: Vec<f64>) -> Self {
        seconds.sort_by(f64::total_cmp);
        let middle = seconds.len() / 2;
        let median = if seconds.len().is_multiple_of(2) {
            (seconds[middle - 1] + seconds[middle]) / 2.0
        } else {
            seconds[middle]
        };
        Self {
            median,
            fastest: seconds[0],
        }
    }
}

fn repeat(args: &Bench, mut work: impl FnMut() -> Result<()>) -> Result<Timed> {
    let mut seconds = Vec::with_capacity(args.runs);
    for run in 0..args.warmup + args.runs {
        let started = Instant::now();
        work()?;
        if run >= args.warmup {
            seconds.push(started.elapsed().as_secs_f64());
        }
    }
    Ok(Timed::of(seconds))
}

/// Seconds of each step.
#[derive(Default)]
struct StepSeconds(Vec<f64>);

impl Observer for StepSeconds {
    fn on_step(&mut self, report: &StepReport) {
        let seconds = report.scalars.iter().find(|(name, _)| name == "seconds");
        self.0.extend(seconds.map(|(_, value)| *value));
    }
}

/// Most memory this process has held, where the system tells (Linux).
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|l| l.starts_with("VmHWM:"))?;
    let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        let odd = Timed::of(vec![3.0, 1.0, 2.0]);
        assert_eq!((odd.median, odd.fastest), (2.0, 1.0));
        assert_eq!(Timed::of(vec![4.0, 1.0, 2.0, 3.0]).median, 2.5);
    }
}
