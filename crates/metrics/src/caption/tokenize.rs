//! Penn-Treebank-like tokens of a caption, as the COCO caption tools use them.
//!
//! The standard pipeline is Stanford's `PTBTokenizer` (CoreNLP 3.4.1, Java) in lower case, after which punctuation
//! tokens are dropped. This is an independent implementation of what it does, found by trying it: at each place the rule
//! that reaches furthest makes a token, what must follow counted in; of rules that reach equally far the first. Golden
//! tests compare it with the original on ordinary and on hostile captions.

use std::sync::LazyLock;

use regex::Regex;

/// Tokens that the caption tools drop. A run such as "!!" is not among them and stays.
const PUNCTUATION: [&str; 13] = [
    "''", "'", "``", "`", ".", "?", "!", ",", ":", "-", "--", "...", ";",
];

/// Abbreviations that keep their period, in lower case.
const ABBREVIATIONS: &[&str] = &[
    "adj", "adm", "adv", "al", "apr", "asst", "aug", "ave", "bart", "bldg", "blvd", "bros", "bld",
    "calif", "capt", "cf", "cmdr", "co", "col", "comdr", "conn", "corp", "cpl", "dec", "dept",
    "dr", "drs", "e.g", "ens", "esq", "est", "etc", "ext", "feb", "fla", "fri", "ft", "ga", "gen",
    "gov", "hon", "hosp", "i.e", "inc", "insp", "jan", "jr", "jul", "jun", "lt", "ltd", "maj",
    "mass", "md", "messrs", "mich", "minn", "mlle", "mme", "mon", "mr", "mrs", "ms", "msgr", "mt",
    "nov", "oct", "okla", "penn", "ph.d", "prof", "pvt", "rd", "rep", "reps", "rev", "sen", "sens",
    "sept", "sep", "sgt", "sq", "sr", "st", "ste", "supt", "surg", "tel", "tenn", "thu", "tue",
    "univ", "va", "vs", "v", "wed",
];

/// Abbreviations only before a number: "no. 5", "pp. 5".
const NUMERIC_ABBREVIATIONS: [&str; 5] = ["no", "nos", "art", "nr", "pp"];

/// Words with which a sentence begins: an initial before one of them ends the sentence before.
const BEGINNINGS: &[&str] = &[
    "A", "About", "After", "An", "As", "At", "But", "He", "Her", "Here", "However", "If", "In",
    "It", "Many", "More", "Mr.", "One", "Other", "Our", "She", "Since", "So", "Some", "That",
    "The", "Their", "Then", "There", "These", "They", "This", "We", "What", "When", "While", "You",
];

/// One word written for two.
const FUSED: [(&str, [&str; 2]); 7] = [
    ("cannot", ["can", "not"]),
    ("gonna", ["gon", "na"]),
    ("gotta", ["got", "ta"]),
    ("wanna", ["wan", "na"]),
    ("gimme", ["gim", "me"]),
    ("lemme", ["lem", "me"]),
    ("more'n", ["more", "'n"]),
];

/// Tokens of a caption: lower case, punctuation dropped. A token of more than one word (`3 1/2`, a tag with attributes)
/// has no-break spaces within.
///
/// ```
/// # use deem_metrics::caption::tokenize;
/// assert_eq!(tokenize("The dog's bowl isn't full."), ["the", "dog", "'s", "bowl", "is", "n't", "full"]);
/// ```
#[must_use]
pub fn tokenize(caption: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(next) = caption[at..].find(|c: char| !c.is_whitespace()) {
        at += next;
        let length = token_length(caption, at);
        push(&caption[at..at + length], &mut tokens);
        at += length;
    }
    tokens.retain(|token| !token.is_empty() && !PUNCTUATION.contains(&token.as_str()));
    tokens
}

/// What tokens look like, in order of precedence among those that reach equally far. Where something must follow a token,
/// the token is group 1.
static RULES: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    // Letters and digits; inner periods only in words that begin with a letter.
    const PART: &str = r"(?:\p{L}[\p{L}\p{M}\p{Nd}]*(?:_[\p{L}\p{M}\p{Nd}]+|[.!?]\p{L}[\p{L}\p{M}\p{Nd}]*)*|\p{Nd}[\p{L}\p{M}\p{Nd}]*(?:_[\p{L}\p{M}\p{Nd}]+)*)";
    const SIMPLE: &str = r"[\p{L}\p{Nd}][\p{L}\p{M}\p{Nd}]*(?:_[\p{L}\p{M}\p{Nd}]+)*";
    const ELISION: &str = "(?:[dDoOlL]['\u{2019}]\\p{L})?";
    const NUMBER: &str = r"(?:\p{Nd}*(?:[.:,\u{ad}\u{66b}\u{66c}]\p{Nd}+)+|\p{Nd}+(?:[.:,\u{ad}\u{66b}\u{66c}]\p{Nd}+)*)";
    [
        // addresses, tags, entities, handles
        r#"https?://[^\s"<>|()]*[^\s"<>|().,;:!?']"#.to_owned(),
        r#"(?:www\.(?:[^\s"<>|()./]+\.)+[a-zA-Z]{2,4}|(?:[^\s"<>|()`'.,;:!?/$#@%*&=+~^]+\.)+(?:com|net|org|edu))(?:/[^\s"<>|()]*[^\s"<>|().,;:!?'])?"#.to_owned(),
        r#"[a-zA-Z0-9][^\s"<>|()\u{a0}{}]*@(?:[^\s"<>|().{}\u{a0}]+\.)*[^\s"<>|().{}\u{a0}]+"#.to_owned(),
        r"</?[a-zA-Z][^<>]*>|<!--[^<>]*-->".to_owned(),
        r"&(?:amp|lt|gt|quot|nbsp|#\d+);".to_owned(),
        r"@[a-zA-Z_][a-zA-Z_0-9]*|#\p{L}+|@@|##".to_owned(),
        // faces
        r"([<>]?[:;=][-o*']?[()DPdpO\\{@|\[\]])(?:[^A-Za-z0-9]|$)".to_owned(),
        r"[-^=~<>']_[-^x=~<>']|\([-^x=~<>'][_.]?[-^x=~<>']\)".to_owned(),
        // telephone numbers, fractions, dates
        r"(?:\([0-9]{2,3}\)[ \u{a0}]?|(?:\+\+?)?(?:[0-9]{2,4}[- \u{a0}])?[0-9]{2,4}[- \u{a0}])[0-9]{3,4}[- \u{a0}]?[0-9]{3,5}".to_owned(),
        r"(?:\+\+?)?(?:[0-9]{2,4}\.)?[0-9]{2,4}\.[0-9]{3,4}\.[0-9]{3,5}".to_owned(),
        r"(?:[0-9]{1,4}[- \u{a0}])?[0-9]{1,4}/[0-9]{1,4}".to_owned(),
        r"[0-9]{1,2}[-/][0-9]{1,2}[-/][0-9]{2,4}".to_owned(),
        // numbers, signed
        format!("[-+]?{NUMBER}"),
        // words with hyphens and slashes
        PART.to_owned(),
        format!("{ELISION}{SIMPLE}(?:-{SIMPLE})*"),
        r"[A-Za-z0-9]+(?:[.,][A-Za-z0-9]+)*(?:-[A-Za-z0-9]+)+".to_owned(),
        r"[A-Za-z0-9]+(?:-[A-Za-z]+)*(?:/[A-Za-z0-9]+(?:-[A-Za-z]+)*){1,2}".to_owned(),
        r"[A-Z]+(?:&(?:amp;)?[A-Z]+)+".to_owned(),
        r"[cC]\+\+|[cCfF]#|[A-Z]*\$".to_owned(),
        // a word before n't, and clitics; the order matters: they reach as far as other words
        "([A-Za-z]*[A-MO-Za-mo-z])[nN]['\u{2019}][tT]".to_owned(),
        "((?i:etc)\\.)[nN]['\u{2019}][tT]".to_owned(),
        "([nN]['\u{2019}][tT])(?:[^A-Za-z]|$)".to_owned(),
        "(['\u{2019}](?:[sSmMdD]|re|ve|ll|RE|VE|LL))(?:[^A-Za-z]|$)".to_owned(),
        "\u{2019}(?:[sSmMdD]|re|ve|ll|RE|VE|LL)".to_owned(),
        // words with an apostrophe
        "(['\u{2019}][tT])(?:is|was|IS|WAS)".to_owned(),
        "[A-HJ-XZn]['\u{2019}]\\p{L}{2,}|[lLdDjJ]['\u{2019}]|\\p{L}+[aeiouyAEIOUY]['\u{2019}][aeiouA-Z]\\p{L}*".to_owned(),
        "['\u{2019}]n['\u{2019}]|[oO]l['\u{2019}]|['\u{2019}](?:em|till?|cause|[2-9]0s)".to_owned(),
        "(['\u{2019}]n)(?:[^A-Za-z]|$)".to_owned(),
        "([yY]['\u{2019}])\\p{L}".to_owned(),
        "[cC]'mon|[nN]e'er|[eE]'er|[oO]'er|[mM]a'am|[cC]ap'n".to_owned(),
        "(['\u{2019}][0-9]{2})(?:[\\s'\u{2019}]|$)".to_owned(),
        // acronyms
        r"\p{L}(?:\.\p{L})+\.?".to_owned(),
        // brackets by name, runs of punctuation
        r"-(?i:lrb|rrb|lsb|rsb|lcb|rcb)-".to_owned(),
        r"--+|\.{3,}|[!?]+|\*+|_+|``|''|<<|>>".to_owned(),
    ]
    .into_iter()
    .map(|pattern| Regex::new(&format!("^(?:{pattern})")).expect("constant pattern"))
    .collect()
});

/// Bytes of the token that starts at `at`, at least one character.
fn token_length(text: &str, at: usize) -> usize {
    let rest = &text[at..];
    if let Some(length) = plain_word(rest) {
        return length;
    }
    let mut best: Option<(usize, usize)> = None;
    for rule in RULES.iter() {
        let Some(found) = rule.captures(rest) else {
            continue;
        };
        let reach = found.get(0).map_or(0, |whole| whole.end());
        if best.is_none_or(|(other, _)| reach > other) {
            let token = found.get(1).map_or(reach, |token| token.end());
            best = Some((reach, token));
        }
    }
    let length = best.map_or_else(
        || rest.chars().next().map_or(1, char::len_utf8),
        |(_, token)| token,
    );
    with_period(rest, length)
}

/// The commonest case without regular expressions: letters up to a space.
fn plain_word(rest: &str) -> Option<usize> {
    let length = rest.bytes().take_while(u8::is_ascii_lowercase).count();
    (length > 0 && rest.as_bytes().get(length).is_none_or(|b| *b == b' ')).then_some(length)
}

/// Keeps an abbreviation's period.
fn with_period(rest: &str, length: usize) -> usize {
    let (token, after) = rest.split_at(length);
    let Some(beyond) = after.strip_prefix('.') else {
        return length;
    };
    let lower = token.to_lowercase();
    let initial = token.len() == 1 && token.starts_with(|c: char| c.is_ascii_alphabetic());
    let follows = beyond.trim_start();
    let number_follows = follows.starts_with(|c: char| c.is_ascii_digit());
    let before_number = number_follows && NUMERIC_ABBREVIATIONS.contains(&lower.as_str());
    let clause_follows = beyond.starts_with([',', ';', ':']);
    let is_word = token.ends_with(char::is_alphanumeric)
        && !token.contains(['\'', '\u{2019}', ',', ':'])
        && !token.starts_with(['.', '-', '+']);
    let next = follows.split_whitespace().next().unwrap_or("");
    let ends = beyond.starts_with(char::is_whitespace)
        && (next.starts_with('<') || BEGINNINGS.contains(&next));
    let keeps = (initial && !ends)
        || before_number
        || (clause_follows && is_word)
        || ABBREVIATIONS.contains(&lower.as_str());
    length + usize::from(keeps)
}

/// Appends a token in the spelling of the original.
fn push(token: &str, tokens: &mut Vec<String>) {
    let lower = token.to_lowercase();
    if let Some((_, parts)) = FUSED.iter().find(|(word, _)| *word == lower) {
        tokens.extend(parts.map(str::to_owned));
        return;
    }
    let spelt = match lower.as_str() {
        "\"" | "\u{201c}" | "\u{201d}" | "\u{ab}" | "\u{bb}" | "&quot;" => "''".to_owned(),
        "\u{2018}" | "\u{2019}" | "\u{2039}" | "\u{203a}" => "'".to_owned(),
        "\u{2013}" | "\u{2014}" | "\u{2015}" => "--".to_owned(),
        "\u{2026}" => "...".to_owned(),
        "\u{a3}" => "#".to_owned(),
        "\u{20ac}" => "$".to_owned(),
        "\u{a2}" => "cents".to_owned(),
        "\u{bd}" => "1/2".to_owned(),
        "\u{bc}" => "1/4".to_owned(),
        "\u{be}" => "3/4".to_owned(),
        "&lt;" => "<".to_owned(),
        "&gt;" => ">".to_owned(),
        "&nbsp;" => String::new(),
        dashes if dashes.len() > 1 && dashes.bytes().all(|b| b == b'-') => "--".to_owned(),
        dots if dots.len() > 2 && dots.bytes().all(|b| b == b'.') => "...".to_owned(),
        _ => spelt(lower),
    };
    // The original knows nothing beyond the basic plane and drops it where it stands alone.
    let unknown = |c: char| {
        u32::from(c) > 0xffff || c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{feff}')
    };
    if spelt.chars().count() == 1 && spelt.chars().all(unknown) {
        return;
    }
    tokens.push(spelt);
}

/// Brackets by name, plain clitics, spaces that do not break.
fn spelt(token: String) -> String {
    let mut out = String::with_capacity(token.len());
    for c in token.replace("&amp;", "&").chars() {
        match c {
            '(' => out.push_str("-lrb-"),
            ')' => out.push_str("-rrb-"),
            '[' => out.push_str("-lsb-"),
            ']' => out.push_str("-rsb-"),
            '{' => out.push_str("-lcb-"),
            '}' => out.push_str("-rcb-"),
            c if c.is_whitespace() => out.push('\u{a0}'),
            c => out.push(c),
        }
    }
    let plain = out.replace('\u{2019}', "'");
    if plain.starts_with('\'') || plain == "n't" {
        return plain; // clitics lose their typographic apostrophe, names keep it
    }
    out
}
