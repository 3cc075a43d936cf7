//! `deem reproduce`: the built-in experiment.

mod completeness;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result, bail};
use burn::tensor::Device;
use deem_data::benchmark::Item;
use deem_data::image::ImageLimits;
use deem_data::world::corpus::Role;
use deem_engine::EngineError;
use deem_engine::evaluate::{AnswerForm, Answers, Exam, Record, verdict};
use deem_engine::generate::{ImageOptions, restore};
use deem_engine::pictures::from_tensor;
use deem_engine::train::{Difference, Observer, read_metrics};
use deem_experiment::benchmarks::{benchmarks, registry};
use deem_experiment::feedback_bounds;
use deem_experiment::pretrain::pixels;
use deem_experiment::shuffled_images;
use deem_experiment::study::{Arm, ArmRun, Study};
use deem_metrics::answer::{ParseMode, parse_choice};
use deem_metrics::figures::{Family, Figure, Part, Unit};
use deem_metrics::statistics::{Scored, accuracy, paired_difference};
use deem_model::deem::Deem;
use deem_report::{
    Answer, ArmResults, Comparison, Curve, Example, Level, Published, Report, Restoration, Results,
    Stage, Term, render,
};
use image::RgbImage;

use super::encoder_study;
use super::setup::Setup;
use super::side_by_side::side_by_side;
use crate::args::{ArmChoice, Reproduce, StudyChoice};
use crate::interrupt;
use crate::progress::{Progress, TrainProgress};
use crate::summary::table;
use crate::version::COMMIT;

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
    match args.study {
        StudyChoice::Model => whole_model(setup, args),
        StudyChoice::Encoder => encoder_study::run(setup, args),
        StudyChoice::CaptionCompleteness => completeness::run(setup, args),
    }
}

/// The study of the whole model.
fn whole_model(setup: &Setup, args: &Reproduce) -> Result<()> {
    if args.recipes.is_some() || !args.only.is_empty() {
        bail!(
            "--recipes and --only belong to --study encoder; arms of this study are chosen with --arms"
        );
    }
    let results = reproduced(setup, args)?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&results)?);
    } else {
        print!("{}", table(&results));
        println!("\n{}", args.output().join(PAGE).display());
    }
    Ok(())
}

/// The page with everything that was measured.
const PAGE: &str = "report.html";

/// Trains and evaluates the arms, or picks up what an earlier run left; figures and page lie in the run's folder.
fn reproduced(setup: &Setup, args: &Reproduce) -> Result<Results> {
    let started = std::time::Instant::now();
    let standins = setup.open()?;
    let data = standins.data()?;
    let role = if args.validation {
        Role::Validation
    } else {
        Role::Test
    };
    let config = standins.to_toml()?;
    let output = args.output();
    claim(&output, &identity(args, &config, &standins.identity()))?;
    let compute = setup.compute()?;
    eprintln!("making the benchmarks");
    let set = benchmarks(
        &standins,
        &data,
        role,
        &compute.device,
        &registry(),
        &interrupt::asked,
    )?;
    let study = Study {
        standins: &standins,
        data: &data,
        output: &output,
        compute,
    };
    let seeds: Vec<u64> = (1..=args.seeds).collect();
    let arms = chosen(&args.arms);
    // Seed by seed, so that the arms of one seed stand next to each other.
    let jobs: Vec<(u64, Arm)> = seeds
        .iter()
        .flat_map(|seed| arms.iter().map(move |arm| (*seed, *arm)))
        .collect();
    let (runs, threads) = side_by_side(jobs, args.jobs, |(seed, arm)| {
        Ok(((seed, arm), one_run(&study, arm, seed, &set, role)?))
    })?;
    let mut runs: BTreeMap<(u64, Arm), Finished> = runs.into_iter().collect();
    let mut outcomes = BTreeMap::new();
    for arm in arms {
        let own = seeds.iter().filter_map(|seed| runs.remove(&(*seed, arm)));
        outcomes.insert(arm, Outcome::new(arm, own.collect())?);
    }
    let mut difference = Vec::new();
    if let Some(feedback) = outcomes.get(&Arm::Feedback) {
        for (arm, control) in outcomes.iter().filter(|(arm, _)| **arm != Arm::Feedback) {
            let families = feedback.answers.differences(&control.answers)?;
            let (treatment, control) = (Arm::Feedback.name(), arm.name());
            difference.push(Comparison::new(treatment, control, families));
        }
    }
    let results = Results {
        version: env!("CARGO_PKG_VERSION").into(),
        commit: COMMIT.into(),
        seeds,
        steps: standins
            .experiment()
            .stages
            .iter()
            .map(|stage| stage.train.schedule.steps)
            .sum(),
        arms: outcomes
            .values()
            .map(|outcome| outcome.results.clone())
            .collect(),
        difference,
    };
    results.save(&output.join("results.json"))?;
    let facts = facts(&study, threads, started.elapsed());
    let page = report(&study, &set, &outcomes, &results, &config, facts)?;
    let path = output.join(PAGE);
    std::fs::write(&path, page).with_context(|| path.display().to_string())?;
    Ok(results)
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

fn one_run(study: &Study, arm: Arm, seed: u64, set: &[Exam], role: Role) -> Result<Finished> {
    let mut observer = |name: &str| Box::new(TrainProgress::new(name, false)) as Box<dyn Observer>;
    let run = study.train(arm, seed, &mut observer)?;
    let name = format!("{} {seed} questions", arm.name());
    let mut progress = Progress::new(&name, set.iter().map(|exam| exam.items.len() as u64).sum());
    let mut done = 0;
    let records = study.evaluate(&run, arm, seed, set, &mut |count| {
        done += count as u64;
        progress.set(done, "");
        !interrupt::asked()
    })?;
    progress.finish();
    let side = study.standins.preset().model.image_size as u32;
    let runner = study.runner(&run.answering);
    let control = shuffled_images(
        &runner,
        study.data,
        role,
        side,
        CONTROL_QUESTIONS,
        seed,
        &interrupt::asked,
    )?;
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
        let registry = registry();
        let mut answers = Answers::new(&registry, ParseMode::Strict);
        let mut curves = Vec::new();
        let [mut own, mut shuffled] = [Vec::new(), Vec::new()];
        let (mut first, mut alone) = (None, Vec::new());
        for finished in runs {
            let seed = finished.seed;
            answers.add(seed, finished.records.clone());
            let mut own_answers = Answers::new(&registry, ParseMode::Strict);
            own_answers.add(seed, finished.records.clone());
            alone.push((seed, own_answers.families()?));
            let [with_own, with_others] = finished.control;
            own.extend(with_own);
            shuffled.extend(with_others);
            curves.extend(finished.curves);
            first.get_or_insert((finished.records, finished.run));
        }
        let (records, run) = first.context("at least one seed")?;
        let mut families = answers.families()?;
        for (seed, alone) in &alone {
            for (family, alone) in families.iter_mut().zip(alone) {
                family.add_seed(*seed, alone);
            }
        }
        let mut costs = vec![
            Figure::plain("trainable_parameters", run.trainable as f64, Unit::Count)
                .titled("parameters trained"),
        ];
        // An arm without the first stage has no such steps.
        let seconds = points(&curves, "seconds");
        if !seconds.is_empty() {
            let seconds = Figure::plain("seconds_per_step", median(seconds), Unit::Seconds);
            costs.insert(0, seconds);
        }
        if arm == Arm::Feedback {
            let ratio = average(points(&curves, "gradient_ratio"));
            let ratio = Figure::plain("gradient_ratio", ratio, Unit::Ratio);
            costs.push(ratio.titled("gradient ratio, feedback / text"));
        }
        let results = ArmResults {
            name: arm.name().into(),
            families,
            controls: vec![attribute_questions(&own, &shuffled)?],
            costs,
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

/// The control with exchanged images, as figures.
fn attribute_questions(own: &[Scored], shuffled: &[Scored]) -> Result<Family> {
    let part = |name, figure| Part::new(name, [figure]);
    let lost = paired_difference(shuffled, own)?;
    Ok(Family {
        parts: vec![
            part("own images", Figure::percent("accuracy", accuracy(own)?)),
            part(
                "images of other questions",
                Figure::percent("accuracy", accuracy(shuffled)?),
            ),
            part("lost by exchanging", Figure::points("accuracy", &lost)),
        ],
        ..Family::new("attribute_questions", "Attribute questions").about(
            "if answers did not depend on the image, exchanging the images between questions would cost nothing",
        )
    })
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

pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

fn average(values: Vec<f64>) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

fn report(
    study: &Study,
    set: &[Exam],
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
            let first = step;
            step += stage.train.schedule.steps;
            Stage {
                name: stage.name.clone(),
                step: first,
            }
        })
        .collect();
    let names: Vec<&str> = outcomes.keys().map(|arm| arm.name()).collect();
    Ok(render(&Report {
        title: "Generative feedback on emoji scenes".into(),
        subject: "Diffusion feedback for a vision-language model".into(),
        published: published(),
        terms: terms(),
        results: results.clone(),
        curves: outcomes.values().flat_map(|o| o.curves.clone()).collect(),
        levels: levels(study)?,
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
    })?)
}

/// Between which values the feedback loss can move; nothing where none of the stand-ins tells the diffusion model in words.
fn levels(study: &Study) -> Result<Vec<Level>> {
    let standins = study.standins;
    let mut stages = standins.experiment().stages.iter();
    let stage = stages.find(|stage| stage.loss.feedback > 0.0);
    let Some(stage) = stage.filter(|_| !standins.identity_of("text_encoder").is_empty()) else {
        return Ok(Vec::new());
    };
    let (data, device) = (study.data, &study.compute.device);
    let bounds = feedback_bounds(standins, data, stage.loss.timesteps, device)?;
    let level = |(value, note): (f64, &str)| Level {
        term: "L_CSR".into(),
        value,
        note: note.into(),
    };
    let told = (bounds.told, "told all that words can say");
    Ok([told, (bounds.untold, "told nothing")].map(level).to_vec())
}

/// The paper's own gains, at full size.
fn published() -> Vec<Published> {
    let gain = |(family, value): (&str, f64)| Published {
        family: family.into(),
        source: "The paper, at full size".into(),
        value,
    };
    [("mmvp", 6.5), ("pope", 12.8), ("robust_vqa", 4.0)]
        .map(gain)
        .to_vec()
}

/// What the curves show.
fn terms() -> Vec<Term> {
    [
        ("L_NTP", "next token"),
        ("L_CSR", "restoring the image: the feedback"),
        ("L_NIP", "next image"),
        (
            "gradient_ratio",
            "feedback over text, at the encoder, λ included: how loud feedback is, which λ alone does not say",
        ),
    ]
    .map(|(name, note)| Term {
        name: name.into(),
        note: note.into(),
    })
    .to_vec()
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

const LIMITS: [&str; 5] = [
    "Emoji drawings composed to scenes are not photographs; what holds here need not hold there.",
    "The foundation models are small stand-ins of the published architectures, trained in minutes. Their gates \
     stand in the model cards: a diffusion model that does not listen to an attribute cannot teach it.",
    "One seed says little about the spread between runs; the interval then covers the questions only.",
    "Questions and captions come from templates.",
    "Ranking asks whether yes is likelier for the true than for the false label of an image: free of a liking for \
     either word, which accuracy is not.",
];

fn restorations(
    study: &Study,
    set: &[Exam],
    outcomes: &BTreeMap<Arm, Outcome>,
) -> Result<Vec<Restoration>> {
    let mut pictures: Vec<(String, RgbImage)> = Vec::new();
    let items = set.iter().flat_map(|exam| &exam.items);
    let items: Vec<&Item> = items.filter(|item| item.pattern.is_some()).collect();
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
    let drawn = restore(model, &encoded, target, STRENGTH, &options, &mut |_, _| {
        true
    })?;
    Ok(from_tensor(drawn))
}

/// Questions of the first seed that the arms answer differently, from every benchmark in turn.
fn examples(set: &[Exam], outcomes: &BTreeMap<Arm, Outcome>) -> Result<Vec<Example>> {
    let mut by_family: BTreeMap<&str, Vec<Example>> = BTreeMap::new();
    let items = set
        .iter()
        .flat_map(|exam| exam.items.iter().map(move |item| (&exam.benchmark, item)));
    for (benchmark, item) in items {
        let name = benchmark.name();
        let question = benchmark.ask(item);
        if question.form == AnswerForm::Text {
            continue;
        }
        let mut given: Vec<Answer> = Vec::new();
        for (arm, outcome) in outcomes {
            let mut records = outcome.records.iter();
            let found = records
                .find(|r| (r.benchmark.as_str(), &r.part, &r.id) == (name, &item.part, &item.id));
            if let Some(record) = found {
                given.push(Answer {
                    arm: arm.name().to_owned(),
                    text: record.answer.trim().to_owned(),
                    right: verdict(record, ParseMode::Strict)?.is_right(),
                });
            }
        }
        let differ = given.windows(2).any(|pair| pair[0].text != pair[1].text);
        let family = by_family.entry(name).or_default();
        if differ && family.len() < EXAMPLES / 3 {
            family.push(Example {
                image: item.picture.load(ImageLimits::default())?.as_ref().clone(),
                benchmark: format!("{name}/{}", item.part),
                question: question.text,
                truth: truth(item),
                answers: given,
            });
        }
    }
    Ok(by_family.into_values().flatten().collect())
}

/// The right answer as people read it: the letter of an option with its words.
fn truth(item: &Item) -> String {
    let truth = item.answers.first().cloned().unwrap_or_default();
    let options: Vec<&str> = item.options.iter().map(String::as_str).collect();
    match parse_choice(&truth, &options, ParseMode::Strict) {
        Some(right) if truth != options[right] => format!("{truth} {}", options[right]),
        _ => truth,
    }
}

/// The arms asked for; with feedback and without, if none is.
fn chosen(choices: &[ArmChoice]) -> BTreeSet<Arm> {
    let choices = match choices {
        [] => &[ArmChoice::Feedback, ArmChoice::NoFeedback],
        chosen => chosen,
    };
    choices
        .iter()
        .flat_map(|choice| match choice {
            ArmChoice::Feedback => vec![Arm::Feedback],
            ArmChoice::NoFeedback => vec![Arm::NoFeedback],
            ArmChoice::PaperBaseline => vec![Arm::PaperBaseline],
            ArmChoice::Before => vec![Arm::Before],
            ArmChoice::Oracle => vec![Arm::Oracle],
            ArmChoice::All => vec![
                Arm::Feedback,
                Arm::NoFeedback,
                Arm::PaperBaseline,
                Arm::Before,
                Arm::Oracle,
            ],
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
pub(super) fn claim(output: &Path, identity: &str) -> Result<()> {
    std::fs::create_dir_all(output).with_context(|| output.display().to_string())?;
    let path = output.join("config.toml");
    match std::fs::read_to_string(&path) {
        Ok(found) if found == identity => Ok(()),
        Ok(found) => {
            let lines = (1..).zip(found.lines().zip(identity.lines()));
            let mut differences: Vec<Difference> = lines
                .filter(|(_, (there, now))| there != now)
                .map(|(number, (there, now))| Difference {
                    field: format!("config.toml, line {number}"),
                    there: there.to_owned(),
                    now: now.to_owned(),
                })
                .collect();
            if differences.is_empty() {
                let lines = |text: &str| format!("{} lines", text.lines().count());
                differences.push(Difference {
                    field: "config.toml".to_owned(),
                    there: lines(&found),
                    now: lines(identity),
                });
            }
            Err(EngineError::OtherRun {
                path: output.into(),
                differences,
            }
            .into())
        }
        Err(_) => std::fs::write(&path, identity).with_context(|| path.display().to_string()),
    }
}
