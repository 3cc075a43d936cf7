//! Prompts in the wording of the published protocols: system line, `## USER: … {image} {question}`,
//! `## ASSISTANT: …`.

use crate::sample::Segment;
use crate::scene::wording::{
    ANSWER, ASSISTANT, CAPTION_ANSWER, CAPTION_REQUEST, LOOK, REGION_REQUEST, SYSTEM, USER,
};

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

/// A question about one image, up to and with "The answer is". `question` is what
/// [`Question::prompt`](crate::scene::Question::prompt) gives: question, options, instruction.
pub fn question_prompt(index: usize, question: &str) -> Vec<Segment> {
    vec![
        prompt(format!("{SYSTEM}\n{USER} {LOOK} ")),
        image(index),
        prompt(format!(" {question}\n{ASSISTANT} {ANSWER}")),
    ]
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
    vec![
        prompt(format!("{SYSTEM}\n{USER} ")),
        image(index),
        prompt(format!(" {REGION_REQUEST}\n{ASSISTANT}")),
    ]
}

/// A further turn of a conversation, up to and with the assistant's mark; `starts` adds the system line.
/// The images stand before the text.
pub fn dialogue_prompt(starts: bool, images: &[usize], text: &str) -> Vec<Segment> {
    let opening = if starts {
        format!("{SYSTEM}\n{USER} ")
    } else {
        format!("\n{USER} ")
    };
    let mut segments = vec![prompt(opening)];
    segments.extend(images.iter().map(|i| image(*i)));
    segments.push(prompt(format!(" {text}\n{ASSISTANT}")));
    segments
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
    }
}
