//! Penn-Treebank-like tokens of a caption, as the COCO caption tools use them.
//!
//! The standard pipeline is Stanford's `PTBTokenizer` (CoreNLP 3.4.1, Java) in lower case, after which punctuation
//! tokens are dropped. This is an independent implementation of what it does to captions: contractions, possessives,
//! hyphens, numbers, abbreviations, brackets, quotes, currency, addresses. Golden tests compare it with the original.
//!
//! Differs from the original: rarities of running text (telephone numbers in brackets, times glued to "p.m.",
//! paths after a bare host name) are cut like other words.

use std::sync::LazyLock;

use regex::Regex;

/// Tokens that the caption tools drop. A run such as "!!" is not among them and stays.
const PUNCTUATION: [&str; 15] = [
    "''", "'", "``", "`", ".", "?", "!", ",", ":", "-", "--", "...", ";", "\u{2018}", "\u{2019}",
];

/// Abbreviations that keep their period, in lower case.
const ABBREVIATIONS: &[&str] = &[
    "adj", "adm", "adv", "al", "apr", "asst", "aug", "ave", "bart", "bldg", "blvd", "bros", "bld",
    "calif", "capt", "cf", "cmdr", "co", "col", "comdr", "conn", "corp", "cpl", "dec", "dept",
    "dr", "drs", "e.g", "ens", "esq", "est", "etc", "ext", "feb", "fla", "fri", "ft", "ga", "gen",
    "gov", "hon", "hosp", "i.e", "inc", "insp", "jan", "jr", "jul", "jun", "lt", "ltd", "maj",
    "mass", "md", "messrs", "mich", "minn", "mlle", "mme", "mon", "mr", "mrs", "ms", "msgr", "mt",
    "nov", "oct", "okla", "penn", "ph.d", "prof", "pvt", "rd", "rep", "reps", "rev", "sat", "sen",
    "sens", "sept", "sep", "sgt", "sq", "sr", "st", "ste", "supt", "surg", "tel", "tenn", "thu",
    "tue", "univ", "va", "vs", "v", "wed",
];

/// Abbreviations only before a number: "no. 5", "pp. 5".
const NUMERIC_ABBREVIATIONS: [&str; 5] = ["no", "nos", "art", "nr", "pp"];

/// One word written for two.
const FUSED: [(&str, [&str; 2]); 9] = [
    ("cannot", ["can", "not"]),
    ("gonna", ["gon", "na"]),
    ("gotta", ["got", "ta"]),
    ("wanna", ["wan", "na"]),
    ("gimme", ["gim", "me"]),
    ("lemme", ["lem", "me"]),
    ("more'n", ["more", "'n"]),
    ("'tis", ["'t", "is"]),
    ("'twas", ["'t", "was"]),
];

/// Endings that are cut off after an apostrophe.
const CLITICS: [&str; 6] = ["s", "m", "d", "ll", "re", "ve"];

/// Tokens of a caption: lower case, punctuation dropped.
///
/// ```
/// # use deem_metrics::caption::tokenize;
/// assert_eq!(tokenize("The dog's bowl isn't full."), ["the", "dog", "'s", "bowl", "is", "n't", "full"]);
/// ```
#[must_use]
pub fn tokenize(caption: &str) -> Vec<String> {
    let entities = [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&amp;", "&"),
    ];
    let caption = entities
        .iter()
        .fold(caption.to_owned(), |text, (entity, plain)| {
            text.replace(entity, plain)
        });
    let text = plain_quotes(&caption);
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(next) = text[at..].find(|c: char| !c.is_whitespace()) {
        at += next;
        let length = token_length(&text, at);
        push(&text[at..at + length], &mut tokens);
        at += length;
    }
    tokens.retain(|token| !token.is_empty() && !PUNCTUATION.contains(&token.as_str()));
    tokens
}

/// Lower case with typographic quotes as plain ones and a few symbols spelt out.
fn plain_quotes(caption: &str) -> String {
    let mut text = String::with_capacity(caption.len());
    let mut characters = caption.chars().peekable();
    let mut previous = ' ';
    while let Some(c) = characters.next() {
        match c {
            // "AT&T" is one word, "rock&roll" is not.
            '&' if previous.is_lowercase()
                || characters.peek().is_some_and(|next| next.is_lowercase()) =>
            {
                text.push_str(" & ");
            }
            '\u{2018}' | '\u{2019}' => text.push('\''),
            '\u{201c}' | '\u{201d}' => text.push('"'),
            '\u{bd}' => text.push_str("1/2"),
            '\u{bc}' => text.push_str("1/4"),
            '\u{be}' => text.push_str("3/4"),
            // The original knows nothing beyond the basic plane and drops it.
            c if u32::from(c) > 0xffff => {}
            c => text.extend(c.to_lowercase()),
        }
        previous = c;
    }
    text
}

/// Bytes of the token that starts at `at`, at least one character.
fn token_length(text: &str, at: usize) -> usize {
    let rest = &text[at..];
    if let Some(length) = plain_word(rest) {
        return length;
    }
    static PATTERNS: LazyLock<Vec<Regex>> = LazyLock::new(|| {
        const WORD: &str = r"[\w](?:[\w]|[.!?]\p{L})*";
        [
            // addresses, tags, handles
            r#"(?:https?://|www\.)[^\s"<>|()]*[^\s"<>|().,;:!?']"#,
            r"[\w.%+-]+@[a-z0-9-]+(?:\.[a-z0-9-]+)+",
            r"</?[a-z][^<>]*>",
            r"[@#][a-z_]\w*",
            // numbers, signed, with inner separators; ranges
            r"[-+]?\d+(?:[.,:]\d+)*",
            r"[-+]?(?:\d+(?:,\d+)*)?\.\d+",
            r"\d+(?:\.\d+)?(?:-\d+(?:\.\d+)?)+",
            r"\d{1,2}/\d{1,2}/\d{2,4}|\d{1,4}/\d{1,4}",
            r"'\d\ds\b",
            // words, with hyphens, slashes, inner periods
            &format!("{WORD}(?:-{WORD})*"),
            r"[\w]+(?:/[\w]+)+",
            r"[a-z]+(?:&[a-z]+)+",
            r"[a-z]\+\+",
            // words with an apostrophe
            r"[dol]'\p{L}+",
            r"ma'am|cap'n|more'n|ol'|y'|'n'|'(?:em|til|tis|twas|cause|n)\b",
            // acronyms
            r"\p{L}(?:\.\p{L})+\.?",
            r"us\$",
            // runs of punctuation
            r"--+|\.{3,}|[!?]+|\*+|``|''|<<|>>",
        ]
        .iter()
        .map(|pattern| Regex::new(&format!("^(?:{pattern})")).expect("constant pattern"))
        .collect()
    });
    let longest = PATTERNS
        .iter()
        .filter_map(|pattern| pattern.find(rest))
        .map(|found| found.end())
        .max();
    let length = longest.unwrap_or_else(|| rest.chars().next().map_or(1, char::len_utf8));
    refine(rest, length)
}

/// The commonest case without regular expressions: letters up to a space.
fn plain_word(rest: &str) -> Option<usize> {
    let length = rest.bytes().take_while(u8::is_ascii_lowercase).count();
    (length > 0 && rest.as_bytes().get(length).is_none_or(|b| *b == b' ')).then_some(length)
}

/// Cuts "n't" from its verb, keeps an abbreviation's period, and recognises clitics.
fn refine(rest: &str, length: usize) -> usize {
    let (token, after) = rest.split_at(length);
    if token == "'" {
        return 1 + clitic(after).unwrap_or(0);
    }
    if token == "n" && after.starts_with("'t") && !continues(&after[2..]) {
        return 3;
    }
    if token.len() > 1 && token.ends_with('n') && after.starts_with("'t") && !continues(&after[2..])
    {
        return length - 1;
    }
    if let Some(beyond) = after.strip_prefix('.') {
        let initial = token.chars().count() == 1 && token.starts_with(char::is_alphabetic);
        let number_follows = beyond
            .trim_start()
            .starts_with(|c: char| c.is_ascii_digit());
        let before_number = number_follows && NUMERIC_ABBREVIATIONS.contains(&token);
        let clause_follows = beyond.starts_with([',', ';', ':']);
        let is_word = token.ends_with(char::is_alphanumeric);
        if initial || before_number || (clause_follows && is_word) || ABBREVIATIONS.contains(&token)
        {
            return length + 1;
        }
    }
    length
}

/// Length of the clitic that follows an apostrophe.
fn clitic(after: &str) -> Option<usize> {
    CLITICS
        .iter()
        .find(|c| after.starts_with(**c) && !continues(&after[c.len()..]))
        .map(|c| c.len())
}

fn continues(after: &str) -> bool {
    after.starts_with(char::is_alphanumeric)
}

/// Appends a token in the spelling of the original.
fn push(token: &str, tokens: &mut Vec<String>) {
    if let Some((_, parts)) = FUSED.iter().find(|(word, _)| *word == token) {
        tokens.extend(parts.map(str::to_owned));
        return;
    }
    let spelt = match token {
        "(" => "-lrb-",
        ")" => "-rrb-",
        "[" => "-lsb-",
        "]" => "-rsb-",
        "{" => "-lcb-",
        "}" => "-rcb-",
        "\"" => "''",
        "\u{2013}" | "\u{2014}" | "\u{2015}" => "--",
        "\u{2026}" => "...",
        "\u{a3}" => "#",
        "\u{20ac}" => "$",
        "\u{a2}" => "cents",
        dashes if dashes.len() > 1 && dashes.bytes().all(|b| b == b'-') => "--",
        dots if dots.len() > 2 && dots.bytes().all(|b| b == b'.') => "...",
        other => other,
    };
    tokens.push(spelt.to_owned());
}
