//! `deem reproduce --study encoder`: the stand-in CLIP corrected on pictures alone, objective by objective.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use deem_data::world::corpus::Role;
use deem_engine::train::{Observer, read_metrics};
use deem_experiment::encoder_study::scores::{BySeed, Summary, difference, family};
use deem_experiment::encoder_study::{
    EncoderAnswer, EncoderArm, EncoderExam, EncoderPart, EncoderStudy, EncoderStudyConfig, Kind,
    UNTOUCHED, restored,
};
use deem_metrics::figures::{Figure, Unit};
use deem_model::clip::tower::ImageTower;
use deem_report::{
    ArmResults, Comparison, Curve, Report, Restoration, Results, Stage, Term, render,
};
use image::RgbImage;
use serde_json::json;

use super::reproduce::{claim, median};
use super::setup::Setup;
use super::side_by_side::side_by_side;
use crate::args::Reproduce;
use crate::interrupt;
use crate::progress::{Progress, TrainProgress};
use crate::summary::table;
use crate::version::COMMIT;

/// Pictures restored in the report.
const RESTORED: usize = 3;

/// Runs the command.
pub fn run(setup: &Setup, args: &Reproduce) -> Result<()> {
    let started = Instant::now();
    if !args.arms.is_empty() {
        bail!("--arms belongs to --study model; arms of this study are chosen with --only");
    }
    let (own, others): (Vec<String>, Vec<String>) =
        setup.overrides.iter().cloned().partition(|entry| {
            let field = entry.split(['.', '=']).next().unwrap_or_default().trim();
            EncoderStudyConfig::FIELDS.contains(&field)
        });
    let standins = Setup {
        overrides: others,
        ..setup.without_overrides()
    }
    .open()?;
    let beside = || standins.root().join(EncoderStudyConfig::FILE);
    let file = args.recipes.clone().unwrap_or_else(beside);
    let config = EncoderStudyConfig::read(&file, &own, &standins)?.only(&args.only)?;
    let data = standins.data()?;
    let role = match args.validation {
        true => Role::Validation,
        false => Role::Test,
    };
    let output = args.output();
    let text = format!("{}\n{}", toml::to_string(&config)?, standins.to_toml()?);
    let weights = standins.identity();
    claim(
        &output,
        &format!("# deem reproduce --study encoder, {role:?} split, stand-ins {weights}\n{text}"),
    )?;
    let compute = setup.compute()?;
    eprintln!("making the questions");
    let device = compute.device.clone();
    let exam = match &config.photographs {
        Some(photographs) => EncoderExam::of_photographs(
            photographs,
            config.sizes,
            data.resolution(),
            args.validation,
            &interrupt::asked,
        ),
        None => EncoderExam::new(&standins, &data, &config, role, &device, &interrupt::asked),
    }?;
    let study = EncoderStudy {
        standins: &standins,
        data: &data,
        config: &config,
        exam: &exam,
        output: &output,
        compute,
    };
    let seeds: Vec<u64> = (1..=args.seeds).collect();
    let untouched = ask(&study, UNTOUCHED, None, &study.untouched(&device)?)?;
    let jobs: Vec<(u64, &EncoderArm)> = seeds
        .iter()
        .flat_map(|seed| config.arms.iter().map(move |arm| (*seed, arm)))
        .collect();
    let (runs, threads) =
        side_by_side(jobs, args.jobs, |(seed, arm)| corrected(&study, arm, seed))?;
    let mut outcomes = vec![Outcome {
        name: UNTOUCHED.to_owned(),
        answers: seeds
            .iter()
            .map(|seed| (*seed, untouched.clone()))
            .collect(),
        curves: Vec::new(),
        restorations: Vec::new(),
    }];
    for run in runs.into_iter().flatten() {
        match outcomes.iter_mut().find(|known| known.name == run.name) {
            Some(known) => {
                known.answers.extend(run.answers);
                known.curves.extend(run.curves);
            }
            None => outcomes.push(run),
        }
    }
    // Arms in the order of the file, whichever seed was ready first.
    let results = results(&study, &outcomes, seeds)?;
    results.save(&output.join("results.json"))?;
    let summaries = summaries(&outcomes)?;
    let facts = facts(&study, threads, started.elapsed());
    let page = render(&report(&study, args, &outcomes, &results, &text, facts))?;
    let path = output.join("report.html");
    std::fs::write(&path, page).with_context(|| path.display().to_string())?;
    if args.json {
        let arms = json!({ "arms": summaries, "seeds": results.seeds, "commit": COMMIT });
        println!("{}", serde_json::to_string_pretty(&arms)?);
    } else {
        print!("{}", table(&results));
        println!("\n{}", path.display());
    }
    Ok(())
}

/// What one arm gave.
struct Outcome {
    name: String,
    answers: BySeed,
    curves: Vec<Curve>,
    /// Of the first seed.
    restorations: Vec<Restoration>,
}

/// Trains an arm with one seed, without retention and with it, and asks what came of it.
fn corrected(study: &EncoderStudy, arm: &EncoderArm, seed: u64) -> Result<Vec<Outcome>> {
    let mut outcomes = Vec::new();
    for retains in arm.variants() {
        let name = arm.title(retains);
        let mut observer =
            |name: &str| Box::new(TrainProgress::new(name, false)) as Box<dyn Observer>;
        let [before, after] = study.train(arm, retains, seed, &mut observer)?;
        let answers = ask(study, &name, Some(seed), &after.vision_model)?;
        let mut restorations = Vec::new();
        if seed == 1 {
            let pictures = shown(study);
            let model = &study.standins.preset().model;
            let sides = [model.image_size, model.diffusion_size];
            let images: Vec<RgbImage> = pictures.iter().map(|(_, image)| image.clone()).collect();
            let device = &study.compute.device;
            let drawn = [
                restored(&before, &images, sides, device)?,
                restored(&after, &images, sides, device)?,
            ];
            let [before, after] = drawn.map(Vec::into_iter);
            let strips = pictures.into_iter().zip(before.zip(after));
            restorations.extend(strips.map(|((label, input), (before, after))| Restoration {
                label: format!("{name}: {label}"),
                input,
                before,
                after: vec![(name.clone(), after)],
            }));
        }
        outcomes.push(Outcome {
            curves: curves(study, arm, retains, seed)?,
            answers: vec![(seed, answers)],
            restorations,
            name,
        });
    }
    Ok(outcomes)
}

fn ask(
    study: &EncoderStudy,
    name: &str,
    seed: Option<u64>,
    tower: &ImageTower,
) -> Result<Vec<EncoderAnswer>> {
    let seeded = seed.map_or(String::new(), |seed| format!(" {seed}"));
    let mut progress = Progress::new(
        &format!("{name}{seeded} questions"),
        study.exam.pictures() as u64,
    );
    let mut done = 0;
    let answers = study.ask(name, seed, tower, &mut |count| {
        done += count as u64;
        progress.set(done, "");
        !interrupt::asked()
    })?;
    progress.finish();
    Ok(answers)
}

/// First pictures of some pairs, with what is asked of them.
fn shown(study: &EncoderStudy) -> Vec<(String, RgbImage)> {
    let pairs = study.exam.pairs();
    let spread = (pairs.len() / RESTORED).max(1);
    let some = pairs.iter().step_by(spread).take(RESTORED);
    some.map(|pair| (pair.pattern.name().to_owned(), pair.images[0].clone()))
        .collect()
}

fn results(study: &EncoderStudy, outcomes: &[Outcome], seeds: Vec<u64>) -> Result<Results> {
    let mut arms = Vec::new();
    let mut compared = Vec::new();
    let untouched = &outcomes[0].answers;
    for outcome in outcomes {
        let kinds = Kind::asked(&outcome.answers);
        let families = kinds.iter().map(|kind| family(*kind, &outcome.answers));
        let crossed = Kind::Crossed.is_in(&outcome.answers);
        let crossed = crossed.then(|| family(Kind::Crossed, &outcome.answers));
        let seconds = outcome
            .curves
            .iter()
            .filter(|curve| curve.term == "seconds");
        let seconds: Vec<f64> = seconds
            .flat_map(|curve| curve.points.iter().map(|(_, value)| *value))
            .collect();
        let cost = Figure::plain("seconds_per_step", median(seconds), Unit::Seconds);
        arms.push(ArmResults {
            name: outcome.name.clone(),
            families: families.collect::<Result<_, _>>()?,
            controls: crossed.transpose()?.into_iter().collect(),
            costs: (outcome.name != UNTOUCHED)
                .then_some(cost)
                .into_iter()
                .collect(),
        });
        if outcome.name != UNTOUCHED {
            let families = kinds.into_iter().map(|kind| {
                let compared = difference(kind, &outcome.answers, untouched)?;
                Ok::<_, anyhow::Error>(compared.1)
            });
            let families = families.collect::<Result<_>>()?;
            compared.push(Comparison::new(&outcome.name, UNTOUCHED, families));
        }
    }
    let steps = study.config.arms.iter().map(|arm| {
        let steps = arm.stages.iter().map(|stage| stage.train.schedule.steps);
        steps.sum::<u64>()
    });
    Ok(Results {
        version: env!("CARGO_PKG_VERSION").into(),
        commit: COMMIT.into(),
        seeds,
        steps: steps.max().unwrap_or_default(),
        arms,
        difference: compared,
    })
}

fn summaries(outcomes: &[Outcome]) -> Result<BTreeMap<&str, Summary>> {
    let untouched = &outcomes[0].answers;
    let mut summaries = BTreeMap::new();
    for outcome in outcomes {
        let against = (outcome.name != UNTOUCHED).then_some(untouched);
        let summary = Summary::new(&outcome.answers, against)?;
        summaries.insert(outcome.name.as_str(), summary);
    }
    Ok(summaries)
}

/// Curves of all stages of one run, one step axis for all.
fn curves(study: &EncoderStudy, arm: &EncoderArm, retains: bool, seed: u64) -> Result<Vec<Curve>> {
    let mut terms: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
    let mut offset = 0.0;
    let stages = arm.stages(retains);
    for (number, stage) in stages.iter().enumerate() {
        let title = arm.title(retains && number + 1 == stages.len());
        let folder = study.folder(&title, seed).join(&stage.name);
        for line in read_metrics(&folder.join("metrics.jsonl"))? {
            let step = offset + line["step"].as_f64().unwrap_or_default();
            let Some(fields) = line.as_object() else {
                continue;
            };
            for (field, value) in fields {
                let term = field.strip_prefix("loss/");
                let term = term.or((field == "seconds").then_some("seconds"));
                if let (Some(term), Some(value)) = (term, value.as_f64()) {
                    terms
                        .entry(term.to_owned())
                        .or_default()
                        .push((step, value));
                }
            }
        }
        offset += stage.train.schedule.steps as f64;
    }
    let curve = |(term, points)| Curve {
        arm: arm.title(retains),
        seed,
        term,
        points,
    };
    Ok(terms.into_iter().map(curve).collect())
}

fn report(
    study: &EncoderStudy,
    args: &Reproduce,
    outcomes: &[Outcome],
    results: &Results,
    config: &str,
    facts: Vec<(String, String)>,
) -> Report {
    let terms = [
        (
            "feedback",
            "denoising error under the encoder's own condition",
        ),
        (
            "contrast",
            "contrast of predictions under own and foreign conditions (DCR)",
        ),
        ("retention", "change of what the encoder said before"),
    ];
    let only = match args.only.as_slice() {
        [] => String::new(),
        names => format!(" --only {}", names.join(",")),
    };
    let curves = outcomes.iter().flat_map(|outcome| &outcome.curves);
    Report {
        title: "A bare encoder, corrected on pictures alone".into(),
        subject: "Diffusion feedback for a CLIP".into(),
        published: Vec::new(),
        terms: terms
            .map(|(name, note)| Term {
                name: name.into(),
                note: note.into(),
            })
            .to_vec(),
        results: results.clone(),
        curves: curves
            .filter(|curve| curve.term != "seconds")
            .cloned()
            .collect(),
        levels: Vec::new(),
        stages: stages(study),
        restorations: outcomes
            .iter()
            .flat_map(|outcome| outcome.restorations.clone())
            .collect(),
        examples: Vec::new(),
        config_toml: config.to_owned(),
        command: format!(
            "deem reproduce --study encoder --seeds {}{only}",
            results.seeds.len()
        ),
        facts,
        limits: limits(study.config.encoder),
    }
}

/// Where stages begin, if they begin at the same step in all arms.
fn stages(study: &EncoderStudy) -> Vec<Stage> {
    let mut arms = study.config.arms.iter().map(|arm| {
        let mut step = 0;
        let stages = arm.stages.iter().map(|stage| {
            let first = step;
            step += stage.train.schedule.steps;
            Stage {
                name: stage.name.clone(),
                step: first,
            }
        });
        stages.collect::<Vec<_>>()
    });
    let first = arms.next().unwrap_or_default();
    match arms.all(|stages| stages == first) {
        true => first,
        false => Vec::new(),
    }
}

fn facts(study: &EncoderStudy, threads: usize, took: Duration) -> Vec<(String, String)> {
    [
        ("Preset", study.standins.preset().name.clone()),
        ("Stand-ins", study.standins.identity()[..12].to_owned()),
        ("Pairs", study.exam.pairs().len().to_string()),
        ("Threads of each run", threads.to_string()),
        (
            "This command took",
            format!("{:.1} minutes", took.as_secs_f64() / 60.0),
        ),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec()
}

fn limits(encoder: EncoderPart) -> Vec<String> {
    let words = match encoder {
        EncoderPart::Clip => {
            "Its text tower has read nouns and never the words for number, colour, place or orientation. What those words \
             mean to it is chance, and correcting the image tower on pictures cannot change that: where pairs are told \
             apart as often the wrong way round as the right way, the encoder does not know the words, whatever it sees."
        }
        EncoderPart::ClipAttributes => {
            "Some of the captions that it has read say everything; what its text tower makes of the words for number, \
             colour, place and orientation is from these. Pairs told apart the wrong way round are pairs whose words it \
             does not know."
        }
    };
    let mut limits = LIMITS.map(String::from).to_vec();
    limits.insert(1, words.to_owned());
    limits
}

const LIMITS: [&str; 4] = [
    "Emoji drawings composed to scenes are not photographs, and the encoder is a small stand-in, trained for hours on two \
     processor cores.",
    "Probes are fitted with labels of training scenes; they say what is in the features, not what texts can find there.",
    "Pairs are not chosen by what the encoder finds alike, as MMVP's are: chosen so, any change of it looks like a gain.",
    "Restorations before correction are of the same denoiser and projection with the encoder as it was.",
];
