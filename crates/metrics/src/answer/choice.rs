//! Reading answers to questions with options, by letter or by text.

use super::ParseMode;
use super::extract::comparable;
use super::normalize::content_words;

/// Words that turn the option after them around.
const NEGATIONS: [&str; 5] = ["not", "no", "never", "neither", "without"];

/// Which option a response chooses (0 = the first, letter A), or nothing if that is not clear.
///
/// Strict: a letter counts where it stands alone or is marked as a letter ("(b)", "B.", "option B"; the article in
/// "A dog" does not count); an option's text counts where it stands as whole words, without a negation just before
/// it. Of options that overlap in the response the longest counts. Letter and texts must agree on exactly one option.
///
/// Paper: the extracted response must be the option's letter or its lower-cased text.
///
/// ```
/// # use deem_metrics::answer::{ParseMode, parse_choice};
/// let options = ["left", "right"];
/// assert_eq!(parse_choice("(b)", &options, ParseMode::Strict), Some(1));
/// assert_eq!(parse_choice("It faces left.", &options, ParseMode::Strict), Some(0));
/// assert_eq!(parse_choice("left or right", &options, ParseMode::Strict), None);
/// ```
#[must_use]
pub fn parse_choice(response: &str, options: &[&str], mode: ParseMode) -> Option<usize> {
    match mode {
        ParseMode::Strict => {
            let by_text = by_text(response, options);
            match (by_letter(response, options.len()), &by_text[..]) {
                (Some(letter), []) => Some(letter),
                (Some(letter), [text]) if letter == *text => Some(letter),
                (None, [text]) => Some(*text),
                _ => None,
            }
        }
        ParseMode::Paper => {
            let answer = comparable(response);
            let answer = answer.trim_matches(['(', ')']);
            let by_text = options
                .iter()
                .position(|option| option.trim().to_lowercase() == answer);
            by_text.or_else(|| letter_index(answer).filter(|index| *index < options.len()))
        }
    }
}

fn letter_index(word: &str) -> Option<usize> {
    match word.as_bytes() {
        [letter] if letter.is_ascii_alphabetic() => {
            Some(usize::from(letter.to_ascii_lowercase() - b'a'))
        }
        _ => None,
    }
}

/// The single letter that a response gives, if it is marked as one.
fn by_letter(response: &str, options: usize) -> Option<usize> {
    let tokens: Vec<&str> = response.split_whitespace().collect();
    let mut letters = tokens.iter().enumerate().filter_map(|(at, token)| {
        let dress = |c: char| !c.is_alphanumeric();
        let open = token.trim_start_matches(dress);
        let bare = open.trim_end_matches(dress);
        let index = letter_index(bare).filter(|index| *index < options)?;
        let announced = at > 0
            && matches!(
                tokens[at - 1].trim_matches(dress).to_lowercase().as_str(),
                "option" | "answer" | "choice" | "is"
            );
        let marked = token.starts_with('(') || open[bare.len()..].starts_with([')', '.', ':', ',']);
        // "is a dog": an article announces nothing, so a lower-case "a" before further words needs a mark.
        let article = bare == "a" || bare == "A";
        let last = at + 1 == tokens.len();
        (tokens.len() == 1 || marked || (announced && (last || !article))).then_some(index)
    });
    let first = letters.next()?;
    letters.all(|other| other == first).then_some(first)
}

/// The options that a response names, each once.
fn by_text(response: &str, options: &[&str]) -> Vec<usize> {
    let words = content_words(response);
    let options: Vec<Vec<String>> = options.iter().map(|option| content_words(option)).collect();
    // (start, end, option) of every mention
    let mentions: Vec<(usize, usize, usize)> = options
        .iter()
        .enumerate()
        .filter(|(_, option)| !option.is_empty())
        .flat_map(|(index, option)| {
            let found = words
                .windows(option.len())
                .enumerate()
                .filter(move |(_, window)| window == option);
            found.map(move |(start, window)| (start, start + window.len(), index))
        })
        .collect();
    let mut named: Vec<usize> = Vec::new();
    for &(start, end, option) in &mentions {
        let within_longer = mentions
            .iter()
            .any(|&(s, e, _)| s <= start && end <= e && e - s > end - start);
        if within_longer || named.contains(&option) {
            continue;
        }
        let negated = words[start.saturating_sub(2)..start]
            .iter()
            .any(|word| NEGATIONS.contains(&word.as_str()) || word.ends_with("n't"));
        if negated {
            return Vec::new();
        }
        named.push(option);
    }
    named
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIDES: [&str; 2] = ["Left", "Right"];

    fn strict(response: &str, options: &[&str]) -> Option<usize> {
        parse_choice(response, options, ParseMode::Strict)
    }

    #[test]
    fn letters_in_their_usual_dress() {
        for response in [
            "b",
            "B",
            "(b)",
            "B.",
            "b)",
            "B: right",
            "(B) Right",
            "Option B",
            "The answer is B",
            "The answer is (b).",
            "\"b) right\"",
            "“B.” it is",
        ] {
            assert_eq!(strict(response, &SIDES), Some(1), "{response:?}");
        }
        assert_eq!(strict("a", &SIDES), Some(0));
        assert_eq!(strict("The answer is A", &SIDES), Some(0));
    }

    #[test]
    fn articles_and_letters_out_of_range_are_not_letters() {
        assert_eq!(strict("A dog is looking", &SIDES), None);
        assert_eq!(strict("it is a dog", &SIDES), None);
        assert_eq!(strict("(c)", &SIDES), None);
        assert_eq!(strict("A dog", &["a cat", "a dog"]), Some(1));
    }

    #[test]
    fn option_texts_are_whole_words() {
        assert_eq!(strict("The dog faces to the left.", &SIDES), Some(0));
        assert_eq!(strict("leftover", &SIDES), None);
        assert_eq!(strict("2", &["two", "three"]), Some(0));
        assert_eq!(strict("a sea lion", &["lion", "sea lion"]), Some(1));
        assert_eq!(strict("a lion", &["lion", "sea lion"]), Some(0));
    }

    #[test]
    fn contradictions_and_negations_are_not_guessed() {
        for response in [
            "",
            "left or right",
            "(a) right",
            "A. B.",
            "not left",
            "It isn't the left",
            "up",
        ] {
            assert_eq!(strict(response, &SIDES), None, "{response:?}");
        }
        assert_eq!(strict("yes", &["yes", "no"]), Some(0));
        assert_eq!(strict("no", &["yes", "no"]), Some(1));
    }

    #[test]
    fn paper_mode_compares_the_extracted_text() {
        let paper = |response| parse_choice(response, &SIDES, ParseMode::Paper);
        assert_eq!(paper("The answer is right."), Some(1));
        assert_eq!(paper("(a)"), Some(0));
        assert_eq!(paper("to the left side"), None);
    }
}
