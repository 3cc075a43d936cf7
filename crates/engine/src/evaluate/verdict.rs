//! Right or wrong, of a record: what scores count and what examples show.

use deem_metrics::answer::{
    AnswerKind, ParseMode, Verdict, YesNo, judge, parse_choice, parse_yes_no,
};

use super::{AnswerForm, Record};
use crate::EngineError;

/// Whether a record's answer is right.
///
/// # Errors
/// `Metrics` if the right answer is none that an answer can be compared with.
pub fn verdict(record: &Record, mode: ParseMode) -> Result<Verdict, EngineError> {
    let options = options(record);
    let kind = match record.form {
        AnswerForm::YesNo => AnswerKind::YesNo,
        AnswerForm::Choice => AnswerKind::Choice(&options),
        AnswerForm::Text => AnswerKind::Text,
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
        AnswerForm::Text => Some(record.answer.trim().to_owned()),
    }
}

fn options(record: &Record) -> Vec<&str> {
    record.options.iter().map(String::as_str).collect()
}
