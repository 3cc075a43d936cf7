//! Two runs on the same questions: what one gained over the other, and how sure that is.

mod written;

use std::collections::BTreeMap;

use deem_metrics::answer::ParseMode;
use deem_metrics::figures::{Family, named};

use super::{BenchmarkRegistry, Record, SavedRun};
use crate::EngineError;

/// A run compared with another, benchmark by benchmark.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// Name of the run that is judged.
    pub run: String,
    /// Name of the run that it is judged by.
    pub control: String,
    /// Training seeds of each.
    pub seeds: usize,
    /// What was compared.
    pub benchmarks: Vec<Compared>,
    /// What a reader should know.
    pub notes: Vec<String>,
}

/// One benchmark of a comparison.
#[derive(Clone, Debug)]
pub struct Compared {
    /// The judged run's figures.
    pub run: Family,
    /// The control's figures.
    pub control: Family,
    /// Differences of what the parts are known by, run minus control; nothing where a benchmark knows no paired one.
    pub difference: Option<Family>,
}

/// Compares two runs that answered the same questions.
///
/// # Errors
/// `OtherQuestions` naming benchmarks, questions, right answers or pictures that differ, and seeds; those of the figures.
pub fn compare(
    run: &SavedRun,
    control: &SavedRun,
    registry: &BenchmarkRegistry,
    mode: ParseMode,
) -> Result<Comparison, EngineError> {
    let differences = question_differences(run, control);
    if !differences.is_empty() {
        return Err(EngineError::OtherQuestions {
            run: run.name.clone(),
            control: control.name.clone(),
            differences,
        });
    }
    let (ours, theirs) = (run.answers(registry, mode), control.answers(registry, mode));
    let paired = ours.differences(&theirs)?;
    let others = theirs.families()?;
    let benchmarks = ours.families()?.into_iter().filter_map(|run| {
        Some(Compared {
            control: named::find(&others, &run.name)?.clone(),
            difference: named::find(&paired, &run.name).cloned(),
            run,
        })
    });
    Ok(Comparison {
        run: run.name.clone(),
        control: control.name.clone(),
        seeds: run.seeds.len(),
        benchmarks: benchmarks.collect(),
        notes: notes(run, control),
    })
}

/// Benchmark, part, question.
type Place<'a> = (&'a str, &'a str, &'a str);

fn questions(run: &SavedRun) -> BTreeMap<Place<'_>, &Record> {
    let records = run.records();
    records
        .map(|(_, r)| ((r.benchmark.as_str(), r.part.as_str(), r.id.as_str()), r))
        .collect()
}

/// What differs between the questions of two runs, in words; nothing if they are the same.
fn question_differences(run: &SavedRun, control: &SavedRun) -> Vec<String> {
    let mut differences = Vec::new();
    let seeds = |run: &SavedRun| run.seeds.keys().copied().collect::<Vec<u64>>();
    let (ours, theirs) = (seeds(run), seeds(control));
    if ours != theirs {
        differences.push(format!("seeds {ours:?} and {theirs:?}"));
    }
    for (seed, records) in &run.seeds {
        let theirs = control.seeds.get(seed).map_or(0, Vec::len);
        if theirs != records.len() && control.seeds.contains_key(seed) {
            let count = records.len();
            differences.push(format!("seed {seed}: {count} answers and {theirs}"));
        }
    }
    let (ours, theirs) = (questions(run), questions(control));
    // Each kind of difference: how many of a benchmark, and the first.
    let mut kinds: BTreeMap<(String, String), (usize, String)> = BTreeMap::new();
    let mut note = |place: &Place<'_>, kind: String| {
        let first = format!("{}/{}", place.1, place.2);
        let entry = kinds.entry((place.0.to_owned(), kind));
        entry.or_insert((0, first)).0 += 1;
    };
    for (place, record) in &ours {
        match theirs.get(place) {
            None => note(place, format!("questions of {} only", run.name)),
            Some(other) if other.truth != record.truth => note(place, "other right answers".into()),
            Some(other) if other.options != record.options => note(place, "other options".into()),
            Some(other) if pictures_differ(record, other) => note(place, "other pictures".into()),
            Some(_) => {}
        }
    }
    for place in theirs.keys().filter(|place| !ours.contains_key(*place)) {
        note(place, format!("questions of {} only", control.name));
    }
    let kinds = kinds.into_iter();
    differences.extend(kinds.map(|((benchmark, kind), (count, first))| {
        format!(
            "{}: {count} {kind}, the first {first}",
            benchmark.replace('_', "-")
        )
    }));
    differences
}

/// A picture that one of the runs could not read is no other picture.
fn pictures_differ(a: &Record, b: &Record) -> bool {
    match (&a.image_sha256, &b.image_sha256) {
        (Some(a), Some(b)) => a != b,
        _ => false,
    }
}

fn notes(run: &SavedRun, control: &SavedRun) -> Vec<String> {
    let mut notes = Vec::new();
    let (ours, theirs) = (questions(run), questions(control));
    let other = |place: &&Place<'_>| theirs[*place].prompt != ours[*place].prompt;
    let prompts = ours.keys().filter(other).count();
    if prompts > 0 {
        notes.push(format!(
            "{prompts} prompts differ: the difference is of models and wording together"
        ));
    }
    let unreadable = ours
        .iter()
        .filter(|(place, record)| record.error.is_some() != theirs[*place].error.is_some())
        .count();
    if unreadable > 0 {
        notes.push(format!(
            "{unreadable} pictures could be read by one run only"
        ));
    }
    if run.seeds.len() == 1 {
        notes.push(
            "one training seed each: intervals say nothing of what another seed would give".into(),
        );
    }
    notes
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::evaluate::AnswerForm;

    fn record(id: usize, answer: &str) -> Record {
        Record {
            id: id.to_string(),
            benchmark: "pope".into(),
            part: "random".into(),
            cluster: format!("{}.png", id / 2),
            pattern: None,
            image: String::new(),
            image_sha256: Some("a".into()),
            prompt: "?".into(),
            options: vec![],
            form: AnswerForm::YesNo,
            truth: vec!["yes".into()],
            relevance: vec![],
            answer: answer.into(),
            parsed: None,
            score: 0.0,
            margin: 0.0,
            likelihood: None,
            rank: None,
            seconds: 0.0,
            error: None,
        }
    }

    fn run(name: &str, answers: &[&[&str]]) -> SavedRun {
        let seeds = answers.iter().zip(1..).map(|(answers, seed)| {
            let records = answers.iter().enumerate();
            (
                seed,
                records.map(|(id, answer)| record(id, answer)).collect(),
            )
        });
        SavedRun {
            name: name.into(),
            seeds: seeds.collect(),
        }
    }

    fn compared(a: &SavedRun, b: &SavedRun) -> Result<Comparison, EngineError> {
        compare(a, b, &BenchmarkRegistry::standard(), ParseMode::Strict)
    }

    #[test]
    fn differences_come_with_their_tests() {
        let better = run(
            "a",
            &[&["yes", "yes", "yes", "no", "yes", "no", "yes", "yes"]],
        );
        let worse = run("b", &[&["yes", "no", "yes", "no", "no", "no", "yes", "no"]]);
        let comparison = compared(&better, &worse).unwrap();
        let json = comparison.json(false);
        let figure = &json["benchmarks"][0]["figures"]["random"]["accuracy"];
        assert_eq!(
            (&figure["run"]["mean"], &figure["control"]["mean"]),
            (&json!(75.0), &json!(37.5))
        );
        let difference = &figure["difference"];
        assert_eq!(difference["mean"], 37.5);
        assert_eq!(
            (&difference["wins"], &difference["losses"]),
            (&json!(3), &json!(0))
        );
        assert!((difference["mcnemar"].as_f64().unwrap() - 0.25).abs() < 1e-12);
        assert_eq!(
            (&difference["clusters"], &difference["seeds"]),
            (&json!(4), &json!(1))
        );
        assert!(difference["detectable"].as_f64().unwrap() > 0.0);
        assert!(
            json["notes"][0]
                .as_str()
                .unwrap()
                .contains("one training seed")
        );
        let table = comparison.table(true);
        assert!(
            table.contains("baseline b") && table.contains("this set can show"),
            "{table}"
        );
        assert_eq!(comparison.json(true)["baseline"], "b");
    }

    #[test]
    fn seeds_are_a_second_cluster() {
        let answers: [&[&str]; 3] = [
            &["yes", "yes", "no", "no"],
            &["yes", "no", "no", "no"],
            &["yes", "yes", "yes", "no"],
        ];
        let none: &[&str] = &["no", "no", "no", "no"];
        let comparison = compared(&run("a", &answers), &run("b", &[none, none, none])).unwrap();
        let figure = comparison.benchmarks[0]
            .difference
            .as_ref()
            .unwrap()
            .headline()
            .unwrap();
        let paired = figure.paired.unwrap();
        assert_eq!(
            (paired.seeds, paired.questions, paired.clusters),
            (3, 12, 2)
        );
        assert!(comparison.notes.is_empty());
        let error = compared(&run("a", &answers), &run("b", &[none])).unwrap_err();
        assert!(
            error.to_string().contains("seeds [1, 2, 3] and [1]"),
            "{error}"
        );
    }

    #[test]
    fn other_questions_are_refused_by_name() {
        let ours = run("a", &[&["yes", "no"]]);
        let error = |change: &dyn Fn(&mut Record)| {
            let mut theirs = run("b", &[&["yes", "no"]]);
            change(&mut theirs.seeds.get_mut(&1).unwrap()[1]);
            compared(&ours, &theirs).unwrap_err().to_string()
        };
        let found = error(&|r| r.id = "9".into());
        assert!(
            found.contains("1 questions of a only, the first random/1"),
            "{found}"
        );
        assert!(
            found.contains("1 questions of b only, the first random/9"),
            "{found}"
        );
        assert!(error(&|r| r.truth = vec!["no".into()]).contains("other right answers"));
        assert!(error(&|r| r.image_sha256 = Some("b".into())).contains("other pictures"));
        assert!(error(&|r| r.benchmark = "robust_vqa".into()).contains("robust-vqa: 1 questions"));
    }

    #[test]
    fn other_prompts_are_told() {
        let ours = run("a", &[&["yes", "no"]]);
        let mut theirs = run("b", &[&["yes", "no"]]);
        theirs.seeds.get_mut(&1).unwrap()[0].prompt = "Is it?".into();
        let comparison = compared(&ours, &theirs).unwrap();
        assert!(comparison.notes[0].contains("1 prompts differ"));
    }
}
