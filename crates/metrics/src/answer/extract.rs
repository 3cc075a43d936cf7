//! Answer extraction of the official code, kept for comparison with published numbers.
//!
//! It cuts at substrings, not words: "sea lion" contains "a " and becomes "lion", "This is a dog." contains "is " and
//! then, cut there, leaves nothing.

/// What the official code keeps of a response.
///
/// Quotation marks are dropped, only the first line up to `.`, `,` or `!` is kept, in lower case; then the text between
/// the first and second occurrence of each of `is `, `are `, `a `, `an `, `the ` replaces the whole, in this order;
/// what follows ` of`, ` or ` and ` and ` is dropped.
///
/// ```
/// # use deem_metrics::answer::extract_answer;
/// assert_eq!(extract_answer("It is a cat."), "cat");
/// assert_eq!(extract_answer("sea lion"), "lion");
/// assert_eq!(extract_answer("This is a dog."), "");
/// ```
#[must_use]
pub fn extract_answer(response: &str) -> String {
    let response = response.replace('"', "");
    let first = response
        .trim()
        .split(['\n', '.', ',', '!'])
        .next()
        .unwrap_or_default();
    let mut text = first.to_lowercase();
    for article in ["is ", "are ", "a ", "an ", "the "] {
        if let Some(after) = text.split(article).nth(1) {
            text = after.to_owned();
        }
    }
    for tail in [" of", " or ", " and "] {
        if let Some(cut) = text.find(tail) {
            text.truncate(cut);
        }
    }
    text.trim().to_owned()
}

/// The official comparison of yes/no and label answers: exact, after extraction of the prediction only.
pub(super) fn comparable(response: &str) -> String {
    extract_answer(response)
        .replace([':', '[', ']'], " ")
        .trim()
        .to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected values computed with the official function.
    #[test]
    fn agrees_with_the_official_code() {
        for (response, expected) in [
            ("It is a cat.", "cat"),
            ("Yes, there are two.", "yes"),
            ("  No!\nBecause", "no"),
            ("\"red\" and blue", "red"),
            ("a group of people", "group"),
            ("There is a cat or dog of", "cat"),
            ("this cat", "cat"),
            ("he bathes the cat", "cat"),
            ("panda bear", "bear"),
            ("a banana split", "banan"),
            ("sea lion", "lion"),
            ("This is a dog.", ""),
            ("a a b", ""),
            ("", ""),
        ] {
            assert_eq!(extract_answer(response), expected, "{response:?}");
        }
    }

    #[test]
    fn comparison_ignores_brackets_and_case() {
        assert_eq!(comparable("[YES]:"), "yes");
    }
}
