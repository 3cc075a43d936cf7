//! `deem reproduce --study caption-completeness`: the same two arms with captions of stage 1 that say everything in a
//! growing share of samples. What captions say, both arms learn from text; only what they leave out can be feedback's gain.

use anyhow::{Context, Result, bail};
use deem_experiment::config::Experiment;
use deem_experiment::pretrain::check::listening_test;
use deem_metrics::figures::Family;
use serde_json::json;

use super::reproduced;
use crate::args::{ArmChoice, Reproduce, StudyChoice};
use crate::commands::setup::Setup;
use crate::summary::{aligned, difference};

/// Shares of captions that say everything.
const DOSES: [f64; 4] = [0.0, 0.25, 0.5, 1.0];
/// What is written.
const FILE: &str = "caption-completeness.json";

/// Runs the study.
pub fn run(setup: &Setup, args: &Reproduce) -> Result<()> {
    if !args.arms.is_empty() || args.recipes.is_some() || !args.only.is_empty() {
        bail!(
            "--arms, --recipes and --only belong to other studies; caption-completeness compares feedback with no-feedback"
        );
    }
    let output = args.output();
    let standins = setup.open()?;
    let field = captions_field(standins.experiment())?;
    let compute = setup.compute()?;
    eprintln!("asking the diffusion model what it listens to");
    let (error, rises) = listening_test(&standins, &standins.data()?, &compute.device)?;
    let mut gains: Vec<(f64, Vec<Family>)> = Vec::new();
    for dose in DOSES {
        eprintln!("captions that say everything: {dose}");
        let own = Setup {
            preset: setup.preset.clone(),
            folder: setup.folder.clone(),
            overrides: with_dose(&setup.overrides, &field, dose),
            device: setup.device.clone(),
            precision: setup.precision,
        };
        let run = Reproduce {
            arms: vec![ArmChoice::Feedback, ArmChoice::NoFeedback],
            seeds: args.seeds,
            jobs: args.jobs,
            study: StudyChoice::Model,
            output: Some(output.join(format!("complete-{dose}"))),
            recipes: None,
            only: Vec::new(),
            validation: args.validation,
            json: args.json,
        };
        let comparisons = reproduced(&own, &run)?.difference.into_iter();
        let families = comparisons.map(|comparison| comparison.families).next();
        gains.push((dose, families.context("two arms to compare")?));
    }
    let listened: Vec<(&str, f64)> = rises
        .iter()
        .map(|(attribute, rise)| (attribute.name(), rise.mean / error))
        .collect();
    let doses: Vec<_> = gains
        .iter()
        .map(|(dose, families)| {
            let named = families.iter().map(|f| (f.name.clone(), json!(f)));
            json!({ "complete": dose, "difference": serde_json::Map::from_iter(named) })
        })
        .collect();
    let listening = listened
        .iter()
        .map(|(name, share)| ((*name).to_owned(), json!(share)));
    let file = json!({
        "seeds": args.seeds,
        "listening": serde_json::Map::from_iter(listening),
        "doses": doses,
    });
    let text = serde_json::to_string_pretty(&file)? + "\n";
    let path = output.join(FILE);
    std::fs::write(&path, &text).with_context(|| path.display().to_string())?;
    if args.json {
        print!("{text}");
    } else {
        print!("{}", table(&gains, &listened));
        println!("\n{}", path.display());
    }
    Ok(())
}

/// Path of the field that says what captions of the built-in scenes leave out.
fn captions_field(experiment: &Experiment) -> Result<String> {
    for (stage, config) in experiment.stages.iter().enumerate() {
        for (entry, spec) in config.data.iter().enumerate() {
            let aligns = spec
                .options
                .get("task")
                .is_some_and(|task| task == "alignment");
            if spec.kind == "world" && aligns {
                return Ok(format!("stages.{stage}.data.{entry}.captions"));
            }
        }
    }
    bail!("caption-completeness: expected a stage with task = \"alignment\", found none")
}

fn with_dose(overrides: &[String], field: &str, dose: f64) -> Vec<String> {
    let own = overrides.iter().cloned();
    own.chain([format!("{field}={{ complete = {dose:?} }}")])
        .collect()
}

/// A row for each benchmark and part, a column for each dose; beside parts that are attributes, how much of its error the
/// diffusion model hears of them.
fn table(gains: &[(f64, Vec<Family>)], listened: &[(&str, f64)]) -> String {
    let doses = gains.iter().map(|(dose, _)| format!("complete {dose}"));
    let mut lines: Vec<Vec<String>> = vec![
        ["feedback − no-feedback".to_owned(), "listening".to_owned()]
            .into_iter()
            .chain(doses)
            .collect(),
    ];
    let first = gains.first().map_or(&[][..], |(_, families)| families);
    for family in first {
        for (at, part) in family.parts.iter().enumerate() {
            let Some(figure) = part.figures.first() else {
                continue;
            };
            let label = if at == 0 {
                family.title.clone()
            } else {
                format!("  {}", part.name)
            };
            let heard = listened.iter().find(|(name, _)| *name == part.name);
            let heard = heard.map_or(String::new(), |(_, share)| format!("{share:+.3}"));
            let cells = gains.iter().map(|(_, families)| {
                let own = families.iter().find(|f| f.name == family.name);
                let found = own.and_then(|f| f.figure(&part.name, &figure.name));
                found.map_or("–".to_owned(), difference)
            });
            lines.push([label, heard].into_iter().chain(cells).collect());
        }
    }
    aligned(&lines)
}

#[cfg(test)]
mod tests {
    use super::*;
    use deem_experiment::standins::StandIns;
    use deem_metrics::figures::{Figure, Part, Unit};
    use std::path::Path;

    fn experiment(overrides: &[String]) -> Experiment {
        let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/standins/tiny");
        let standins = StandIns::open(&assets, overrides).unwrap();
        standins.experiment().clone()
    }

    #[test]
    fn a_dose_is_an_override_of_the_stage_that_aligns() {
        let field = captions_field(&experiment(&[])).unwrap();
        assert_eq!(field, "stages.0.data.0.captions");
        let dosed = experiment(&with_dose(&[], &field, 0.25));
        assert_eq!(
            dosed.stages[0].data[0].options["captions"]["complete"],
            0.25
        );
        let mut other = experiment(&[]);
        other.stages.remove(0);
        let error = captions_field(&other).unwrap_err();
        assert!(error.to_string().contains("alignment"), "{error}");
    }

    #[test]
    fn rows_stand_beside_what_the_diffusion_model_hears() {
        let family = |gain: f64| Family {
            parts: vec![
                Part::new("all", [Figure::plain("pair_accuracy", gain, Unit::Points)]),
                Part::new(
                    "color",
                    [Figure::plain("pair_accuracy", 2.0 * gain, Unit::Points)],
                ),
            ],
            ..Family::new("mmvp", "MMVP")
        };
        let gains = vec![(0.0, vec![family(4.0)]), (1.0, vec![family(0.5)])];
        let text = table(&gains, &[("color", 0.04)]);
        let lines: Vec<&str> = text.lines().collect();
        assert!(
            lines[0].contains("complete 0") && lines[0].contains("complete 1"),
            "{text}"
        );
        assert!(
            lines[1].starts_with("MMVP") && lines[1].contains("+4.0"),
            "{text}"
        );
        assert!(
            lines[2].contains("color") && lines[2].contains("+0.040") && lines[2].contains("+8.0"),
            "{text}"
        );
    }
}
