//! The answer, before everything else.

use deem_metrics::figures::Figure;
use serde::Serialize;

use crate::input::{Published, Report};
use crate::text::{grouped, range, signed, symbol};

/// Heading, the answer in a sentence, and a card for each benchmark.
#[derive(Debug, Serialize)]
pub(super) struct Header {
    seeds: usize,
    steps: String,
    version: String,
    commit: String,
    answer: Option<Answer>,
}

/// What the main comparison says.
#[derive(Debug, Serialize)]
struct Answer {
    treatment: String,
    control: String,
    cards: Vec<Card>,
}

/// One benchmark.
#[derive(Debug, Serialize)]
struct Card {
    title: String,
    outcome: Outcome,
    value: String,
    unit: &'static str,
    range: Option<String>,
    about: Option<String>,
    published: Vec<(String, String)>,
}

/// What an interval says of the first arm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Outcome {
    Better,
    Worse,
    Open,
}

impl Outcome {
    pub(super) fn of(figure: &Figure) -> Self {
        let above = figure.low.is_some_and(|low| low > 0.0);
        match (figure.excludes_zero(), above == figure.lower_is_better) {
            (false, _) => Self::Open,
            (true, false) => Self::Better,
            (true, true) => Self::Worse,
        }
    }
}

impl Header {
    pub(super) fn new(report: &Report) -> Self {
        let results = &report.results;
        Self {
            seeds: results.seeds.len(),
            steps: grouped(results.steps),
            version: results.version.clone(),
            commit: short(&results.commit),
            answer: results.difference.first().map(|main| Answer {
                treatment: main.treatment.clone(),
                control: main.control.clone(),
                cards: (main.families.iter())
                    .filter_map(|family| {
                        let of_family = |p: &&Published| p.family == family.name;
                        let published = report.published.iter().filter(of_family);
                        let figure = family.headline()?;
                        Some(Card {
                            title: family.title.clone(),
                            outcome: Outcome::of(figure),
                            value: signed(figure.mean, figure.unit),
                            unit: symbol(figure.unit),
                            range: range(figure, signed),
                            about: family.about.clone(),
                            published: published
                                .map(|p| (p.source.clone(), signed(p.value, figure.unit)))
                                .collect(),
                        })
                    })
                    .collect(),
            }),
        }
    }
}

/// A commit as people quote it; the mark of changed sources stays.
fn short(commit: &str) -> String {
    const SHOWN: usize = 12;
    let hash = commit.trim_end_matches('+');
    let mark = &commit[hash.len()..];
    format!("{}{mark}", hash.get(..SHOWN).unwrap_or(hash))
}

#[cfg(test)]
mod tests {
    use super::*;
    use deem_metrics::figures::Unit;
    use deem_metrics::statistics::Interval;

    #[test]
    fn better_is_up_or_down_as_the_figure_says() {
        let figure = |low, high| {
            let mean = 0.5 * (low + high);
            Figure::new("x", Interval { mean, low, high }, Unit::Points)
        };
        let distance = |low, high| Figure {
            lower_is_better: true,
            ..figure(low, high)
        };
        assert_eq!(Outcome::of(&figure(1.0, 2.0)), Outcome::Better);
        assert_eq!(Outcome::of(&figure(-2.0, -1.0)), Outcome::Worse);
        assert_eq!(Outcome::of(&distance(1.0, 2.0)), Outcome::Worse);
        assert_eq!(Outcome::of(&distance(-2.0, -1.0)), Outcome::Better);
        for open in [figure(-1.0, 1.0), distance(0.0, 1.0)] {
            assert_eq!(Outcome::of(&open), Outcome::Open);
        }
        let unknown = Figure::plain("x", 3.0, Unit::Points);
        assert_eq!(Outcome::of(&unknown), Outcome::Open);
    }

    #[test]
    fn long_commits_are_cut_and_keep_their_mark() {
        assert_eq!(short("3f9c1d2a7b8e4455a0c1+"), "3f9c1d2a7b8e+");
        assert_eq!(
            (short("unknown"), short("")),
            ("unknown".into(), String::new())
        );
    }
}
