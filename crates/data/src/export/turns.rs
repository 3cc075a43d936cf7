//! The conversation that a sample is, in the protocols' words.

use super::unfit;
use crate::DataError;
use crate::sample::{Sample, Segment};
use crate::text::protocol::{ANSWER, ASSISTANT, SYSTEM, USER};

/// Where a picture stands.
const MARK: &str = "<image>";

/// What was asked, with `<image>` where a picture stands, and what was answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Turn {
    pub question: String,
    pub answer: String,
}

/// The turns of a sample, and the numbers of its pictures in the order in which they are shown.
///
/// # Errors
/// `Malformed` naming the sample if it is no conversation.
pub(super) fn turns(sample: &Sample) -> Result<(Vec<Turn>, Vec<usize>), DataError> {
    let mut turns: Vec<Turn> = Vec::new();
    let mut shown = Vec::new();
    let (mut prompt, mut answer) = (String::new(), String::new());
    for segment in &sample.segments {
        match segment {
            Segment::Text {
                text,
                counted: true,
            } => answer.push_str(text),
            Segment::Text { text, .. } => prompt.push_str(text),
            Segment::Image { index, .. } => {
                prompt.push_str(MARK);
                shown.push(*index);
            }
            Segment::Bos => {}
            Segment::Eos { .. } => {
                let asked = question(&prompt);
                let (question, start) = asked.ok_or_else(|| {
                    unfit(sample, "a question and its answer", format!("{prompt:?}"))
                })?;
                let answer = format!("{start}{}", std::mem::take(&mut answer));
                turns.push(Turn {
                    question: question.to_owned(),
                    answer: answer.trim().to_owned(),
                });
                prompt.clear();
            }
        }
    }
    if turns.is_empty() {
        return Err(unfit(sample, "a question and its answer", "none"));
    }
    Ok((turns, shown))
}

/// The question of a prompt, with roles or without, and how the answer starts. `None` if it asks nothing.
fn question(prompt: &str) -> Option<(&str, &str)> {
    let prompt = prompt.trim();
    let prompt = prompt.strip_prefix(SYSTEM).unwrap_or(prompt).trim_start();
    let (question, start) = match prompt.strip_prefix(USER) {
        Some(turn) => turn.rsplit_once(ASSISTANT)?,
        None => match prompt.strip_suffix(ANSWER) {
            Some(question) => (question, ANSWER),
            None => (prompt, ""),
        },
    };
    let asks = !question.replace(MARK, "").trim().is_empty();
    asks.then_some((question.trim(), start))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::protocol;

    #[test]
    fn turns_of_the_protocols() {
        let mut segments = protocol::question_prompt(0, "Is it red? Please answer yes or no.");
        segments.extend(protocol::answer("yes"));
        segments.extend(protocol::dialogue_prompt(false, &[1], "And this?"));
        segments.extend(protocol::answer("No."));
        let sample = Sample {
            segments,
            ..Sample::default()
        };
        let (turns, shown) = turns(&sample).unwrap();
        let turn = |question: &str, answer: &str| Turn {
            question: question.into(),
            answer: answer.into(),
        };
        assert_eq!(
            turns,
            [
                turn(
                    "Based on the image, please answer the question. <image> Is it red? Please answer yes or no.",
                    "The answer is yes"
                ),
                turn("<image> And this?", "No."),
            ]
        );
        assert_eq!(shown, [0, 1]);
        assert!(super::turns(&Sample::default()).is_err());
        let mut segments = protocol::short_question(true, "What color is the cat?");
        segments.extend(protocol::answer("red"));
        segments.extend(protocol::short_question(false, "Is it big?"));
        segments.extend(protocol::answer("no"));
        let sample = |segments| Sample {
            segments,
            ..Sample::default()
        };
        assert_eq!(
            super::turns(&sample(segments)).unwrap().0,
            [
                turn("<image> What color is the cat?", "The answer is red"),
                turn("Is it big?", "The answer is no"),
            ]
        );
        // A caption answers nothing.
        let text = Segment::Text {
            text: " a cat".into(),
            counted: true,
        };
        let image = Segment::Image {
            index: 0,
            counted: true,
        };
        let caption = sample(vec![image, text, Segment::Eos { counted: true }]);
        assert!(super::turns(&caption).is_err());
    }
}
