//! The types of the tree.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::named::{self, Named};
use crate::statistics::{Difference, Interval};

/// A benchmark: its parts, the first of which stands for the whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Family {
    /// Key, as `robust_vqa`.
    #[serde(skip)]
    pub name: String,
    /// As people write it: RobustVQA.
    pub title: String,
    /// What it measures and what its parts are, in half a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
    /// What the figures rest on; absent for differences, whose figures say it one by one.
    #[serde(flatten)]
    pub counts: Option<Counts>,
    /// The parts; in JSON `figures`.
    #[serde(rename = "figures", with = "named")]
    pub parts: Vec<Part>,
}

/// How many questions were asked, and what became of them. Questions count once for each seed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Questions.
    pub samples: usize,
    /// Questions that could not be asked: their picture could not be read, or they are longer than a sequence. They
    /// count as wrong.
    pub unreadable: usize,
    /// Answers that were given but could not be understood; they count as wrong.
    pub unparseable: usize,
}

/// A split, set or pattern of a benchmark, or the whole of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Part {
    /// Key and label, as `adversarial`.
    #[serde(skip)]
    pub name: String,
    /// What was measured, the most important first.
    #[serde(with = "named")]
    pub figures: Vec<Figure>,
}

/// A number with the 95 % confidence interval around it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// Key, as `pair_accuracy`.
    #[serde(skip)]
    pub name: String,
    /// As people write it, where that is not the name with spaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The estimate.
    pub mean: f64,
    /// Lower bound, where the data give one.
    pub low: Option<f64>,
    /// Upper bound, where the data give one.
    pub high: Option<f64>,
    /// Unit of the numbers.
    pub unit: Unit,
    /// Distances, errors, durations: the smaller, the better.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub lower_is_better: bool,
    /// What guessing without looking gets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chance: Option<f64>,
    /// The estimate of each seed alone.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub per_seed: BTreeMap<u64, f64>,
    /// What a difference rests on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paired: Option<Paired>,
}

/// Unit of a figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Of a hundred.
    Percent,
    /// Differences of percent.
    Points,
    /// A scale of its own: CIDEr, a Fréchet distance.
    Score,
    /// Seconds.
    Seconds,
    /// Whole numbers.
    Count,
    /// One quantity over another.
    Ratio,
}

/// What a difference of two runs on the same questions rests on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Paired {
    /// Two-sided p-value that belongs to the interval; absent where there is no spread to judge by.
    pub p_value: Option<f64>,
    /// Questions, counted once for each seed.
    pub questions: usize,
    /// Independent images (or pairs).
    pub clusters: usize,
    /// Seeds.
    pub seeds: usize,
    /// Questions that the first run scored higher.
    pub wins: usize,
    /// Questions that the second run scored higher.
    pub losses: usize,
    /// The smallest true difference that these questions show in four of five cases, in the figure's unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detectable: Option<f64>,
    /// Exact p-value of McNemar's test, where every answer is right or wrong; takes questions for independent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mcnemar: Option<f64>,
}

impl std::iter::Sum for Counts {
    fn sum<I: Iterator<Item = Self>>(counts: I) -> Self {
        counts.fold(Self::default(), |a, b| Self {
            samples: a.samples + b.samples,
            unreadable: a.unreadable + b.unreadable,
            unparseable: a.unparseable + b.unparseable,
        })
    }
}

impl Family {
    /// A family without parts.
    pub fn new(name: impl Into<String>, title: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            title: title.into(),
            about: None,
            counts: None,
            parts: Vec::new(),
        }
    }

    /// The same with a word on what it measures.
    #[must_use]
    pub fn about(self, about: impl Into<String>) -> Self {
        Self {
            about: Some(about.into()),
            ..self
        }
    }

    /// What the family is known by: the first figure of the part that stands for the whole.
    #[must_use]
    pub fn headline(&self) -> Option<&Figure> {
        self.parts.first()?.figures.first()
    }

    /// A figure by the names of its part and its own.
    #[must_use]
    pub fn figure(&self, part: &str, figure: &str) -> Option<&Figure> {
        named::find(&named::find(&self.parts, part)?.figures, figure)
    }

    /// Notes beside each figure what a seed alone gave. Figures that only one side has are left as they are.
    pub fn add_seed(&mut self, seed: u64, alone: &Self) {
        for part in &mut self.parts {
            for figure in &mut part.figures {
                if let Some(found) = alone.figure(&part.name, &figure.name) {
                    figure.per_seed.insert(seed, found.mean);
                }
            }
        }
    }

    /// This family with differences in place of what its parts are known by: `total` for the whole, `parts` by name.
    /// Differences are in the units of fractions and become percentage points. Parts without one are left out.
    #[must_use]
    pub fn differences(&self, total: &Difference, parts: &BTreeMap<String, Difference>) -> Self {
        let compared = self.parts.iter().enumerate().filter_map(|(at, part)| {
            let difference = if at == 0 {
                total
            } else {
                parts.get(&part.name)?
            };
            let figure = part.figures.first()?;
            let points = Figure::points(&figure.name, difference);
            Some(Part::new(
                &part.name,
                [Figure {
                    title: figure.title.clone(),
                    lower_is_better: figure.lower_is_better,
                    ..points
                }],
            ))
        });
        Self {
            counts: None,
            parts: compared.collect(),
            ..self.clone()
        }
    }
}

impl Part {
    /// A part with its figures, the most important first.
    pub fn new(name: impl Into<String>, figures: impl IntoIterator<Item = Figure>) -> Self {
        Self {
            name: name.into(),
            figures: figures.into_iter().collect(),
        }
    }
}

impl Figure {
    /// A figure in the unit of its interval. Infinite bounds count as unknown.
    pub fn new(name: impl Into<String>, interval: Interval, unit: Unit) -> Self {
        let finite = |bound: f64| bound.is_finite().then_some(bound);
        Self {
            name: name.into(),
            title: None,
            mean: interval.mean,
            low: finite(interval.low),
            high: finite(interval.high),
            unit,
            lower_is_better: false,
            chance: None,
            per_seed: BTreeMap::new(),
            paired: None,
        }
    }

    /// A fraction, in percent.
    pub fn percent(name: impl Into<String>, fraction: Interval) -> Self {
        Self::new(name, fraction.percent(), Unit::Percent)
    }

    /// A number whose uncertainty is unknown.
    pub fn plain(name: impl Into<String>, value: f64, unit: Unit) -> Self {
        Self::new(name, Interval::unbounded(value), unit)
    }

    /// A difference of fractions, in percentage points.
    pub fn points(name: impl Into<String>, difference: &Difference) -> Self {
        Self {
            paired: Some(Paired {
                p_value: difference.p_value,
                questions: difference.questions,
                clusters: difference.clusters,
                seeds: difference.seeds,
                wins: difference.wins,
                losses: difference.losses,
                detectable: difference.detectable.map(|points| 100.0 * points),
                mcnemar: difference.mcnemar,
            }),
            ..Self::new(name, difference.interval.percent(), Unit::Points)
        }
    }

    /// The same under another title.
    #[must_use]
    pub fn titled(self, title: impl Into<String>) -> Self {
        Self {
            title: Some(title.into()),
            ..self
        }
    }

    /// The same with what guessing gets, in its unit.
    #[must_use]
    pub fn chance(self, chance: f64) -> Self {
        Self {
            chance: Some(chance),
            ..self
        }
    }

    /// The title, or the name with spaces.
    #[must_use]
    pub fn label(&self) -> String {
        self.title
            .clone()
            .unwrap_or_else(|| self.name.replace('_', " "))
    }

    /// Whether the interval lies on one side of zero.
    #[must_use]
    pub fn excludes_zero(&self) -> bool {
        self.low.is_some_and(|low| low > 0.0) || self.high.is_some_and(|high| high < 0.0)
    }
}

impl Named for Family {
    fn name(&self) -> &str {
        &self.name
    }

    fn set_name(&mut self, name: String) {
        self.name = name;
    }
}

impl Named for Part {
    fn name(&self) -> &str {
        &self.name
    }

    fn set_name(&mut self, name: String) {
        self.name = name;
    }
}

impl Named for Figure {
    fn name(&self) -> &str {
        &self.name
    }

    fn set_name(&mut self, name: String) {
        self.name = name;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn half() -> Interval {
        Interval {
            mean: 0.5,
            low: 0.25,
            high: f64::INFINITY,
        }
    }

    fn family() -> Family {
        Family {
            counts: Some(Counts {
                samples: 4,
                ..Counts::default()
            }),
            parts: vec![
                Part::new("mean", [Figure::percent("accuracy", half()).chance(50.0)]),
                Part::new(
                    "adversarial",
                    [
                        Figure::percent("accuracy", half()),
                        Figure::plain("f1", 40.0, Unit::Percent).titled("F1"),
                    ],
                ),
            ],
            ..Family::new("pope", "POPE").about("hallucination")
        }
    }

    #[test]
    fn json_keeps_names_order_and_seeds() {
        let mut family = family();
        family.add_seed(2, &family.clone());
        let json = serde_json::to_string(&family).unwrap();
        assert!(
            json.find("\"mean\":{\"acc").unwrap() < json.find("\"adversarial\"").unwrap(),
            "{json}"
        );
        assert!(json.contains(r#""high":null"#) && json.contains(r#""per_seed":{"2":50.0}"#));
        let mut read: Family = serde_json::from_str(&json).unwrap();
        read.set_name("pope".into());
        assert_eq!(read, family);
    }

    #[test]
    fn a_name_twice_is_an_error() {
        let figure = r#"{"mean":1,"low":null,"high":null,"unit":"score"}"#;
        let json = format!(r#"{{"title":"x","figures":{{"a":{{"b":{figure},"b":{figure}}}}}}}"#);
        let error = serde_json::from_str::<Family>(&json).unwrap_err();
        assert!(error.to_string().contains("\"b\" occurs twice"), "{error}");
    }

    #[test]
    fn the_first_figure_of_the_whole_is_the_headline() {
        let family = family();
        assert_eq!(family.headline().unwrap().chance, Some(50.0));
        assert_eq!(family.figure("adversarial", "f1").unwrap().label(), "F1");
        assert_eq!(family.figure("popular", "f1"), None);
        assert_eq!(
            Figure::plain("pair_accuracy", 1.0, Unit::Percent).label(),
            "pair accuracy"
        );
    }

    #[test]
    fn differences_follow_the_family() {
        let difference = Difference {
            interval: Interval {
                mean: 0.125,
                low: 0.0625,
                high: 0.25,
            },
            p_value: Some(0.01),
            questions: 4,
            clusters: 2,
            seeds: 1,
            wins: 3,
            losses: 1,
            detectable: Some(0.2),
            mcnemar: Some(0.625),
        };
        let parts = BTreeMap::from([("popular".to_owned(), difference.clone())]);
        let compared = family().differences(&difference, &parts);
        assert_eq!((compared.parts.len(), compared.counts), (1, None));
        let figure = compared.headline().unwrap();
        assert_eq!(
            (figure.name.as_str(), figure.mean, figure.unit),
            ("accuracy", 12.5, Unit::Points)
        );
        let paired = figure.paired.unwrap();
        assert_eq!((paired.wins, paired.detectable), (3, Some(20.0)));
        assert!(figure.excludes_zero());
        assert_eq!(figure.chance, None);
    }
}
