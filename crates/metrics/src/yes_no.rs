//! Yes/no questions: accuracy, precision, recall, F1 and the share of yes.

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::answer::{Verdict, YesNo};
use crate::figures::{Counts, Figure, Unit};
use crate::statistics::{Interval, Scored, accuracy};

/// One yes/no question with its answer.
#[derive(Debug, Clone, PartialEq)]
pub struct YesNoSample {
    /// Seed of the run that answered.
    pub seed: u64,
    /// The image asked about, the same name wherever it occurs.
    pub image: String,
    /// Identifies the question, the same in all runs.
    pub question: String,
    /// The right answer.
    pub truth: YesNo,
    /// What was answered; nothing if it could not be parsed, which counts as wrong and as not yes.
    pub answer: Option<YesNo>,
    /// How much more likely yes was than no, as a difference of log-probabilities, where it was measured.
    pub margin: Option<f64>,
}

impl YesNoSample {
    /// The sample as right (1) or wrong (0), for statistics. `stratum` names the part of the benchmark.
    #[must_use]
    pub fn scored(&self, stratum: &str) -> Scored {
        let right = Verdict::of(self.answer, &self.truth).is_right();
        let value = f64::from(u8::from(right));
        Scored {
            stratum: stratum.to_owned(),
            ..Scored::new(self.seed, self.image.clone(), self.question.clone(), value)
        }
    }
}

/// Summary of yes/no answers. Fractions, not percent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct YesNoScore {
    /// Share of right answers, clustered by image.
    pub accuracy: Interval,
    /// Of the questions answered yes, the share whose truth is yes (0 if none was answered yes).
    pub precision: f64,
    /// Of the questions whose truth is yes, the share answered yes (0 if there is none).
    pub recall: f64,
    /// Harmonic mean of precision and recall.
    pub f1: f64,
    /// Share of questions answered yes.
    pub yes_ratio: f64,
    /// Number of answers that were neither yes nor no.
    pub unparseable: usize,
    /// Number of questions, counted once for each seed.
    pub questions: usize,
}

impl YesNoScore {
    /// Accuracy, then what explains it.
    #[must_use]
    pub fn figures(&self) -> Vec<Figure> {
        let percent = |name, share: f64| Figure::plain(name, 100.0 * share, Unit::Percent);
        vec![
            accuracy_figure(self.accuracy),
            percent("precision", self.precision),
            percent("recall", self.recall),
            percent("f1", self.f1).titled("F1"),
            percent("yes_ratio", self.yes_ratio).titled("answered yes"),
        ]
    }

    /// What the figures rest on.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            samples: self.questions,
            unreadable: 0,
            unparseable: self.unparseable,
        }
    }
}

/// The accuracy of yes/no questions, half of which guessing gets.
fn accuracy_figure(fraction: Interval) -> Figure {
    Figure::percent("accuracy", fraction).chance(50.0)
}

/// Figures of a benchmark as a whole: the mean accuracy of its parts, and their mean share of yes.
pub(crate) fn mean_figures<'a>(
    mean: Interval,
    parts: impl ExactSizeIterator<Item = &'a YesNoScore>,
) -> Vec<Figure> {
    let count = parts.len().max(1) as f64;
    let yes = parts.map(|part| part.yes_ratio).sum::<f64>() / count;
    let yes = Figure::plain("yes_ratio", 100.0 * yes, Unit::Percent).titled("answered yes");
    vec![accuracy_figure(mean), yes]
}

/// Scores yes/no answers; yes is the positive class.
///
/// # Errors
/// `Empty`, or `Duplicate` if a question occurs twice in a seed.
pub fn score(samples: &[YesNoSample]) -> Result<YesNoScore> {
    let scored: Vec<Scored> = samples.iter().map(|sample| sample.scored("")).collect();
    let accuracy = accuracy(&scored)?;
    let count =
        |condition: &dyn Fn(&&YesNoSample) -> bool| samples.iter().filter(condition).count() as f64;
    let answered_yes = count(&|s| s.answer == Some(YesNo::Yes));
    let truly_yes = count(&|s| s.truth.is_yes());
    let hits = count(&|s| s.truth.is_yes() && s.answer == Some(YesNo::Yes));
    let ratio = |part: f64, whole: f64| if whole > 0.0 { part / whole } else { 0.0 };
    Ok(YesNoScore {
        accuracy,
        precision: ratio(hits, answered_yes),
        recall: ratio(hits, truly_yes),
        f1: ratio(2.0 * hits, answered_yes + truly_yes),
        yes_ratio: ratio(answered_yes, samples.len() as f64),
        unparseable: samples.iter().filter(|s| s.answer.is_none()).count(),
        questions: samples.len(),
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn sample(
        image: &str,
        question: &str,
        truth: bool,
        answer: Option<bool>,
    ) -> YesNoSample {
        YesNoSample {
            seed: 0,
            image: image.into(),
            question: question.into(),
            truth: truth.into(),
            answer: answer.map(YesNo::from),
            margin: None,
        }
    }

    #[test]
    fn counts_by_hand() {
        // truth yes: yes, yes, no, ?; truth no: yes, no
        let score = score(&[
            sample("a", "1", true, Some(true)),
            sample("a", "2", true, Some(true)),
            sample("b", "3", true, Some(false)),
            sample("b", "4", true, None),
            sample("c", "5", false, Some(true)),
            sample("c", "6", false, Some(false)),
        ])
        .unwrap();
        assert!((score.accuracy.mean - 0.5).abs() < 1e-12);
        assert!((score.precision - 2.0 / 3.0).abs() < 1e-12);
        assert!((score.recall - 0.5).abs() < 1e-12);
        assert!((score.f1 - 4.0 / 7.0).abs() < 1e-12);
        assert!((score.yes_ratio - 0.5).abs() < 1e-12);
        assert_eq!((score.unparseable, score.questions), (1, 6));
    }

    #[test]
    fn nothing_answered_yes_gives_zero_precision_not_nan() {
        let score = score(&[
            sample("a", "1", false, Some(false)),
            sample("b", "2", false, None),
        ])
        .unwrap();
        assert_eq!((score.precision, score.recall, score.f1), (0.0, 0.0, 0.0));
    }
}
