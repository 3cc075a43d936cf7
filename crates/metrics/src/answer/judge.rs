//! Right or wrong: the one place that decides it, for scores and for what is shown beside them.

use serde::{Deserialize, Serialize};

use super::{ParseMode, exact_match, parse_choice, parse_yes_no};
use crate::{MetricsError, Result};

/// What kind of answer a question asks for, and so how one is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerKind<'a> {
    /// Yes or no, see [`parse_yes_no`].
    YesNo,
    /// One of these options, by letter or by words, see [`parse_choice`].
    Choice(&'a [&'a str]),
    /// Words that must equal the truth, see [`exact_match`].
    Text,
}

/// What an answer is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It says the truth.
    Right,
    /// It says something else.
    Wrong,
    /// What it says is not clear; it counts as wrong.
    Unparseable,
}

impl Verdict {
    /// An answer as it was read (nothing if it was not clear) against the truth.
    pub fn of<T: PartialEq>(answer: Option<T>, truth: &T) -> Self {
        match answer {
            None => Self::Unparseable,
            Some(answer) if answer == *truth => Self::Right,
            Some(_) => Self::Wrong,
        }
    }

    /// Whether the answer counts.
    #[must_use]
    pub fn is_right(self) -> bool {
        self == Self::Right
    }

    /// Whether the answer counts, or nothing if it could not be read.
    #[must_use]
    pub fn correct(self) -> Option<bool> {
        (self != Self::Unparseable).then(|| self.is_right())
    }
}

/// Judges an answer against what is right: any of `truths`, each a text, a letter or an option's words.
///
/// Truths are always read strictly; `mode` is for the answer. Texts are never unparseable.
///
/// ```
/// # use deem_metrics::answer::{AnswerKind, ParseMode, Verdict, judge};
/// let options = AnswerKind::Choice(&["upright", "upside down"]);
/// assert_eq!(judge("upright", &["(a)"], options, ParseMode::Strict)?, Verdict::Right);
/// assert_eq!(judge("(b)", &["upright"], options, ParseMode::Strict)?, Verdict::Wrong);
/// # Ok::<(), deem_metrics::MetricsError>(())
/// ```
///
/// # Errors
/// `Truth` if there is none, or if one is not an answer of this kind.
pub fn judge<T: AsRef<str>>(
    answer: &str,
    truths: &[T],
    kind: AnswerKind,
    mode: ParseMode,
) -> Result<Verdict> {
    let unreadable = |truth: &str, expected| MetricsError::Truth {
        found: truth.to_owned(),
        expected,
    };
    if truths.is_empty() {
        return Err(unreadable("", "at least one right answer"));
    }
    let verdicts = truths.iter().map(|truth| {
        let truth = truth.as_ref();
        Ok(match kind {
            AnswerKind::YesNo => {
                let truth = parse_yes_no(truth, ParseMode::Strict)
                    .ok_or_else(|| unreadable(truth, "yes or no"))?;
                Verdict::of(parse_yes_no(answer, mode), &truth)
            }
            AnswerKind::Choice(options) => {
                let truth = parse_choice(truth, options, ParseMode::Strict)
                    .ok_or_else(|| unreadable(truth, "the letter or the words of one option"))?;
                Verdict::of(parse_choice(answer, options, mode), &truth)
            }
            AnswerKind::Text if exact_match(answer, truth, mode) => Verdict::Right,
            AnswerKind::Text => Verdict::Wrong,
        })
    });
    let verdicts = verdicts.collect::<Result<Vec<Verdict>>>()?;
    let right = verdicts.iter().find(|verdict| verdict.is_right());
    Ok(*right.unwrap_or(&verdicts[0]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRICT: ParseMode = ParseMode::Strict;
    const ORIENTATION: AnswerKind = AnswerKind::Choice(&["upright", "lying on its side"]);

    #[test]
    fn letters_and_words_of_an_option_are_the_same_answer() {
        for truth in ["(a)", "a", "upright"] {
            for answer in ["upright", "(a)", "A.", "(a) upright", "It is upright."] {
                let verdict = judge(answer, &[truth], ORIENTATION, STRICT).unwrap();
                assert_eq!(verdict, Verdict::Right, "{answer:?} for {truth:?}");
            }
            for answer in ["(b)", "lying on its side"] {
                let verdict = judge(answer, &[truth], ORIENTATION, STRICT).unwrap();
                assert_eq!(verdict, Verdict::Wrong, "{answer:?} for {truth:?}");
            }
        }
        let verdict = judge("sideways", &["(a)"], ORIENTATION, STRICT).unwrap();
        assert_eq!((verdict, verdict.correct()), (Verdict::Unparseable, None));
    }

    #[test]
    fn answers_are_read_not_compared() {
        let of = |answer, truth, kind| judge(answer, &[truth], kind, STRICT).unwrap();
        assert_eq!(of("Yes, it is.", "yes", AnswerKind::YesNo), Verdict::Right);
        assert_eq!(of("yes", "no", AnswerKind::YesNo), Verdict::Wrong);
        assert_eq!(of("", "no", AnswerKind::YesNo), Verdict::Unparseable);
        let numbers = AnswerKind::Choice(&["two", "three"]);
        assert_eq!(of("(b) three", "three", numbers), Verdict::Right);
        assert_eq!(of("3", "three", numbers), Verdict::Right);
        assert_eq!(of("not two", "two", numbers), Verdict::Unparseable);
        assert_eq!(
            of("A red cat.", "red cat", AnswerKind::Text),
            Verdict::Right
        );
        assert_eq!(of("a cat", "red cat", AnswerKind::Text), Verdict::Wrong);
    }

    #[test]
    fn any_truth_will_do() {
        let truths = ["a cat", "a red cat"];
        let verdict = judge("red cat", &truths, AnswerKind::Text, STRICT).unwrap();
        assert_eq!(verdict, Verdict::Right);
    }

    #[test]
    fn a_truth_that_cannot_be_read_is_an_error_not_a_wrong_answer() {
        let error = judge("yes", &["maybe"], AnswerKind::YesNo, STRICT).unwrap_err();
        assert!(error.to_string().contains("\"maybe\""), "{error}");
        assert!(judge("upright", &["(c)"], ORIENTATION, STRICT).is_err());
        assert!(judge::<&str>("yes", &[], AnswerKind::YesNo, STRICT).is_err());
    }
}
