//! Conversations about pictures in LLaVA's published layout: a JSON list (or JSON Lines) of `{id, image,
//! conversations: [{from: "human" | "gpt", value}]}`. `image` is a file below the folder of pictures, a list of
//! them, or absent; `<image>` marks where they stand.
//!
//! Only the assistant's turns count in the loss. As in LLaVA, a turn's single picture stands before its text
//! wherever it is marked, and what the assistant says before the first question is left out.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::records::{Records, Within};
use super::registry::{Field, SourceContext, SourceKind, parse_options};
use super::{OneOrMore, Source};
use crate::DataError;
use crate::sample::{Sample, SampleImage, Segment};
use crate::storage::Pictures;
use crate::text::protocol;

/// Where a picture stands in a text.
const MARK: &str = "<image>";

pub(super) const KIND: SourceKind = SourceKind {
    name: "llava",
    about: "conversations about pictures in LLaVA's layout, a JSON list or JSON Lines; only answers count",
    fields: &[
        Field {
            name: "file",
            about: "the conversations",
        },
        Field {
            name: "images",
            about: "folder that names of pictures start from",
        },
    ],
    build: open,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    file: String,
    images: String,
}

#[derive(Deserialize)]
struct Record {
    #[serde(default)]
    id: Value,
    #[serde(default)]
    image: Option<OneOrMore>,
    conversations: Vec<Turn>,
}

/// What one of the two says.
#[derive(Deserialize)]
pub(super) struct Turn {
    pub from: Speaker,
    pub value: String,
}

/// Who says something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Speaker {
    /// The user.
    Human,
    /// The assistant.
    Gpt,
}

struct Conversations {
    records: Records<Record>,
    images: Pictures,
}

fn open(
    options: &Map<String, Value>,
    context: &SourceContext,
) -> Result<Arc<dyn Source>, DataError> {
    let options: Options = parse_options(options)?;
    let file = context.blob("file", &options.file)?;
    let expected =
        "{\"image\": …, \"conversations\": [{\"from\": \"human\" or \"gpt\", \"value\": …}]}";
    Ok(Arc::new(Conversations {
        images: context.pictures("images", &options.images)?,
        records: Records::open(file, Within::File, expected)?,
    }))
}

impl Source for Conversations {
    fn len(&self) -> Option<u64> {
        Some(self.records.len())
    }

    fn get(&self, index: u64) -> Result<Sample, DataError> {
        let record = self.records.get(index)?;
        let names = record.image.as_ref().map_or(&[][..], OneOrMore::all);
        let segments = segments(&record.conversations, names.len())
            .map_err(|(expected, found)| self.records.malformed(index, &expected, found))?;
        let images = names
            .iter()
            .map(|name| {
                Ok(SampleImage {
                    id: name.clone(),
                    image: self.images.read(name)?,
                    mask: None,
                })
            })
            .collect::<Result<Vec<_>, DataError>>()?;
        let id = match &record.id {
            Value::String(id) => id.clone(),
            Value::Number(id) => id.to_string(),
            _ => self.records.name(index),
        };
        Ok(Sample {
            id,
            segments,
            provenance: names.to_vec(),
            images,
        })
    }
}

/// What the model reads; else what was expected and what was found.
pub(super) fn segments(turns: &[Turn], images: usize) -> Result<Vec<Segment>, (String, String)> {
    let start = turns.iter().position(|turn| turn.from == Speaker::Human);
    let turns = &turns[start.unwrap_or(turns.len())..];
    let marks: usize = turns
        .iter()
        .filter(|turn| turn.from == Speaker::Human)
        .map(|turn| turn.value.matches(MARK).count())
        .sum();
    if marks != images && marks > 0 {
        return Err((
            format!("as many {MARK} in questions as pictures, or none"),
            format!("{marks} for {images} pictures"),
        ));
    }
    let mut shown = if marks == 0 { 0..images } else { 0..0 };
    let mut next = 0;
    let mut segments = Vec::new();
    for pair in turns.chunks(2) {
        let [question, answer] = pair else {
            break; // a question without its answer teaches nothing
        };
        if question.from != Speaker::Human || answer.from != Speaker::Gpt {
            let expected = "turns of human and gpt, one after the other".to_owned();
            return Err((
                expected,
                format!("{:?} after {:?}", answer.from, question.from),
            ));
        }
        let starts = segments.is_empty();
        match question.value.matches(MARK).count() {
            0 | 1 => {
                let marked = question.value.matches(MARK).count();
                let leading: Vec<usize> = shown.by_ref().chain(next..next + marked).collect();
                let text = question.value.replace(MARK, "");
                segments.extend(protocol::dialogue_prompt(starts, &leading, text.trim()));
                next += marked;
            }
            several => {
                let content = inline(question.value.trim(), next);
                segments.extend(protocol::inline_prompt(starts, content));
                next += several;
            }
        }
        segments.extend(protocol::answer(answer.value.trim()));
    }
    if segments.is_empty() {
        return Err(("a question and its answer".into(), "none".into()));
    }
    if next < marks {
        // In a last question that nobody answered.
        return Err((
            "an answer after the last picture".into(),
            format!("a conversation that ends before picture {}", next + 1),
        ));
    }
    Ok(segments)
}

/// A text with pictures where they are marked.
fn inline(text: &str, first: usize) -> Vec<Segment> {
    let mut content = Vec::new();
    for (number, piece) in text.split(MARK).enumerate() {
        if number > 0 {
            content.push(Segment::Image {
                index: first + number - 1,
                counted: false,
            });
        }
        if !piece.is_empty() {
            content.push(Segment::Text {
                text: piece.to_owned(),
                counted: false,
            });
        }
    }
    content
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(turns: &[(Speaker, &str)], images: usize) -> Result<String, String> {
        let turns: Vec<Turn> = turns
            .iter()
            .map(|(from, value)| Turn {
                from: *from,
                value: (*value).into(),
            })
            .collect();
        let segments = segments(&turns, images).map_err(|(e, f)| format!("{e}; {f}"))?;
        Ok(segments
            .iter()
            .map(|segment| match segment {
                Segment::Text {
                    text,
                    counted: true,
                } => format!("[{text}]"),
                Segment::Text { text, .. } => text.clone(),
                Segment::Image { index, counted } => {
                    assert!(!counted);
                    format!("<{index}>")
                }
                Segment::Eos { counted: true } => "</s>".into(),
                other => panic!("{other:?}"),
            })
            .collect())
    }

    use Speaker::{Gpt, Human};

    #[test]
    fn a_picture_stands_before_its_question_and_only_answers_count() {
        let turns = [
            (Human, "What is this?\n<image>"),
            (Gpt, "A cat."),
            (Human, "Which colour?"),
            (Gpt, "Red."),
        ];
        let expected = "You are a helpful assistant.\n## USER: <0> What is this?\n## ASSISTANT:[ A cat.]</s>\
                        \n## USER: Which colour?\n## ASSISTANT:[ Red.]</s>";
        assert_eq!(read(&turns, 1).unwrap(), expected);
        let unmarked = [(Gpt, "Hello."), (Human, "What is this?"), (Gpt, "A cat.")];
        assert_eq!(
            read(&unmarked, 1).unwrap(),
            expected[..expected.find("</s>").unwrap() + 4]
        );
    }

    #[test]
    fn several_pictures_stand_where_they_are_marked() {
        let turns = [
            (Human, "Compare <image> and <image>."),
            (Gpt, "Equal."),
            (Human, "<image>\nAnd this?"),
            (Gpt, "No."),
            (Human, "Why?"),
        ];
        assert_eq!(
            read(&turns, 3).unwrap(),
            "You are a helpful assistant.\n## USER: Compare <0> and <1>.\n## ASSISTANT:[ Equal.]</s>\
             \n## USER: <2> And this?\n## ASSISTANT:[ No.]</s>"
        );
        assert!(read(&turns, 0).unwrap_err().contains("3 for 0 pictures"));
        assert!(read(&turns, 4).unwrap_err().contains("3 for 4 pictures"));
    }

    #[test]
    fn conversations_without_an_answer_are_refused() {
        assert!(read(&[(Human, "Hi")], 0).unwrap_err().contains("answer"));
        assert!(read(&[], 0).is_err());
        assert!(
            read(&[(Human, "a"), (Human, "b"), (Gpt, "c")], 0)
                .unwrap_err()
                .contains("one after")
        );
        let unanswered = [(Human, "a"), (Gpt, "b"), (Human, "<image>")];
        assert!(read(&unanswered, 1).unwrap_err().contains("picture 1"));
    }
}
