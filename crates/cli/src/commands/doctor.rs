//! `deem doctor`: what a run needs, and what this machine has.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use burn::tensor::Device;
use deem_engine::config::{ModelSpec, StageConfig};
use deem_engine::encoder_feedback::FeedbackRun;
use deem_engine::memory::{Memory, NumberFormat, feedback_training, inference, training};
use deem_engine::train::parameters::prepare;
use deem_model::deem::Deem;
use deem_model::encoder_feedback::FeedbackModel;
use serde_json::json;

use super::setup::Setup;
use crate::args::Doctor;

mod checkpoint;
mod memory;

const GIB: f64 = (1_u64 << 30) as f64;

/// A place where a model may run.
struct Place {
    name: String,
    precision: NumberFormat,
    /// Bytes, if they are known.
    memory: Option<u64>,
    /// Whether it is a card with memory of its own.
    card: bool,
}

impl Place {
    /// What of a need is to lie there.
    fn share(&self, need: &Memory) -> u64 {
        if self.card {
            need.device()
        } else {
            need.total()
        }
    }
}

/// In which a whole model is estimated.
const PRECISIONS: &[NumberFormat] = &[
    NumberFormat::F32,
    NumberFormat::Bf16,
    NumberFormat::Stored16,
];

/// The same of an encoder, which has no language model to be kept in 16 bits.
const ENCODER_PRECISIONS: &[NumberFormat] = &[NumberFormat::F32, NumberFormat::Bf16];

/// Runs the command.
pub fn run(setup: &Setup, args: &Doctor) -> Result<()> {
    if let Some(path) = &args.path {
        return checkpoint::run(path, args.json);
    }
    let Subject {
        title,
        notes,
        here,
        precisions,
        needs,
    } = Subject::chosen(setup, args)?;
    let places: Vec<Place> = [machine(here)].into_iter().chain(accelerators()).collect();
    if args.json {
        let estimates = precisions.iter().map(|precision| {
            let uses = needs(*precision).into_iter();
            let uses = uses.map(|(name, memory)| (name, described(&memory)));
            json!({ "precision": precision, "uses": uses.collect::<BTreeMap<_, _>>() })
        });
        let estimates: Vec<_> = estimates.collect();
        let devices: Vec<_> = places
            .iter()
            .map(|place| {
                let uses = needs(place.precision).into_iter();
                let fits = uses.map(|(name, memory)| (name, fits(place, &memory)));
                json!({
                    "name": place.name, "precision": place.precision, "bytes": place.memory,
                    "fits": fits.collect::<BTreeMap<_, _>>(),
                })
            })
            .collect();
        println!("{}", json!({ "estimates": estimates, "devices": devices }));
        return Ok(());
    }
    println!("{title}");
    println!(
        "\n{:<12}{:<14}{:>12}{:>14}{:>14}{:>12}{:>12}",
        "GiB", "precision", "weights", "optimizer", "activations", "checkpoint", "all"
    );
    for &precision in precisions {
        for (name, memory) in needs(precision) {
            let Memory {
                weights,
                training,
                activations,
                saving,
                shared,
            } = memory;
            let [weights, training, activations, saving, total] =
                [weights, training, activations, saving, memory.total()].map(gib);
            println!(
                "{name:<12}{:<14}{weights:>12}{training:>14}{activations:>14}{saving:>12}{total:>12}",
                label(precision)
            );
            if shared > 0 {
                println!(
                    "{:<12}and {} GiB in the host's memory: the part of frozen weights that one process keeps",
                    "",
                    gib(shared)
                );
            }
        }
    }
    println!();
    for place in &places {
        let memory = place
            .memory
            .map_or("unknown".into(), |bytes| format!("{} GiB", gib(bytes)));
        let uses = needs(place.precision).into_iter();
        let verdicts = uses.map(|(name, need)| match fits(place, &need) {
            Some(true) => format!("{name} fits"),
            Some(false) => format!("{name} does not fit"),
            None => format!("{name} needs {} GiB", gib(place.share(&need))),
        });
        let verdicts: Vec<String> = verdicts.collect();
        println!(
            "{} ({}, {memory}): {}",
            place.name,
            label(place.precision),
            verdicts.join(", ")
        );
    }
    println!("\n{notes}");
    Ok(())
}

/// What memory is estimated of.
struct Subject {
    title: String,
    notes: &'static str,
    /// What this machine's processor would compute in.
    here: NumberFormat,
    /// In which it may be computed.
    precisions: &'static [NumberFormat],
    /// Uses and what each takes.
    needs: Box<dyn Fn(NumberFormat) -> Vec<(&'static str, Memory)>>,
}

impl Subject {
    fn chosen(setup: &Setup, args: &Doctor) -> Result<Self> {
        match &args.config {
            Some(path) if FeedbackRun::is(path)? => Self::feedback(setup, path, args.processes),
            _ => Self::stage(setup, args),
        }
    }

    fn stage(setup: &Setup, args: &Doctor) -> Result<Self> {
        let (spec, stage) = chosen(setup, args)?;
        let model = Deem::new(&spec.model, &Device::flex())?;
        let (_, parameters) = prepare(model, &stage.train, 0)?;
        let processes = args.processes;
        Ok(Self {
            // Published language models are stored in 16 bits, stand-ins in 32.
            here: match args.config {
                Some(_) => NumberFormat::Stored16,
                None => NumberFormat::F32,
            },
            precisions: PRECISIONS,
            title: format!(
                "{}: {} sequences of {} tokens a step",
                stage.name, stage.batch, spec.max_tokens
            ),
            notes: "\"answers\" is inference that draws nothing: the diffusion model is not loaded. \"LLM 16\": frozen \
                    matrices of the language model stay in the 16 bits in which they are published. \"checkpoint\": the copy \
                    that one is written from while training goes on, in the processor's memory.\n\
                    Estimates: activations may be off by half. --set batch=1 or a shorter max_tokens makes them smaller.",
            needs: Box::new(move |precision| {
                let training = training(&spec, &stage, &parameters, precision, processes);
                let inference = |draws| inference(&spec, &parameters, precision, draws);
                vec![
                    ("training", training),
                    ("inference", inference(true)),
                    ("answers", inference(false)),
                ]
            }),
        })
    }

    /// The stage of a correction that takes most.
    fn feedback(setup: &Setup, path: &Path, processes: usize) -> Result<Self> {
        let run = FeedbackRun::read(path, &setup.overrides)?;
        let stages = run.stages.iter().map(|stage| {
            let model = FeedbackModel::new(&run.model, &Device::flex())?;
            let (_, parameters) = prepare(model, &stage.train, 0)?;
            let memory =
                feedback_training(&run.model, stage, &parameters, NumberFormat::F32, processes);
            Ok((memory.total(), stage.clone(), parameters))
        });
        let stages = stages.collect::<Result<Vec<_>>>()?.into_iter();
        let largest = stages.max_by_key(|(total, ..)| *total);
        let (_, stage, parameters) = largest.context("a run has stages")?;
        Ok(Self {
            here: NumberFormat::F32,
            precisions: ENCODER_PRECISIONS,
            title: format!(
                "{}: {} pictures a step, the stage that takes most",
                stage.name, stage.batch
            ),
            notes: "Estimates: activations may be off by half. A smaller stages.N.batch, contrast with fewer `negatives` and \
                    model.checkpoint_blocks make them smaller.",
            needs: Box::new(move |precision| {
                let memory =
                    feedback_training(&run.model, &stage, &parameters, precision, processes);
                vec![("training", memory)]
            }),
        })
    }
}

fn chosen(setup: &Setup, args: &Doctor) -> Result<(ModelSpec, StageConfig)> {
    if let Some(path) = &args.config {
        return setup.run(path);
    }
    let standins = setup.open()?;
    match standins.experiment().stages.first() {
        Some(stage) => Ok((standins.preset().spec(), stage.clone())),
        None => bail!("the preset has no stages"),
    }
}

fn described(memory: &Memory) -> serde_json::Value {
    json!({
        "weights": memory.weights, "training": memory.training,
        "activations": memory.activations, "saving": memory.saving, "shared": memory.shared,
        "total": memory.total(),
    })
}

fn label(precision: NumberFormat) -> &'static str {
    match precision {
        NumberFormat::F32 => "f32",
        NumberFormat::Stored16 => "f32, LLM 16",
        NumberFormat::Bf16 => "bf16",
    }
}

fn gib(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / GIB)
}

fn fits(place: &Place, need: &Memory) -> Option<bool> {
    place.memory.map(|memory| place.share(need) <= memory)
}

/// This machine's processors, which compute in 32 bits, with the memory that is free.
fn machine(precision: NumberFormat) -> Place {
    Place {
        name: "this machine's processor".into(),
        precision,
        memory: memory::free(),
        card: false,
    }
}

/// The graphics cards that NVIDIA's tool lists; none without it.
fn accelerators() -> Vec<Place> {
    let output = std::process::Command::new("nvidia-smi")
        .args([
            "--query-gpu=name,memory.total",
            "--format=csv,noheader,nounits",
        ])
        .output();
    let text = output.map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&text)
        .lines()
        .filter_map(|line| {
            let (name, mib) = line.rsplit_once(',')?;
            Some(Place {
                name: name.trim().into(),
                precision: NumberFormat::Bf16,
                memory: Some(mib.trim().parse::<u64>().ok()? << 20),
                card: true,
            })
        })
        .collect()
}
