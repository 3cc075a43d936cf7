//! Text normalisation: our own for exact matches, and the official one of the VQA challenge.

use std::collections::HashMap;
use std::sync::LazyLock;

use regex::Regex;

use super::ParseMode;
use super::extract::comparable;

/// Words of a text in lower case: runs of letters and digits, with inner apostrophes, hyphens and decimal points.
///
/// Typographic apostrophes count as plain ones; everything else separates words.
pub(super) fn words(text: &str) -> Vec<String> {
    let text = text.to_lowercase().replace('\u{2019}', "'");
    let mut words = Vec::new();
    let mut word = String::new();
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        let joins = matches!(c, '\'' | '-' | '.')
            && word.chars().last().is_some_and(char::is_alphanumeric)
            && characters.peek().is_some_and(|next| {
                if c == '.' {
                    next.is_ascii_digit() && word.chars().all(|c| c.is_ascii_digit())
                } else {
                    next.is_alphanumeric()
                }
            });
        if c.is_alphanumeric() || joins {
            word.push(c);
        } else if !word.is_empty() {
            words.push(std::mem::take(&mut word));
        }
    }
    words.extend((!word.is_empty()).then_some(word));
    words
}

/// Small numbers in words.
const NUMBERS: [(&str, &str); 11] = [
    ("zero", "0"),
    ("one", "1"),
    ("two", "2"),
    ("three", "3"),
    ("four", "4"),
    ("five", "5"),
    ("six", "6"),
    ("seven", "7"),
    ("eight", "8"),
    ("nine", "9"),
    ("ten", "10"),
];

/// Words as they are compared in strict mode: lower case, numbers up to ten as digits, no articles.
pub(super) fn content_words(text: &str) -> Vec<String> {
    words(text)
        .into_iter()
        .filter(|word| !matches!(word.as_str(), "a" | "an" | "the"))
        .map(|word| {
            NUMBERS
                .iter()
                .find(|(name, _)| *name == word)
                .map_or(word, |(_, digit)| (*digit).to_owned())
        })
        .collect()
}

/// The form in which strict mode compares an answer with the truth.
///
/// Lower case, punctuation removed, articles dropped, numbers up to ten as digits, single spaces.
///
/// ```
/// # use deem_metrics::answer::normalize;
/// assert_eq!(normalize("The  Sea-Lion!"), "sea-lion");
/// assert_eq!(normalize("two dogs"), normalize("2 Dogs."));
/// ```
#[must_use]
pub fn normalize(text: &str) -> String {
    content_words(text).join(" ")
}

/// Whether an answer is the truth, word for word.
///
/// Strict mode normalises both sides; paper mode extracts from the answer and only lower-cases the truth.
/// An answer without a single word is never right.
#[must_use]
pub fn exact_match(answer: &str, truth: &str, mode: ParseMode) -> bool {
    let (answer, truth) = match mode {
        ParseMode::Strict => (normalize(answer), normalize(truth)),
        ParseMode::Paper => (
            comparable(answer),
            truth.replace(['\n', '\t'], " ").trim().to_lowercase(),
        ),
    };
    !answer.is_empty() && answer == truth
}

/// The official answer normalisation of the VQA challenge.
///
/// Punctuation, periods that no digit follows, number words, articles and missing apostrophes, in the order and with
/// the oddities of its published evaluation tool ("none" is 0; punctuation between two words becomes a space unless
/// a space already adjoins that mark somewhere in the answer).
#[must_use]
pub fn normalize_vqa(answer: &str) -> String {
    const PUNCTUATION: [char; 21] = [
        ';', '/', '[', ']', '"', '{', '}', '(', ')', '=', '+', '\\', '_', '-', '>', '<', '@', '`',
        ',', '?', '!',
    ];
    static DIGIT_COMMA: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"\d,\d").expect("constant pattern"));

    let input = answer.replace(['\n', '\t'], " ");
    let input = input.trim_matches(is_python_space);
    let grouped_digits = DIGIT_COMMA.is_match(input);
    let mut text = input.to_owned();
    for mark in PUNCTUATION {
        let adjoins_space =
            input.contains(&format!("{mark} ")) || input.contains(&format!(" {mark}"));
        text = text.replace(
            mark,
            if adjoins_space || grouped_digits {
                ""
            } else {
                " "
            },
        );
    }
    let text = strip_periods(&text).to_lowercase();
    text.split(is_python_space)
        .filter(|word| !word.is_empty())
        .map(number)
        .filter(|word| !matches!(*word, "a" | "an" | "the"))
        .map(|word| CONTRACTIONS.get(word).map_or(word, String::as_str))
        .collect::<Vec<_>>()
        .join(" ")
}

/// What Python takes for white space: the separators of files and records, too.
pub(crate) fn is_python_space(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\u{1c}'..='\u{1f}')
}

/// Removes periods that no digit follows, at most 32 of them: the tool hands a flag to the argument for the count.
fn strip_periods(text: &str) -> String {
    let mut stripped = 0;
    let mut result = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        if c == '.' && stripped < 32 && !characters.peek().is_some_and(|next| next.is_numeric()) {
            stripped += 1;
        } else {
            result.push(c);
        }
    }
    result
}

fn number(word: &str) -> &str {
    match word {
        "none" => "0",
        _ => NUMBERS
            .iter()
            .find(|(name, _)| *name == word)
            .map_or(word, |(_, digit)| digit),
    }
}

/// Contractions without their apostrophes, as the tool lists them, in lower case (it looks lower-cased words up, so
/// that its capitalised entries never apply).
static CONTRACTIONS: LazyLock<HashMap<String, String>> = LazyLock::new(|| {
    const REGULAR: &str = "ain't aren't can't could've couldn't didn't doesn't don't hadn't hasn't haven't he'd he's \
        how'd how'll how's isn't it'd it'll ma'am mightn't might've mustn't must've needn't not've o'clock oughtn't \
        shan't should've shouldn't somebody'll somebody's someone'd someone'll someone's something'd something'll \
        that's there'd there're there's they'd they'll they're they've 'twas wasn't we've weren't what'll what're \
        what's what've when's where'd where's where've who'd who'll who's who've why'll why're why's won't would've \
        wouldn't y'all you'd you'll you're you've";
    /// Two missing or misplaced apostrophes.
    const DOUBLE: [(&str, &str); 16] = [
        ("could", "n't've"),
        ("had", "n't've"),
        ("he", "'d've"),
        ("it", "'d've"),
        ("might", "n't've"),
        ("she", "'d've"),
        ("should", "n't've"),
        ("somebody", "'d've"),
        ("someone", "'d've"),
        ("something", "'d've"),
        ("there", "'d've"),
        ("they", "'d've"),
        ("we", "'d've"),
        ("who", "'d've"),
        ("would", "n't've"),
        ("you", "'d've"),
    ];
    const IRREGULAR: [(&str, &str); 9] = [
        ("ow's'at", "'ow's'at"),
        ("'ows'at", "'ow's'at"),
        ("'ow'sat", "'ow's'at"),
        ("somebody'd", "somebodyd"),
        ("yall'll", "y'all'll"),
        ("y'allll", "y'all'll"),
        ("yall'd've", "y'all'd've"),
        ("y'alld've", "y'all'd've"),
        ("y'all'dve", "y'all'd've"),
    ];
    let regular = REGULAR
        .split_whitespace()
        .map(|right| (right.replace('\'', ""), right.to_owned()));
    let double = DOUBLE.iter().flat_map(|(stem, tail)| {
        let right = format!("{stem}{tail}");
        // "'d've" is written "d've" or "'dve"; "n't've" is written "nt've" or "n'tve".
        let first = tail.replacen('\'', "", 1);
        let second = format!("{}ve", tail.trim_end_matches("'ve"));
        [
            (format!("{stem}{first}"), right.clone()),
            (format!("{stem}{second}"), right),
        ]
    });
    let irregular = IRREGULAR
        .iter()
        .map(|(wrong, right)| ((*wrong).to_owned(), (*right).to_owned()));
    regular.chain(double).chain(irregular).collect()
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_keep_inner_marks_only() {
        assert_eq!(
            words("It isn\u{2019}t a T-shirt -- 2.5 m, 'really'."),
            ["it", "isn't", "a", "t-shirt", "2.5", "m", "really"]
        );
        assert!(words(" ... ").is_empty());
    }

    #[test]
    fn strict_matches_normalise_both_sides_and_paper_only_the_answer() {
        assert!(exact_match("A sea lion.", "sea lion", ParseMode::Strict));
        assert!(!exact_match("sea lion", "sea lion", ParseMode::Paper));
        assert!(!exact_match("lion", "sea lion", ParseMode::Strict));
        assert!(exact_match("sea lion", "Lion", ParseMode::Paper));
        assert!(!exact_match("...", "", ParseMode::Strict));
    }

    /// Expected values computed with the official tool.
    #[test]
    fn vqa_normalisation_agrees_with_the_official_tool() {
        for (answer, expected) in VQA_CASES {
            assert_eq!(normalize_vqa(answer), *expected, "{answer:?}");
        }
    }

    const VQA_CASES: &[(&str, &str)] = &[
        ("The two dogs.", "2 dogs"),
        ("black/white", "black white"),
        ("black / white", "black white"),
        ("1,000 people", "1000 people"),
        ("1,000", "1000"),
        ("dont know", "don't know"),
        ("Dont", "don't"),
        ("wouldnt've", "wouldn't've"),
        ("shed've", "she'd've"),
        ("he'dve", "he'd've"),
        ("none", "0"),
        ("e.g. this", "eg this"),
        ("3.5 m", "3.5 m"),
        ("3.", "3"),
        ("a.m.", "am"),
        ("U.S.A.", "usa"),
        ("yes, it is", "yes it is"),
        ("yes,it is", "yes it is"),
        ("t-shirt", "t shirt"),
        ("t - shirt-like", "t shirtlike"),
        ("what's up?", "what's up"),
        ("(left)", "left"),
        ("somebody'd", "somebodyd"),
        ("im", "im"),
        ("yall'd've", "y'all'd've"),
        ("well-done, sir", "well done sir"),
        ("a an the", ""),
        ("", ""),
        ("it'd've", "it'd've"),
        ("couldn'tve", "couldn't've"),
        ("youd've", "you'd've"),
        ("let's go", "let's go"),
    ];
}
