//! `deem reproduce`: the built-in experiment.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::sync::Mutex;

use anyhow::{Context, Result};
use burn::tensor::Device;
use deem_data::benchmark::{Benchmarks, Suite};
use deem_data::image::ImageLimits;
use deem_data::world::corpus::Role;
use deem_engine::EngineError;
use deem_engine::evaluate::{Answers, Record};
use deem_engine::generate::{ImageOptions, restore};
use deem_engine::pictures::from_tensor;
use deem_engine::train::{Observer, read_metrics};
use deem_experiment::benchmarks::benchmarks;
use deem_experiment::pretrain::pixels;
use deem_experiment::shuffled_images;
use deem_experiment::study::{Arm, ArmRun, Study};
use deem_metrics::answer::ParseMode;
use deem_metrics::statistics::{Scored, accuracy};
use deem_model::deem::Deem;
use image::RgbImage;

use super::setup::Setup;
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
pub fn run(setup: &Setup, args: &Reproduce) -> Result<()> {
    let started = std::time::Instant::now();
    let standins = setup.open()?;
    let data = standins.data()?;
    let role = if args.validation {
        Role::Validation
    } else {
        Role::Test
    };
    let config = standins.to_toml()?;
    claim(&args.output, &identity(args, &config, &standins.identity()))?;
    let compute = setup.compute()?;
    let set = benchmarks(&standins, &data, role, &compute.device)?;
    let study = Study {
        standins: &standins,
        data: &data,
        output: &args.output,
        compute,
    };
    let seeds: Vec<u64> = (1..=args.seeds.max(1)).collect();
    let arms = chosen(&args.arms);
    // Seed by seed, so that the arms of one seed stand next to each other.
    let jobs: Vec<(u64, Arm)> = seeds
        .iter()
        .flat_map(|seed| arms.iter().map(move |arm| (*seed, *arm)))
        .collect();
    let (mut runs, threads) = side_by_side(&study, jobs, args.jobs, &set, role)?;
    let mut outcomes = BTreeMap::new();
    for arm in arms {
        let own = seeds.iter().filter_map(|seed| runs.remove(&(*seed, arm)));
        outcomes.insert(arm, Outcome::new(arm, own.collect())?);
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
        steps: standins
            .experiment()
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
    let facts = facts(&study, threads, started.elapsed());
    let page = report(&study, &set, &outcomes, &results, &config, facts)?;
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

/// What one arm gave with one seed.
struct Finished {
    seed: u64,
    records: Vec<Record>,
    /// Answers with their own and with exchanged images.
    control: [Vec<Scored>; 2],
    curves: Vec<Curve>,
    run: ArmRun,
}

/// What every seed and arm gave.
type Runs = BTreeMap<(u64, Arm), Finished>;

/// Trains and evaluates all runs, several at a time, each on its share of the processor: the networks
/// of a laptop preset gain little from a second thread. Returns the threads of each run, too.
fn side_by_side(
    study: &Study,
    jobs: Vec<(u64, Arm)>,
    most: Option<usize>,
    set: &Benchmarks,
    role: Role,
) -> Result<(Runs, usize)> {
    let cores = rayon::current_num_threads();
    let workers = most.unwrap_or(cores).clamp(1, jobs.len().max(1));
    let threads = (cores / workers).max(1);
    let queue = Mutex::new(VecDeque::from(jobs));
    let work = || -> Result<Vec<((u64, Arm), Finished)>> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()?;
        let mut finished = Vec::new();
        loop {
            let next = queue.lock().ok().and_then(|mut queue| queue.pop_front());
            let Some((seed, arm)) = next else {
                return Ok(finished);
            };
            let run = pool.install(|| one_run(study, arm, seed, set, role));
            if run.is_err()
                && let Ok(mut queue) = queue.lock()
            {
                queue.clear();
            }
            finished.push(((seed, arm), run?));
        }
    };
    let runs = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .map(|worker| worker.join().expect("a run does not panic"))
            .collect::<Result<Vec<_>>>()
    })?;
    Ok((runs.into_iter().flatten().collect(), threads))
}

fn one_run(study: &Study, arm: Arm, seed: u64, set: &Benchmarks, role: Role) -> Result<Finished> {
    let mut observer = |name: &str| Box::new(TrainProgress::new(name, false)) as Box<dyn Observer>;
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
    let side = study.standins.preset().model.image_size as u32;
    let runner = study.runner(&run.answering);
    let control = shuffled_images(&runner, study.data, role, side, CONTROL_QUESTIONS, seed)?;
    Ok(Finished {
        seed,
        records,
        control,
        curves: curves_of(study, arm, seed)?,
        run,
    })
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

impl Outcome {
    fn new(arm: Arm, runs: Vec<Finished>) -> Result<Self> {
        let mut answers = Answers::default();
        let mut curves = Vec::new();
        let [mut own, mut shuffled] = [Vec::new(), Vec::new()];
        let (mut first, mut per_seed) = (None, BTreeMap::new());
        for finished in runs {
            let seed = finished.seed;
            answers.add(seed, &finished.records, ParseMode::Strict);
            let mut alone = Answers::default();
            alone.add(seed, &finished.records, ParseMode::Strict);
            let scores = alone.scores()?;
            let figures = SeedResults {
                robust_vqa: 100.0 * scores.robust_vqa.mean.mean,
                pope: 100.0 * scores.pope.mean.mean,
                mmvp: 100.0 * scores.mmvp.pair_accuracy.mean,
            };
            per_seed.insert(seed, figures);
            let [with_own, with_others] = finished.control;
            own.extend(with_own);
            shuffled.extend(with_others);
            curves.extend(finished.curves);
            first.get_or_insert((finished.records, finished.run));
        }
        let (records, run) = first.context("at least one seed")?;
        let scores = answers.scores()?;
        let results = ArmResults {
            robust_vqa: RobustVqa::new(&scores.robust_vqa, Some(scores.ranking)),
            pope: (&scores.pope).into(),
            mmvp: (&scores.mmvp).into(),
            region: scores
                .region
                .map(|region| Region::new(region.cider, region.exact)),
            shuffled_images: Some(ShuffledImages {
                own: accuracy(&own)?.percent(),
                shuffled: accuracy(&shuffled)?.percent(),
            }),
            seconds_per_step: median(points(&curves, "seconds")),
            trainable_parameters: run.trainable as u64,
            gradient_ratio: (arm == Arm::Feedback)
                .then(|| average(points(&curves, "gradient_ratio"))),
            per_seed,
        };
        curves.retain(|curve| curve.term != "seconds");
        Ok(Self {
            results,
            answers,
            records,
            run,
            curves,
        })
    }
}

/// Curves of all stages of one run, one step axis for all; `seconds` of the first stage only.
fn curves_of(study: &Study, arm: Arm, seed: u64) -> Result<Vec<Curve>> {
    let mut terms: BTreeMap<&str, Vec<(f64, f64)>> = BTreeMap::new();
    let mut offset = 0.0;
    for (number, stage) in study.standins.experiment().stages.iter().enumerate() {
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
    facts: Vec<(String, String)>,
) -> Result<String> {
    let mut step = 0;
    let stages = study
        .standins
        .experiment()
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
        facts,
        limits: LIMITS.map(String::from).to_vec(),
    };
    Ok(render(&input))
}

fn facts(study: &Study, threads: usize, took: std::time::Duration) -> Vec<(String, String)> {
    let preset = study.standins.preset();
    let stages = &study.standins.experiment().stages;
    let lambda = stages.first().map_or(0.0, |s| s.loss.feedback);
    [
        ("Preset", preset.name.clone()),
        ("Stand-ins", study.standins.identity()[..12].to_owned()),
        ("λ of feedback", lambda.to_string()),
        ("Threads of each run", threads.to_string()),
        (
            "This command took",
            format!("{:.1} minutes", took.as_secs_f64() / 60.0),
        ),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec()
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
    let device = study.compute.device.clone();
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
    Ok(from_tensor(drawn))
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
