//! What METEOR's own normaliser does to words that are Treebank tokens already.

use std::sync::LazyLock;

use regex::Regex;

/// Abbreviations that keep their period wherever they stand, in lower case.
const ABBREVIATIONS: [&str; 5] = ["v", "vs", "i.e", "e.g", "rev"];

/// METEOR's words of a tokenised caption.
///
/// Hyphens join nothing ("t-shirt" is two words), apostrophes stay with the letters after them ("n't" is "n" and "'t"),
/// acronyms lose their periods ("u.s." is "us"), and any other sign is a word by itself.
pub(super) fn normalize(tokens: &[String]) -> Vec<String> {
    static STEPS: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
        [
            (r"``|''|[\u{201c}\u{201d}]", "\""),
            (r"(\w)-+(\w)", "$1 $2"),
            (r"([^\w\s.,'~-]|_)", " $1 "),
            (r"([^\d\s]),", "$1 , "),
            (r",([^\d\s])", " , $1"),
            (r"([^\p{L}])'([^\p{L}])", "$1 ' $2"),
            (r"([^\p{L}\d])'(\p{L})", "$1 ' $2"),
            (r"(\p{L})'([^\p{L}])", "$1 ' $2"),
            (r"(\p{L})'(\p{L})", "$1 '$2"),
            (r"(\d)'s", "$1 's"),
        ]
        .iter()
        .map(|(pattern, replacement)| {
            (Regex::new(pattern).expect("constant pattern"), *replacement)
        })
        .collect()
    });
    static ACRONYM: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"^\p{L}+(?:\.\p{L}+)+\.$").expect("constant pattern"));

    let mut text = format!(" {} ", tokens.join(" "));
    for (pattern, replacement) in STEPS.iter() {
        text = pattern.replace_all(&text, *replacement).into_owned();
    }
    let words: Vec<&str> = text.split_whitespace().collect();
    let mut result = Vec::with_capacity(words.len());
    for (at, word) in words.iter().enumerate() {
        if ACRONYM.is_match(word) {
            result.push(word.replace('.', ""));
            continue;
        }
        match word.strip_suffix('.') {
            Some(stem) if !stem.is_empty() && !stem.ends_with('.') => {
                let goes_on = words
                    .get(at + 1)
                    .is_some_and(|next| next.starts_with(char::is_lowercase));
                if goes_on || ABBREVIATIONS.contains(&stem) {
                    result.push((*word).to_owned());
                } else {
                    result.extend([stem.to_owned(), ".".to_owned()]);
                }
            }
            _ => result.push((*word).to_owned()),
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected words from the original normaliser.
    #[test]
    fn agrees_with_the_original() {
        for (tokens, expected) in [
            ("is n't it the dog 's bowl", "is n 't it the dog ' s bowl"),
            (
                "a t-shirt and 3.5 kg in the u.s. flag -lrb- approx -rrb-",
                "a t shirt and 3.5 kg in the us flag -lrb- approx -rrb-",
            ),
            ("a-b-c two-thirds", "a b-c two thirds"),
            (
                "o'clock y' all 5's rock 'n' roll",
                "o 'clock y ' all 5 's rock ' n ' roll",
            ),
            (
                "$ 5 1,000 12:30 st. john and/or",
                "$ 5 1,000 12 : 30 st. john and / or",
            ),
            (
                "etc. and jr. of ave. 3 no. vs.",
                "etc. and jr. of ave . 3 no. vs.",
            ),
        ] {
            let tokens: Vec<String> = tokens.split(' ').map(str::to_owned).collect();
            assert_eq!(normalize(&tokens).join(" "), expected);
        }
    }
}
