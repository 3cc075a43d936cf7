//! Who answers: the loop over questions that every kind of model shares.

use deem_data::Segment;
use deem_data::benchmark::Item;
use deem_data::text::question_prompt;
use deem_metrics::answer::ParseMode;

use super::{AnswerForm, Exam, Question, Record, RecordFile, Shard, parsed, value};
use crate::EngineError;

/// Something that answers questions: a whole model, or an encoder alone.
pub trait Examiner {
    /// Questions answered together.
    fn batch(&self) -> usize;

    /// Does what the questions like this one need together, before the first of them is asked; `go_on` is asked now and then, and
    /// says false to stop.
    ///
    /// # Errors
    /// Those of answering, `Stopped`.
    fn prepare(&self, item: &Item, go_on: &mut dyn FnMut() -> bool) -> Result<(), EngineError> {
        let _ = (item, go_on);
        Ok(())
    }

    /// Answers questions, in order. Those whose picture cannot be read are recorded as such.
    ///
    /// # Errors
    /// Those of answering.
    fn ask(&self, exam: &Exam, items: &[&Item]) -> Result<Vec<Record>, EngineError>;

    /// Asks the questions of an exam that are this share's and not yet in the file; `tick` hears first how many of the
    /// exam are, then how many were just done, and may stop the evaluation by returning false.
    ///
    /// # Errors
    /// Those of answering, `Io` of the file, `Stopped` after `tick` said so.
    fn run(
        &self,
        exam: &Exam,
        file: &mut RecordFile,
        shard: Shard,
        tick: &mut dyn FnMut(usize) -> bool,
    ) -> Result<(), EngineError> {
        let name = exam.benchmark.name();
        let is_open = |file: &RecordFile, i: &Item| file.get(name, &i.part, &i.id).is_none();
        let done = exam.items.iter().filter(|item| !is_open(file, item));
        if !tick(done.count()) {
            return Err(EngineError::Stopped);
        }
        let batch = self.batch().max(1);
        let mut number = 0;
        for part in exam.parts() {
            let items: Vec<&Item> = exam.items.iter().filter(|i| i.part == part).collect();
            // The same questions share a batch whenever a run was stopped: padding may touch an answer's last digits.
            for chunk in items.chunks(batch) {
                let own = shard.has(number);
                number += 1;
                let open: Vec<bool> = chunk.iter().map(|item| is_open(file, item)).collect();
                if !own || !open.contains(&true) {
                    continue;
                }
                self.prepare(chunk[0], &mut || tick(0))?;
                let records = self.ask(exam, chunk)?.into_iter().zip(&open);
                for (record, _) in records.filter(|(_, open)| **open) {
                    file.push(record)?;
                }
                if !tick(open.iter().filter(|open| **open).count()) {
                    return Err(EngineError::Stopped);
                }
            }
        }
        Ok(())
    }
}

/// A question that has not been answered yet.
pub(super) fn unanswered(benchmark: &str, item: &Item, question: &Question) -> Record {
    Record {
        id: item.id.clone(),
        benchmark: benchmark.to_owned(),
        part: item.part.clone(),
        cluster: item.cluster.clone(),
        pattern: item.pattern.clone(),
        image: item.picture.id(),
        image_sha256: None,
        prompt: written(&question.segments),
        options: item.options.clone(),
        form: question.form,
        truth: item.answers.clone(),
        relevance: item.relevance.clone(),
        answer: String::new(),
        parsed: None,
        score: 0.0,
        margin: 0.0,
        likelihood: None,
        rank: None,
        seconds: 0.0,
        error: None,
    }
}

/// Reads what was answered and says what it is worth.
pub(super) fn graded(mut record: Record, seconds: f64) -> Result<Record, EngineError> {
    record.seconds = seconds;
    record.parsed = parsed(&record, ParseMode::Strict);
    record.score = value(&record, ParseMode::Strict)?;
    Ok(record)
}

/// Letters of an option: `(a)`, as prompts and truths have it.
pub(super) fn letter(at: usize) -> String {
    let letter = u8::try_from(at).ok().and_then(|at| b'a'.checked_add(at));
    format!("({})", letter.map_or('?', char::from))
}

/// A prompt as text, with its images written as `<image>`.
fn written(segments: &[Segment]) -> String {
    let parts = segments.iter().map(|segment| match segment {
        Segment::Text { text, .. } => text.as_str(),
        Segment::Image { .. } => " <image> ",
        Segment::Bos | Segment::Eos { .. } => "",
    });
    parts.collect::<String>()
}

/// A question with its options, to be answered by one of them.
pub(super) fn choice(item: &Item) -> Question {
    let text = format!("{}{}", item.question, listed(&item.options));
    Question {
        segments: question_prompt(0, &text),
        text,
        form: AnswerForm::Choice,
    }
}

/// Options as they stand in a prompt: ` (a) Open (b) Closed`.
fn listed(options: &[String]) -> String {
    let options = options.iter().enumerate();
    options
        .map(|(at, option)| format!(" {} {option}", letter(at)))
        .collect()
}
