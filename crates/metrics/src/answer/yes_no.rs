//! Reading yes/no answers.

use serde::{Deserialize, Serialize};

use super::ParseMode;
use super::extract::comparable;
use super::normalize::words;

/// An answer to a yes/no question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum YesNo {
    /// Yes.
    Yes,
    /// No.
    No,
}

impl YesNo {
    /// Whether this is yes.
    #[must_use]
    pub fn is_yes(self) -> bool {
        self == Self::Yes
    }
}

impl From<bool> for YesNo {
    fn from(yes: bool) -> Self {
        if yes { Self::Yes } else { Self::No }
    }
}

/// What a response answers to a yes/no question, or nothing if that is not clear.
///
/// Strict: a response that begins with "yes" or "no" means that; otherwise it must contain exactly one of the two
/// words. An echoed "yes or no" does not count. Paper: the extracted answer must be "yes" or "no".
///
/// ```
/// # use deem_metrics::answer::{ParseMode, YesNo, parse_yes_no};
/// assert_eq!(parse_yes_no("Yes, there is no doubt.", ParseMode::Strict), Some(YesNo::Yes));
/// assert_eq!(parse_yes_no("The answer is no.", ParseMode::Strict), Some(YesNo::No));
/// assert_eq!(parse_yes_no("Eyes are visible.", ParseMode::Strict), None);
/// ```
#[must_use]
pub fn parse_yes_no(response: &str, mode: ParseMode) -> Option<YesNo> {
    match mode {
        ParseMode::Strict => strict(response),
        ParseMode::Paper => polarity(&comparable(response)),
    }
}

fn polarity(word: &str) -> Option<YesNo> {
    match word {
        "yes" => Some(YesNo::Yes),
        "no" => Some(YesNo::No),
        _ => None,
    }
}

fn strict(response: &str) -> Option<YesNo> {
    let words = words(response);
    let mut found: Vec<(usize, YesNo)> = Vec::new();
    let mut at = 0;
    while at < words.len() {
        if let [a, "or", b] = words[at..]
            .iter()
            .take(3)
            .map(String::as_str)
            .collect::<Vec<_>>()[..]
            && polarity(a).is_some()
            && polarity(b).is_some()
        {
            at += 3;
            continue;
        }
        found.extend(polarity(&words[at]).map(|answer| (at, answer)));
        at += 1;
    }
    match found[..] {
        [(0, answer), ..] => Some(answer),
        [(_, answer), ref others @ ..] if others.iter().all(|(_, other)| *other == answer) => {
            Some(answer)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strict(response: &str) -> Option<YesNo> {
        parse_yes_no(response, ParseMode::Strict)
    }

    #[test]
    fn the_first_word_decides() {
        assert_eq!(strict("yes"), Some(YesNo::Yes));
        assert_eq!(strict(" NO. "), Some(YesNo::No));
        assert_eq!(strict("No, although yes would be nice"), Some(YesNo::No));
    }

    #[test]
    fn one_polarity_anywhere_is_clear() {
        assert_eq!(strict("There is no dog."), Some(YesNo::No));
        assert_eq!(strict("I think the answer is: YES!"), Some(YesNo::Yes));
        assert_eq!(strict("I say no, no"), Some(YesNo::No));
    }

    #[test]
    fn unclear_answers_are_not_guessed() {
        for response in [
            "",
            "maybe",
            "yesterday",
            "I know it",
            "nothing",
            "Answer yes or no",
            "It is yes and no",
            "not sure",
        ] {
            assert_eq!(strict(response), None, "{response:?}");
        }
        assert_eq!(strict("Yes or no? No."), Some(YesNo::No));
    }

    #[test]
    fn paper_mode_wants_the_bare_word() {
        let paper = |response| parse_yes_no(response, ParseMode::Paper);
        assert_eq!(paper("Yes, it is."), Some(YesNo::Yes));
        assert_eq!(paper("The answer is no"), Some(YesNo::No));
        assert_eq!(paper("There is no dog."), None); // extracts "no dog"
        assert_eq!(paper("[yes]"), Some(YesNo::Yes));
    }
}
