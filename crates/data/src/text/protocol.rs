//! Prompts in the wording of the published protocols: system line, `## USER: … {image} {question}`,
//! `## ASSISTANT: …`.

use crate::sample::Segment;

/// The system line of every conversation.
pub const SYSTEM: &str = "You are a helpful assistant.";
/// Opens a user turn.
pub const USER: &str = "## USER:";
/// Opens an assistant turn.
pub const ASSISTANT: &str = "## ASSISTANT:";
/// Before the image in questions.
pub const LOOK: &str = "Based on the image, please answer the question.";
/// After an open question.
pub const ONE_WORD: &str = "Please provide an accurate answer within one word.";
/// After a yes/no question.
pub const YES_OR_NO: &str = "Please answer yes or no.";
/// The options of a choice.
pub const OPTIONS: &str = "(a) {first} (b) {second}";
/// Before every answer.
pub const ANSWER: &str = "The answer is";
/// Caption instruction.
pub const CAPTION_REQUEST: &str = "Could you provide a short description of the image?";
/// Before a caption answer.
pub const CAPTION_ANSWER: &str = "A photo of";
/// Region instruction, followed by the mask.
pub const REGION_REQUEST: &str = "Provide a short description for this <ref>region1</ref>";

/// Whether something is what a picture shows (RobustVQA); `{noun}` is the label.
pub const MAIN_OBJECT: &str = "Is {noun} the main object in this image?";

/// Replaces each `{key}` by its value; unknown keys stay.
pub fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut out = template.to_owned();
    for (key, value) in values {
        out = out.replace(&format!("{{{key}}}"), value);
    }
    out
}

fn prompt(text: String) -> Segment {
    Segment::Text {
        text,
        counted: false,
    }
}

fn image(index: usize) -> Segment {
    Segment::Image {
        index,
        counted: false,
    }
}

/// A question about one image, up to and with "The answer is". `question` is the question
/// proper with its options and the instruction how to answer.
pub fn question_prompt(index: usize, question: &str) -> Vec<Segment> {
    question_turn(true, &[index], question)
}

/// A question of a conversation about images, in the same words; `starts` adds the system line. The images, if there
/// are new ones, stand before the question.
pub fn question_turn(starts: bool, images: &[usize], question: &str) -> Vec<Segment> {
    let opening = format!("{}{LOOK}", opening(starts));
    let closing = format!(" {question}\n{ASSISTANT} {ANSWER}");
    if images.is_empty() {
        return vec![prompt(opening + &closing)];
    }
    let images = images.iter().map(|index| image(*index));
    let opening = prompt(opening + " ");
    std::iter::once(opening)
        .chain(images)
        .chain([prompt(closing)])
        .collect()
}

/// A question without roles and instructions; the first one of image 0 stands right behind it.
pub fn short_question(first: bool, question: &str) -> Vec<Segment> {
    let image = first.then(|| image(0));
    let question = prompt(format!(" {question} {ANSWER}"));
    image.into_iter().chain([question]).collect()
}

/// How a user's turn begins.
fn opening(starts: bool) -> String {
    if starts {
        format!("{SYSTEM}\n{USER} ")
    } else {
        format!("\n{USER} ")
    }
}

/// The same question about a picture described in words: the description stands in the image's place.
pub fn text_question_prompt(description: &str, question: &str) -> String {
    format!("{SYSTEM}\n{USER} {LOOK} {description} {question}\n{ASSISTANT} {ANSWER}")
}

/// The request for a caption, up to and with "A photo of".
pub fn caption_prompt(index: usize) -> Vec<Segment> {
    vec![
        prompt(format!("{SYSTEM}\n{USER} ")),
        image(index),
        prompt(format!(" {CAPTION_REQUEST}\n{ASSISTANT} {CAPTION_ANSWER}")),
    ]
}

/// The request to describe a region; the image's mask says which.
pub fn region_prompt(index: usize) -> Vec<Segment> {
    dialogue_prompt(true, &[index], REGION_REQUEST)
}

/// A further turn of a conversation, up to and with the assistant's mark; `starts` adds the system line.
/// The images stand before the text.
pub fn dialogue_prompt(starts: bool, images: &[usize], text: &str) -> Vec<Segment> {
    let mut segments = vec![prompt(opening(starts))];
    segments.extend(images.iter().map(|i| image(*i)));
    let space = if images.is_empty() { "" } else { " " };
    segments.push(prompt(format!("{space}{text}\n{ASSISTANT}")));
    segments
}

/// A further turn whose images stand within its text; `content` is what the user says and shows.
pub fn inline_prompt(starts: bool, mut content: Vec<Segment>) -> Vec<Segment> {
    let opening = opening(starts);
    match content.first_mut() {
        Some(Segment::Text { text, .. }) => text.insert_str(0, &opening),
        _ => content.insert(0, prompt(opening)),
    }
    let closing = format!("\n{ASSISTANT}");
    match content.last_mut() {
        Some(Segment::Text { text, .. }) => text.push_str(&closing),
        _ => content.push(prompt(closing)),
    }
    content
}

/// An answer to learn: the text and the end of the answer, both counted in the loss.
pub fn answer(text: &str) -> Vec<Segment> {
    vec![
        Segment::Text {
            text: format!(" {text}"),
            counted: true,
        },
        Segment::Eos { counted: true },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_protocols_wording() {
        let written: String =
            question_prompt(0, "Is there a cat in the image? Please answer yes or no.")
                .iter()
                .map(|s| match s {
                    Segment::Text { text, .. } => text.as_str(),
                    _ => "{image}",
                })
                .collect();
        assert_eq!(
            written,
            "You are a helpful assistant.\n## USER: Based on the image, please answer the question. {image} \
             Is there a cat in the image? Please answer yes or no.\n## ASSISTANT: The answer is"
        );
        assert_eq!(answer("yes").len(), 2);
        let later = question_turn(false, &[], "And a dog?");
        let Segment::Text { text, .. } = &later[0] else {
            panic!("{later:?}")
        };
        assert_eq!(
            text,
            "\n## USER: Based on the image, please answer the question. And a dog?\n## ASSISTANT: The answer is"
        );
    }

    #[test]
    fn templates_are_filled() {
        assert_eq!(
            fill(
                "{Is} {x} {value}?",
                &[("Is", "Is"), ("x", "the cat"), ("value", "red")]
            ),
            "Is the cat red?"
        );
    }
}
