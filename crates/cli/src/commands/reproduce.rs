//! `deem reproduce`: the built-in experiment.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result};
use burn::tensor::Device;
use deem_data::benchmark::{Benchmarks, Suite};
use deem_data::corpus::Role;
use deem_data::image::ImageLimits;
use deem_engine::EngineError;
use deem_engine::evaluate::{Answers, Record, benchmarks, shuffled_images};
use deem_engine::generate::{ImageOptions, restore};
use deem_engine::pretrain::pixels;
use deem_engine::reproduce::{Arm, ArmRun, Study};
use deem_engine::sources::BuiltIn;
use deem_engine::train::{Observer, read_metrics};
use deem_metrics::answer::ParseMode;
use deem_model::deem::Deem;
use image::RgbImage;

use super::session::{StandInChoice, to_picture};
use crate::args::{ArmChoice, Reproduce};
use crate::interrupt;
use crate::progress::{Progress, TrainProgress};
use crate::report::{
    ArmResults, Curve, Differences, Example, Region, ReportInput, Restoration, Results, RobustVqa,
    SeedResults, ShuffledImages, difference_name, render,
};
use crate::summary::table;

/// Attribute questions of the shuffled-image control.
const CONTROL_QUESTIONS: usize = 240;
/// Pictures restored in the report.
const RESTORED: usize = 6;
/// Questions shown that the arms answer differently.
const EXAMPLES: usize = 12;
/// How much of a picture is noise when its restoration starts (the paper's Figures 9 and 10).
const STRENGTH: f64 = 0.65;

/// Runs the command.
pub fn run(choice: &StandInChoice, args: &Reproduce) -> Result<()> {
    let started = std::time::Instant::now();
    let standins = choice.open()?;
    let preset = standins.preset();
    let data = BuiltIn::new(preset)?;
    let role = if args.validation {
        Role::Validation
    } else {
        Role::Test
    };
    let config = toml::to_string(preset)?;
    claim(&args.output, &identity(args, &config, &standins.identity()))?;
    let device = Device::flex();
    let set = benchmarks(&standins, &data, role, &device)?;
    let study = Study {
        standins: &standins,
        data: &data,
        output: &args.output,
        device: device.autodiff(),
    };
    let seeds: Vec<u64> = (1..=args.seeds.max(1)).collect();
    let mut outcomes = BTreeMap::new();
    for arm in chosen(&args.arms) {
        outcomes.insert(arm, one_arm(&study, arm, &seeds, &set, role)?);
    }
    let mut difference = BTreeMap::new();
    if let Some(feedback) = outcomes.get(&Arm::Feedback) {
        for (arm, control) in outcomes.iter().filter(|(arm, _)| **arm != Arm::Feedback) {
            let [robust_vqa, pope, mmvp] = feedback.answers.differences(&control.answers)?;
            let differences = Differences {
                robust_vqa: robust_vqa.into(),
                pope: pope.into(),
                mmvp: mmvp.into(),
            };
            difference.insert(
                difference_name(Arm::Feedback.name(), arm.name()),
                differences,
            );
        }
    }
    let results = Results {
        version: env!("CARGO_PKG_VERSION").into(),
        commit: commit(),
        seeds,
        steps: preset
            .stages
            .iter()
            .map(|stage| stage.train.schedule.steps)
            .sum(),
        arms: outcomes
            .iter()
            .map(|(arm, outcome)| (arm.name().to_owned(), outcome.results.clone()))
            .collect(),
        difference,
    };
    results.save(&args.output.join("results.json"))?;
    let seconds = started.elapsed().as_secs_f64();
    let page = report(&study, &set, &outcomes, &results, &config, seconds)?;
    let path = args.output.join("report.html");
    std::fs::write(&path, page).with_context(|| path.display().to_string())?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&results)?);
    } else {
        print!("{}", table(&results));
        println!("\n{}", path.display());
    }
    Ok(())
}

/// What one arm gave over all its seeds.
struct Outcome {
    results: ArmResults,
    answers: Answers,
    /// Records of the first seed.
    records: Vec<Record>,
    /// Models of the first seed.
    run: ArmRun,
    curves: Vec<Curve>,
}

fn one_arm(
    study: &Study,
    arm: Arm,
    seeds: &[u64],
    set: &Benchmarks,
    role: Role,
) -> Result<Outcome> {
    let preset = study.standins.preset();
    let mut answers = Answers::default();
    let (mut curves, mut controls, mut per_seed) = (Vec::new(), Vec::new(), BTreeMap::new());
    let mut first: Option<(Vec<Record>, ArmRun)> = None;
    for &seed in seeds {
        let mut observer =
            |name: &str| Box::new(TrainProgress::new(name, false)) as Box<dyn Observer>;
        let run = study.train(arm, seed, &mut observer)?;
        let name = format!("{} {seed} questions", arm.name());
        let mut progress = Progress::new(&name, set.items.len() as u64);
        let mut done = 0;
        let records = study.evaluate(&run, arm, seed, set, &mut |count| {
            done += count as u64;
            progress.set(done, "");
            !interrupt::asked()
        })?;
        progress.finish();
        answers.add(seed, &records, ParseMode::Strict);
        let mut own = Answers::default();
        own.add(seed, &records, ParseMode::Strict);
        let scores = own.scores()?;
        per_seed.insert(
            seed,
            SeedResults {
                robust_vqa: 100.0 * scores.robust_vqa.mean.mean,
                pope: 100.0 * scores.pope.mean.mean,
                mmvp: 100.0 * scores.mmvp.pair_accuracy.mean,
            },
        );
        let runner = study.runner(&run.answering);
        let side = preset.model.image_size as u32;
        controls.push(shuffled_images(
            &runner,
            study.data,
            role,
            side,
            CONTROL_QUESTIONS,
        )?);
        curves.extend(curves_of(study, arm, seed)?);
        first.get_or_insert((records, run));
    }
    let (records, run) = first.context("at least one seed")?;
    let scores = answers.scores()?;
    // The control's questions are the same for all seeds; its interval is the first seed's.
    let [own, shuffled] = controls[0].map(|interval| interval.percent());
    let results = ArmResults {
        robust_vqa: RobustVqa::new(&scores.robust_vqa, Some(scores.ranking)),
        pope: (&scores.pope).into(),
        mmvp: (&scores.mmvp).into(),
        region: scores
            .region
            .map(|region| Region::new(region.cider, region.exact)),
        shuffled_images: Some(ShuffledImages { own, shuffled }),
        seconds_per_step: median(points(&curves, "seconds")),
        trainable_parameters: run.trainable as u64,
        gradient_ratio: (arm == Arm::Feedback).then(|| average(points(&curves, "gradient_ratio"))),
        per_seed,
    };
    curves.retain(|curve| curve.term != "seconds");
    Ok(Outcome {
        results,
        answers,
        records,
        run,
        curves,
    })
}

/// Curves of all stages of one run, one step axis for all; `seconds` of the first stage only.
fn curves_of(study: &Study, arm: Arm, seed: u64) -> Result<Vec<Curve>> {
    let mut terms: BTreeMap<&str, Vec<(f64, f64)>> = BTreeMap::new();
    let mut offset = 0.0;
    for (number, stage) in study.standins.preset().stages.iter().enumerate() {
        let log = study
            .folder(arm, seed)
            .join(&stage.name)
            .join("metrics.jsonl");
        for line in read_metrics(&log)? {
            let step = offset + line["step"].as_f64().unwrap_or_default();
            let logged = [
                ("L_NTP", "loss/text", true),
                ("L_NIP", "loss/image", true),
                ("L_CSR", "loss/feedback", true),
                (
                    "gradient_ratio",
                    "encoder_gradient/ratio",
                    arm == Arm::Feedback,
                ),
                ("seconds", "seconds", number == 0),
            ];
            for (term, field, wanted) in logged {
                if let (true, Some(value)) = (wanted, line[field].as_f64()) {
                    terms.entry(term).or_default().push((step, value));
                }
            }
        }
        offset += stage.train.schedule.steps as f64;
    }
    let curve = |(term, points): (&str, Vec<(f64, f64)>)| Curve {
        arm: arm.name().into(),
        seed,
        term: term.into(),
        points,
    };
    Ok(terms.into_iter().map(curve).collect())
}

fn points(curves: &[Curve], term: &str) -> Vec<f64> {
    let wanted = curves.iter().filter(|curve| curve.term == term);
    wanted
        .flat_map(|curve| curve.points.iter().map(|(_, value)| *value))
        .collect()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

fn average(values: Vec<f64>) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

fn report(
    study: &Study,
    set: &Benchmarks,
    outcomes: &BTreeMap<Arm, Outcome>,
    results: &Results,
    config: &str,
    seconds: f64,
) -> Result<String> {
    let preset = study.standins.preset();
    let mut step = 0;
    let stages = preset
        .stages
        .iter()
        .map(|stage| {
            step += stage.train.schedule.steps;
            (step - stage.train.schedule.steps, stage.name.clone())
        })
        .collect();
    let names: Vec<&str> = outcomes.keys().map(|arm| arm.name()).collect();
    let input = ReportInput {
        title: "Generative feedback on emoji scenes".into(),
        results: results.clone(),
        curves: outcomes.values().flat_map(|o| o.curves.clone()).collect(),
        stages,
        restorations: restorations(study, set, outcomes)?,
        examples: examples(set, outcomes)?,
        config_toml: config.to_owned(),
        command: format!(
            "cargo run --release -- reproduce --arms {} --seeds {}",
            names.join(","),
            results.seeds.len()
        ),
        facts: vec![
            ("Preset".into(), preset.name.clone()),
            (
                "Stand-ins".into(),
                study.standins.identity()[..12].to_owned(),
            ),
            (
                "λ of feedback".into(),
                preset.stages[0].loss.feedback.to_string(),
            ),
            (
                "This run took".into(),
                format!("{:.1} minutes", seconds / 60.0),
            ),
        ],
        limits: LIMITS.map(String::from).to_vec(),
    };
    Ok(render(&input))
}

const LIMITS: [&str; 4] = [
    "Emoji drawings composed to scenes are not photographs; what holds here need not hold there.",
    "The foundation models are small stand-ins of the published architectures, trained in minutes. Their gates \
     stand in the model cards: a diffusion model that does not listen to an attribute cannot teach it.",
    "One seed says little about the spread between runs; the interval then covers the questions only.",
    "Questions and captions come from templates.",
];

fn restorations(
    study: &Study,
    set: &Benchmarks,
    outcomes: &BTreeMap<Arm, Outcome>,
) -> Result<Vec<Restoration>> {
    let mut pictures: Vec<(String, RgbImage)> = Vec::new();
    let items = set.suite(Suite::Mmvp);
    let spread = (items.len() / RESTORED).max(1);
    for item in items.into_iter().step_by(spread).take(RESTORED) {
        let image = item.picture.load(ImageLimits::default())?;
        let label = item.pattern.clone().unwrap_or_else(|| item.id.clone());
        pictures.push((label, image.as_ref().clone()));
    }
    let images: Vec<RgbImage> = pictures.iter().map(|(_, image)| image.clone()).collect();
    let device = study.device.clone().inner();
    let before = draw(study, &study.standins.connected(&device)?, &images, &device)?;
    let mut after = Vec::new();
    for (arm, outcome) in outcomes {
        after.push((
            arm.name(),
            draw(study, &outcome.run.aligned, &images, &device)?,
        ));
    }
    Ok(pictures
        .into_iter()
        .enumerate()
        .map(|(i, (label, input))| Restoration {
            label,
            input,
            before: before[i].clone(),
            after: after
                .iter()
                .map(|(arm, drawn)| ((*arm).to_owned(), drawn[i].clone()))
                .collect(),
        })
        .collect())
}

fn draw(
    study: &Study,
    model: &Deem,
    images: &[RgbImage],
    device: &Device,
) -> Result<Vec<RgbImage>> {
    let dims = &study.standins.preset().model;
    let encoded = model.encode_images(pixels(images, dims.image_size as u32, device), None);
    let target = pixels(images, dims.diffusion_size as u32, device);
    // No guidance: the null condition is trained on contexts, not on images.
    let options = ImageOptions {
        guidance: 1.0,
        ..ImageOptions::default()
    };
    let drawn = restore(model, &encoded, target, STRENGTH, &options)?;
    let rows = (0..images.len()).map(|i| to_picture(drawn.clone().narrow(0, i, 1)));
    Ok(rows.collect())
}

/// Questions of the first seed that the arms answer differently, from every benchmark in turn.
fn examples(set: &Benchmarks, outcomes: &BTreeMap<Arm, Outcome>) -> Result<Vec<Example>> {
    let mut by_family: BTreeMap<&str, Vec<Example>> = BTreeMap::new();
    for item in set.items.iter().filter(|item| item.suite != Suite::Region) {
        let benchmark = format!("{}/{}", item.suite.family(), item.suite.part());
        let given: Vec<(String, String)> = outcomes
            .iter()
            .filter_map(|(arm, outcome)| {
                let mut records = outcome.records.iter();
                let found = records.find(|r| r.benchmark == benchmark && r.id == item.id)?;
                Some((arm.name().to_owned(), found.answer.trim().to_owned()))
            })
            .collect();
        let differ = given.windows(2).any(|pair| pair[0].1 != pair[1].1);
        let family = by_family.entry(item.suite.family()).or_default();
        if differ && family.len() < EXAMPLES / 3 {
            family.push(Example {
                image: item.picture.load(ImageLimits::default())?.as_ref().clone(),
                benchmark,
                question: item.prompt(),
                truth: item.answers.first().cloned().unwrap_or_default(),
                answers: given,
            });
        }
    }
    Ok(by_family.into_values().flatten().collect())
}

fn chosen(choices: &[ArmChoice]) -> BTreeSet<Arm> {
    choices
        .iter()
        .flat_map(|choice| match choice {
            ArmChoice::Feedback => vec![Arm::Feedback],
            ArmChoice::NoFeedback => vec![Arm::NoFeedback],
            ArmChoice::PaperBaseline => vec![Arm::PaperBaseline],
            ArmChoice::All => vec![Arm::Feedback, Arm::NoFeedback, Arm::PaperBaseline],
        })
        .collect()
}

/// What a run directory belongs to; arms and seeds may be added to it later.
fn identity(args: &Reproduce, preset: &str, weights: &str) -> String {
    let split = if args.validation {
        "validation"
    } else {
        "test"
    };
    format!("# deem reproduce, {split} split, stand-ins {weights}\n{preset}")
}

/// Marks a run directory with its configuration, or refuses one that has another.
fn claim(output: &Path, identity: &str) -> Result<()> {
    std::fs::create_dir_all(output).with_context(|| output.display().to_string())?;
    let path = output.join("config.toml");
    match std::fs::read_to_string(&path) {
        Ok(found) if found == identity => Ok(()),
        Ok(found) => {
            let mut lines = found.lines().zip(identity.lines());
            let differing = lines.find(|(a, b)| a != b);
            let difference = differing.map_or_else(
                || "lines were added or removed".to_owned(),
                |(there, here)| format!("{there:?} there, {here:?} now"),
            );
            Err(EngineError::OtherRun {
                path: output.into(),
                difference,
            }
            .into())
        }
        Err(_) => std::fs::write(&path, identity).with_context(|| path.display().to_string()),
    }
}

/// Commit of the source tree, if this runs in one.
fn commit() -> Option<String> {
    let output = std::process::Command::new("git")
        .args(["rev-parse", "--short=12", "HEAD"])
        .stderr(std::process::Stdio::null())
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}
