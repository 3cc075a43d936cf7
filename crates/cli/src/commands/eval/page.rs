//! A page of one evaluation: figures, bars, and questions that were answered wrongly.

use std::path::PathBuf;

use anyhow::{Context, Result};
use deem_data::image::ImageLimits;
use deem_engine::evaluate::{Evaluation, Exam, Record};
use deem_metrics::figures::Family;
use deem_report::{Answer, ArmResults, Example, Report, Results, render};

use crate::args::Eval;
use crate::version;

/// Failures shown of each benchmark.
const SHOWN: usize = 12;

/// Writes `report.html` into the evaluation's folder.
pub fn write(
    args: &Eval,
    evaluation: &Evaluation,
    families: &[(Exam, Family)],
    source: &str,
) -> Result<PathBuf> {
    let limits = ImageLimits {
        max_pixels: args.model.max_megapixels * 1_000_000,
    };
    let mut examples = Vec::new();
    for (exam, _) in families {
        examples.extend(failures(evaluation, exam, source, limits));
    }
    let names: Vec<String> = args.benchmark.clone();
    let report = Report {
        title: source.to_owned(),
        subject: "Evaluation".into(),
        results: Results {
            version: env!("CARGO_PKG_VERSION").into(),
            commit: version::COMMIT.into(),
            seeds: vec![],
            steps: 0,
            arms: vec![ArmResults {
                name: source.to_owned(),
                families: families.iter().map(|(_, family)| family.clone()).collect(),
                ..ArmResults::default()
            }],
            difference: vec![],
        },
        published: vec![],
        curves: vec![],
        terms: vec![],
        levels: vec![],
        stages: vec![],
        restorations: vec![],
        examples,
        config_toml: String::new(),
        command: format!("deem eval {source} --benchmark {}", names.join(",")),
        facts: vec![("Answers".into(), evaluation.folder().display().to_string())],
        limits: vec![
            "Intervals hold 95 % and are clustered by picture or pair: they speak of new questions of the same kind, not \
             of what another training seed would give."
                .into(),
            "Answers that could not be understood, and questions that could not be asked, count as wrong.".into(),
        ],
    };
    let path = evaluation.folder().join("report.html");
    let temporary = path.with_extension("html.part");
    std::fs::write(&temporary, render(&report)?)
        .with_context(|| temporary.display().to_string())?;
    std::fs::rename(&temporary, &path).with_context(|| path.display().to_string())?;
    Ok(path)
}

/// Wrong answers whose picture can be read, from all over the benchmark.
fn failures(
    evaluation: &Evaluation,
    exam: &Exam,
    source: &str,
    limits: ImageLimits,
) -> Vec<Example> {
    let records = evaluation.records(exam);
    let pairs = exam.items.iter().zip(&records);
    let wrong: Vec<_> = pairs
        .filter(|(_, record)| record.score < 0.5 && record.error.is_none())
        .collect();
    let step = wrong.len().div_ceil(SHOWN).max(1);
    let shown = wrong.into_iter().step_by(step);
    shown
        .filter_map(|(item, record)| {
            let image = item.picture.load(limits).ok()?;
            let question = exam.benchmark.ask(item).text;
            Some(Example {
                image: image.as_ref().clone(),
                benchmark: format!("{} · {}", exam.benchmark.title(), place(record)),
                question: if question.is_empty() {
                    "Describe it.".into()
                } else {
                    question
                },
                truth: record.truth.join(" / "),
                answers: vec![Answer {
                    arm: source.to_owned(),
                    text: record.answer.clone(),
                    right: false,
                }],
            })
        })
        .collect()
}

/// Part, pattern and number of a question.
fn place(record: &Record) -> String {
    let pattern = record.pattern.as_deref().map(|p| format!(" · {p}"));
    format!(
        "{}{} · {}",
        record.part,
        pattern.unwrap_or_default(),
        record.id
    )
}
