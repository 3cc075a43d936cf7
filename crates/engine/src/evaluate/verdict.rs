//! Right or wrong, of a record: what scores count and what examples show.

use deem_metrics::answer::{
    AnswerKind, ParseMode, Verdict, YesNo, extract_answer, judge, parse_choice, parse_yes_no,
};
use deem_metrics::vqa::official_accuracy;

use super::{AnswerForm, Record};
use crate::EngineError;

/// What a record's answer is worth: 1 if it is right, 0 if not; where several people answered, their agreement, as the
/// VQA challenge computes it. A question that could not be asked is worth nothing.
///
/// # Errors
/// As [`verdict`].
pub fn value(record: &Record, mode: ParseMode) -> Result<f64, EngineError> {
    if record.error.is_some() {
        return Ok(0.0);
    }
    match record.form {
        AnswerForm::Annotators => Ok(agreement(record, mode)?),
        AnswerForm::Picture => Ok(record.score),
        _ => Ok(f64::from(u8::from(verdict(record, mode)?.is_right()))),
    }
}

fn agreement(record: &Record, mode: ParseMode) -> deem_metrics::Result<f64> {
    let truths: Vec<&str> = record.truth.iter().map(String::as_str).collect();
    match mode {
        ParseMode::Strict => official_accuracy(&record.answer, &truths),
        ParseMode::Paper => official_accuracy(&extract_answer(&record.answer), &truths),
    }
}

/// Whether a record's answer is right; where several people answered, whether one of them said the same.
///
/// # Errors
/// `Metrics` if the right answer is none that an answer can be compared with.
pub fn verdict(record: &Record, mode: ParseMode) -> Result<Verdict, EngineError> {
    let options = options(record);
    let kind = match record.form {
        AnswerForm::YesNo => AnswerKind::YesNo,
        AnswerForm::Choice => AnswerKind::Choice(&options),
        AnswerForm::Text => AnswerKind::Text,
        AnswerForm::Candidate => {
            return Ok(match record.rank {
                Some(1) => Verdict::Right,
                _ => Verdict::Wrong,
            });
        }
        // Nothing that a picture could be right about.
        AnswerForm::Picture => return Ok(Verdict::Right),
        AnswerForm::Annotators => {
            return Ok(match agreement(record, mode)? > 0.0 {
                true => Verdict::Right,
                false => Verdict::Wrong,
            });
        }
    };
    Ok(judge(&record.answer, &record.truth, kind, mode)?)
}

/// What an answer says: `yes`, `(b)`, its words; nothing if that is not clear.
pub fn parsed(record: &Record, mode: ParseMode) -> Option<String> {
    match record.form {
        AnswerForm::YesNo => parse_yes_no(&record.answer, mode).map(|answer| {
            match answer {
                YesNo::Yes => "yes",
                YesNo::No => "no",
            }
            .to_owned()
        }),
        AnswerForm::Choice => {
            let chosen = parse_choice(&record.answer, &options(record), mode)?;
            let letter = char::from(b'a'.checked_add(u8::try_from(chosen).ok()?)?);
            Some(format!("({letter})"))
        }
        AnswerForm::Text | AnswerForm::Annotators | AnswerForm::Picture => {
            Some(record.answer.trim().to_owned())
        }
        AnswerForm::Candidate => Some(record.answer.clone()),
    }
}

fn options(record: &Record) -> Vec<&str> {
    record.options.iter().map(String::as_str).collect()
}
