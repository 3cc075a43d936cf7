//! `deem bench`: what people wait for, timed through the very code they wait for.
//!
//! Weights are random: what is measured does not depend on them, and a preset can be measured before
//! anybody has trained it. With `--dump`, everything that another implementation needs to repeat the
//! measurement is written (see `tools/bench`).

mod ask;
mod data;
mod dump;
mod generate;
mod ops;
mod serve;
mod train_step;

use std::time::Instant;

use anyhow::{Result, bail};
use burn::module::Module;
use deem::Model;
use serde_json::{Value, json};

use super::setup::Setup;
use crate::args::{Bench, BenchPart};

/// Seed of weights, data and noise.
const SEED: u64 = 1;

/// Runs the command.
pub fn run(setup: &Setup, args: &Bench) -> Result<()> {
    if args.runs == 0 {
        bail!("--runs: expected at least 1");
    }
    let mut report = match &args.part {
        BenchPart::TrainStep(part) => match train_step::run(setup, args, part)? {
            Some(report) => report,
            // Another process speaks.
            None => return Ok(()),
        },
        BenchPart::Ask(part) => ask::run(setup, args, part)?,
        BenchPart::Generate(part) => generate::run(setup, args, part)?,
        BenchPart::Ops(part) => ops::run(setup, args, part)?,
        BenchPart::Data(part) => data::run(args, part)?,
        BenchPart::Serve(part) => serve::run(part)?,
    };
    if args.profile {
        report["operations"] = profile(args.runs);
    }
    report["runs"] = json!(args.runs);
    report["threads"] = json!(rayon::current_num_threads());
    report["device"] = json!(setup.device);
    report["precision"] = json!(setup.compute()?.precision.to_string());
    if args.json {
        println!("{report}");
    } else {
        for row in report["operations"].as_array().into_iter().flatten() {
            println!(
                "{:>10} ms  {:>4} x  {:8}  {} {}",
                row["milliseconds"],
                row["calls"],
                row["pass"].as_str().unwrap_or_default(),
                row["op"].as_str().unwrap_or_default(),
                row["shapes"],
            );
        }
        for (name, value) in report.as_object().into_iter().flatten() {
            if name == "operations" {
                continue;
            }
            println!("{name:>24}  {value}");
        }
    }
    Ok(())
}

/// A preset's model with random weights, ready for inference.
fn random_model(setup: &Setup) -> Result<Model> {
    let standins = setup.open()?;
    let compute = setup.compute()?;
    let preset = standins.preset();
    let network = standins.random(SEED, &compute.device)?.no_grad();
    let (spec, tokenizer) = (preset.spec(), standins.tokenizer()?);
    Ok(Model::of_network(
        &preset.name,
        &spec,
        network,
        tokenizer,
        compute,
    ))
}

/// Milliseconds in one run of each fused operation, the dearest first. What is missing to the wall time is
/// spent between them.
fn profile(runs: usize) -> Value {
    let mut operations = deem_kernels::profiled();
    operations.sort_by_key(|(_, cost)| std::cmp::Reverse(cost.time));
    let rows = operations.into_iter().map(|(entry, cost)| {
        json!({
            "milliseconds": (cost.time.as_secs_f64() * 1e6 / runs as f64).round() / 1e3,
            "calls": cost.calls / runs as u64,
            "op": entry.op,
            "pass": if entry.backward { "backward" } else { "forward" },
            "shapes": entry.shapes,
        })
    });
    rows.collect()
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

/// Wall and processor seconds of each run that counts.
fn repeat(args: &Bench, mut work: impl FnMut() -> Result<()>) -> Result<[Timed; 2]> {
    let (mut wall, mut cpu) = (Vec::new(), Vec::new());
    for run in 0..args.warmup + args.runs {
        if args.profile && run == args.warmup {
            deem_kernels::profile(true);
        }
        let (started, before) = (Instant::now(), cpu_seconds());
        work()?;
        if run >= args.warmup {
            wall.push(started.elapsed().as_secs_f64());
            cpu.push(since(before));
        }
    }
    Ok([Timed::of(wall), Timed::of(cpu)])
}

/// Processor seconds since an earlier reading; not a number (`null` in JSON) where the system does not tell.
fn since(before: Option<f64>) -> f64 {
    let spent = cpu_seconds().zip(before).map(|(now, then)| now - then);
    spent.unwrap_or(f64::NAN)
}

/// Most memory this process has held, where the system tells (Linux).
fn peak_memory() -> Option<u64> {
    process_memory("VmHWM:")
}

/// Memory this process holds now, where the system tells (Linux).
fn current_memory() -> Option<u64> {
    process_memory("VmRSS:")
}

/// Processor time that the living threads of this process have used, where the system tells (Linux).
///
/// With one thread it is hardly disturbed by whatever else the machine does.
fn cpu_seconds() -> Option<f64> {
    let mut nanoseconds = 0;
    for task in std::fs::read_dir("/proc/self/task").ok()? {
        let times = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        nanoseconds += times.split_whitespace().next()?.parse::<u64>().ok()?;
    }
    Some(nanoseconds as f64 * 1e-9)
}

/// Memory that another process holds now, where the system tells (Linux).
fn memory_of(pid: u32) -> Option<u64> {
    memory_in(&format!("/proc/{pid}/status"), "VmRSS:")
}

fn process_memory(field: &str) -> Option<u64> {
    memory_in("/proc/self/status", field)
}

fn memory_in(path: &str, field: &str) -> Option<u64> {
    let status = std::fs::read_to_string(path).ok()?;
    let line = status.lines().find(|line| line.starts_with(field))?;
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

    #[test]
    fn the_peak_is_at_least_what_is_held_now() {
        if let (Some(now), Some(peak)) = (current_memory(), peak_memory()) {
            assert!(0 < now && now <= peak, "{now} {peak}");
        }
    }

    #[test]
    fn work_costs_processor_time() {
        let before = cpu_seconds();
        let started = Instant::now();
        while started.elapsed().as_millis() < 20 {}
        assert!(before.is_none() || since(before) > 0.0);
    }
}
