//! What benchmarks of yes/no questions share.

use deem_data::benchmark::Item;
use deem_data::text::{protocol, question_prompt};
use deem_metrics::answer::{ParseMode, parse_yes_no};
use deem_metrics::yes_no::YesNoSample;

use super::{AnswerForm, Answered, Answering, Question};
use crate::EngineError;

/// Yes or no, and room for a word before it.
pub(super) fn answering() -> Answering {
    Answering::words(4)
}

pub(super) fn ask(item: &Item) -> Question {
    let text = format!("{} {}", item.question, protocol::YES_OR_NO);
    Question {
        segments: question_prompt(0, &text),
        text,
        form: AnswerForm::YesNo,
    }
}

/// Answers of one part, in their order.
pub(super) fn samples(
    answers: &[Answered<'_>],
    part: &str,
    mode: ParseMode,
) -> Result<Vec<YesNoSample>, EngineError> {
    let of_part = answers.iter().filter(|a| a.record.part == part);
    of_part.map(|answered| sample(answered, mode)).collect()
}

fn sample(answered: &Answered<'_>, mode: ParseMode) -> Result<YesNoSample, EngineError> {
    let record = answered.record;
    let truth = record.truth.first().map_or("", String::as_str);
    let truth = parse_yes_no(truth, ParseMode::Strict).ok_or_else(|| {
        deem_metrics::MetricsError::Truth {
            found: truth.to_owned(),
            expected: "yes or no",
        }
    })?;
    Ok(YesNoSample {
        seed: answered.seed,
        image: record.cluster.clone(),
        question: record.id.clone(),
        truth,
        answer: parse_yes_no(&record.answer, mode),
        margin: record.error.is_none().then_some(record.margin),
    })
}
