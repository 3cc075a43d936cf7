//! Every sentence that the built-in data speaks beside the protocols' ([`crate::text::protocol`]), in one
//! place: the vocabulary is made from both.
//!
//! Placeholders: `{a}` a noun with its article, `{list}` several of them, `{x}` `the` and a noun,
//! `{noun}`/`{plural}` bare nouns, `{is}` the verb that fits `{x}`, `{value}` an attribute's value,
//! `{at}` a position as a phrase, `{first}`/`{second}` the options of a choice.

use super::Attribute;
use super::spec::{Arrangement, Background, Orientation, Position, Tint};
use crate::text::protocol::{
    self, ANSWER, ASSISTANT, CAPTION_ANSWER, CAPTION_REQUEST, LOOK, ONE_WORD, OPTIONS, SYSTEM,
    USER, YES_OR_NO,
};

/// Captions that name what is there and nothing else.
pub const CATEGORY: &[&str] = &[
    "a photo of {list}",
    "a picture of {list}",
    "an image of {list}",
    "a photo showing {list}",
    "a drawing of {list}",
    "{list}",
];

/// Captions that name nothing. Made of words that other texts have, so that the vocabulary is that of the others.
pub const NOISE: &[&str] = &[
    "a photo",
    "a picture",
    "an image",
    "a drawing",
    "a picture of objects",
    "a description of the image",
];

/// Where the background and the arrangement stand in a full caption.
pub const FULL: &[&str] = &[
    "{list}{arrangement} on {a_background} background",
    "on {a_background} background, {list}{arrangement}",
    "{a_background} background with {list}{arrangement}",
    "{background} background: {list}{arrangement}",
];

/// How one thing stands to another.
pub const RELATIONS: [&str; 4] = ["left of", "right of", "above", "below"];

/// Questions, first the protocol's own wording.
pub const PRESENCE: &[&str] = &[
    "Is there {a} in the image?",
    "Is {a} in the image?",
    "Does the image show {a}?",
    "Can you see {a} in the image?",
];
/// Main object, yes or no.
pub const MAIN_OBJECT: &[&str] = &[protocol::MAIN_OBJECT];
/// Quantity, open.
pub const QUANTITY: &[&str] = &[
    "How many {plural} are in the image?",
    "How many {plural} are there?",
    "What is the number of {plural}?",
];
/// Quantity, yes or no.
pub const QUANTITY_IS: &[&str] = &[
    "Is the number of {plural} in the image {value}?",
    "Is the number of {plural} {value}?",
];
/// Colour, open.
pub const COLOUR: &[&str] = &["What color {is} {x}?", "What is the color of {x}?"];
/// Colour, yes or no.
pub const COLOUR_IS: &[&str] = &["{Is} {x} {value}?", "Is the color of {x} {value}?"];
/// Position, open.
pub const POSITION: &[&str] = &["Where {is} {x} in the image?", "Where {is} {x}?"];
/// Position, yes or no.
pub const POSITION_IS: &[&str] = &["{Is} {x} {at} of the image?", "{Is} {x} {at}?"];
/// Orientation, open.
pub const ORIENTATION: &[&str] = &[
    "What is the orientation of {x}?",
    "Which way {is} {x} turned?",
];
/// Orientation, yes or no.
pub const ORIENTATION_IS: &[&str] = &["{Is} {x} {value}?", "Is the orientation of {x} {value}?"];
/// Background, open.
pub const BACKGROUND: &[&str] = &[
    "What color is the background?",
    "What is the color of the background?",
];
/// Background, yes or no.
pub const BACKGROUND_IS: &[&str] = &[
    "Is the background {value}?",
    "Is the color of the background {value}?",
];
/// Structure, open.
pub const STRUCTURE: &[&str] = &[
    "How are the objects arranged?",
    "What is the arrangement of the objects?",
];
/// Structure, yes or no.
pub const STRUCTURE_IS: &[&str] = &[
    "Is the arrangement of the objects a {value}?",
    "Are the objects arranged in a {value}?",
];

/// Number words, index 0 is "zero".
pub const NUMBERS: [&str; 6] = ["zero", "one", "two", "three", "four", "five"];

/// Words that captions build phrases of, beside the templates above.
pub const GLUE: &str = "a an the and on in at with of left right yes no is are there";

/// Open and yes/no templates of an attribute; presence and main object have yes/no templates only.
pub fn templates(attribute: Attribute) -> (&'static [&'static str], &'static [&'static str]) {
    match attribute {
        Attribute::Presence => (PRESENCE, PRESENCE),
        Attribute::MainObject => (MAIN_OBJECT, MAIN_OBJECT),
        Attribute::Quantity => (QUANTITY, QUANTITY_IS),
        Attribute::Colour => (COLOUR, COLOUR_IS),
        Attribute::Position => (POSITION, POSITION_IS),
        Attribute::Orientation => (ORIENTATION, ORIENTATION_IS),
        Attribute::Background => (BACKGROUND, BACKGROUND_IS),
        Attribute::Structure => (STRUCTURE, STRUCTURE_IS),
    }
}

/// `a` or `an`.
pub fn article(noun: &str) -> &'static str {
    let sounds_like_a_vowel =
        noun.starts_with(['a', 'e', 'i', 'o', 'u']) && !matches!(noun, "ufo" | "unicorn");
    if sounds_like_a_vowel { "an" } else { "a" }
}

/// `a cat`, `an owl`.
pub fn with_article(noun: &str) -> String {
    format!("{} {noun}", article(noun))
}

/// `a`, `a and b`, `a, b and c`.
pub fn join(items: &[String]) -> String {
    match items {
        [] => String::new(),
        [one] => one.clone(),
        [init @ .., last] => format!("{} and {last}", init.join(", ")),
    }
}

/// A position as a phrase: `at the top left`, `on the left`, `in the center`.
pub fn position_phrase(position: Position) -> String {
    let preposition = match position {
        Position::Left | Position::Right => "on",
        Position::Center => "in",
        _ => "at",
    };
    format!("{preposition} the {}", position.words())
}

/// An arrangement as a phrase; empty for single objects.
pub fn arrangement_phrase(arrangement: Arrangement) -> &'static str {
    match arrangement {
        Arrangement::Single | Arrangement::Corner => "",
        Arrangement::Row => "in a row",
        Arrangement::Column => "in a column",
        Arrangement::Diagonal => "in a diagonal",
        Arrangement::Grid => "in a grid",
    }
}

/// All text above with placeholders left out, for the vocabulary.
pub(crate) fn all_text() -> Vec<String> {
    let lists: [&[&str]; 18] = [
        CATEGORY,
        FULL,
        &RELATIONS,
        PRESENCE,
        MAIN_OBJECT,
        QUANTITY,
        QUANTITY_IS,
        COLOUR,
        COLOUR_IS,
        POSITION,
        POSITION_IS,
        ORIENTATION,
        ORIENTATION_IS,
        BACKGROUND,
        BACKGROUND_IS,
        STRUCTURE,
        STRUCTURE_IS,
        &NUMBERS,
    ];
    let single = [
        SYSTEM,
        USER,
        ASSISTANT,
        LOOK,
        ONE_WORD,
        YES_OR_NO,
        OPTIONS,
        ANSWER,
        CAPTION_REQUEST,
        CAPTION_ANSWER,
        GLUE,
        "Provide a short description for this region1",
    ];
    let mut text: Vec<String> = lists
        .iter()
        .flat_map(|l| l.iter())
        .map(|s| without_placeholders(s))
        .collect();
    text.extend(single.iter().map(|s| without_placeholders(s)));
    text.extend(Background::ALL.iter().map(|v| v.words().to_owned()));
    text.extend(Tint::ALL.iter().map(|v| v.words().to_owned()));
    text.extend(Orientation::ALL.iter().map(|v| v.words().to_owned()));
    text.extend(Arrangement::ALL.iter().map(|v| v.words().to_owned()));
    text.extend(Position::ALL.iter().map(|v| v.words().to_owned()));
    text
}

fn without_placeholders(template: &str) -> String {
    let mut out = String::new();
    let mut depth = 0;
    for c in template.chars() {
        match c {
            '{' => depth += 1,
            '}' => {
                depth -= 1;
                out.push(' ');
            }
            _ if depth == 0 => out.push(c),
            _ => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phrases() {
        assert_eq!(with_article("owl"), "an owl");
        assert_eq!(with_article("unicorn"), "a unicorn");
        assert_eq!(join(&["x".into(), "y".into(), "z".into()]), "x, y and z");
        assert_eq!(position_phrase(Position::TopLeft), "at the top left");
        assert_eq!(
            without_placeholders("Is {a} in?")
                .split_whitespace()
                .collect::<Vec<_>>(),
            ["Is", "in?"]
        );
    }
}
