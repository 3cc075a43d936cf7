//! Synonyms and paraphrases for METEOR, from the tables that come with the original program.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io::BufRead;

use super::normalize::normalize;
use crate::caption::Tokenized;
use crate::{MetricsError, Result};

/// First word and number of words.
pub(super) type Span = (usize, usize);

/// Word senses and paraphrases; empty unless tables are given.
#[derive(Debug, Default, Clone)]
pub struct Lexicon {
    senses: HashMap<String, BTreeSet<u32>>,
    /// Irregular forms with the words they come from.
    bases: HashMap<String, Vec<String>>,
    paraphrases: HashMap<Vec<String>, Vec<Vec<String>>>,
    longest: usize,
}

impl Lexicon {
    /// Adds WordNet senses.
    ///
    /// `synsets` has two lines for each word: the word, and the numbers of its senses. `exceptions` has two lines for
    /// each irregular word: the word, and its forms. These are `english.synsets` and `english.exceptions` of METEOR 1.5.
    ///
    /// # Errors
    /// `Dictionary` for a word without a second line, or a sense that is not a number.
    pub fn with_synonyms(mut self, synsets: &str, exceptions: &str) -> Result<Self> {
        for (line, word, numbers) in line_pairs("synonyms", synsets)? {
            let senses: std::result::Result<_, _> =
                numbers.split_whitespace().map(str::parse).collect();
            let problem = "expected the numbers of word senses";
            let senses = senses.map_err(|_| MetricsError::Dictionary {
                what: "synonyms",
                line: line + 1,
                problem,
            })?;
            self.senses.insert(word.to_owned(), senses);
        }
        for (_, base, forms) in line_pairs("irregular forms", exceptions)? {
            for form in forms.split_whitespace() {
                self.bases
                    .entry(form.to_owned())
                    .or_default()
                    .push(base.to_owned());
            }
        }
        Ok(self)
    }

    /// Adds paraphrases.
    ///
    /// `table` has three lines for each pair: its probability (not used), a phrase, and another. This is METEOR's
    /// `paraphrase-en`, decompressed. Only phrases whose words are all in `vocabulary` are kept: the table has five
    /// million pairs, see [`vocabulary`].
    ///
    /// # Errors
    /// `Dictionary` if the table cannot be read, or ends within a pair.
    pub fn with_paraphrases(
        mut self,
        table: impl BufRead,
        vocabulary: &HashSet<String>,
    ) -> Result<Self> {
        let mut lines = table.lines().enumerate();
        let error = |line, problem| MetricsError::Dictionary {
            what: "paraphrases",
            line,
            problem,
        };
        while let Some((number, probability)) = lines.next() {
            probability.map_err(|_| error(number + 1, "cannot be read as text"))?;
            let mut phrase = || match lines.next() {
                Some((_, Ok(text))) => Ok(text
                    .split_whitespace()
                    .map(str::to_owned)
                    .collect::<Vec<_>>()),
                Some((number, Err(_))) => Err(error(number + 1, "cannot be read as text")),
                None => Err(error(number + 1, "expected two phrases after this line")),
            };
            let (first, second) = (phrase()?, phrase()?);
            if first
                .iter()
                .chain(&second)
                .all(|word| vocabulary.contains(word))
                && !first.is_empty()
            {
                self.longest = self.longest.max(first.len());
                self.paraphrases.entry(first).or_default().push(second);
            }
        }
        Ok(self)
    }

    /// Senses of a word and of the word it is a form of.
    pub(super) fn senses(&self, word: &str) -> BTreeSet<u32> {
        let of = |word: &str| self.senses.get(word).cloned().unwrap_or_default();
        let mut senses = of(word);
        match self.bases.get(word) {
            Some(bases) => bases.iter().for_each(|base| senses.extend(of(base))),
            None => senses.extend(
                self.base_form(word)
                    .map(|base| of(&base))
                    .unwrap_or_default(),
            ),
        }
        senses
    }

    /// WordNet's rules of detachment: the first that leads to a known word.
    fn base_form(&self, word: &str) -> Option<String> {
        const RULES: [(&str, &str); 20] = [
            ("s", ""),
            ("ses", "s"),
            ("xes", "x"),
            ("zes", "z"),
            ("ches", "ch"),
            ("shes", "sh"),
            ("men", "man"),
            ("ies", "y"),
            ("s", ""),
            ("ies", "y"),
            ("es", "e"),
            ("es", ""),
            ("ed", "e"),
            ("ed", ""),
            ("ing", "e"),
            ("ing", ""),
            ("er", ""),
            ("est", ""),
            ("er", "e"),
            ("est", "e"),
        ];
        if word.ends_with("ss") || word.chars().count() <= 2 {
            return None;
        }
        let (word, tail) = word
            .strip_suffix("ful")
            .map_or((word, ""), |stem| (stem, "ful"));
        RULES
            .iter()
            .filter_map(|(suffix, replacement)| {
                Some(format!("{}{replacement}", word.strip_suffix(suffix)?))
            })
            .find(|base| self.senses.contains_key(base))
            .map(|base| base + tail)
    }

    /// Phrases of `from` together with phrases of `to` that paraphrase them.
    pub(super) fn paraphrases(&self, from: &[String], to: &[String]) -> Vec<(Span, Span)> {
        let mut found = Vec::new();
        for start in 0..from.len() {
            for length in 1..=self.longest.min(from.len() - start) {
                for other in self
                    .paraphrases
                    .get(&from[start..start + length])
                    .into_iter()
                    .flatten()
                {
                    let places = to
                        .windows(other.len())
                        .enumerate()
                        .filter(|(_, window)| window == other);
                    found.extend(places.map(|(place, _)| ((start, length), (place, other.len()))));
                }
            }
        }
        found
    }
}

/// Pairs of lines with the number of the first.
fn line_pairs<'a>(what: &'static str, text: &'a str) -> Result<Vec<(usize, &'a str, &'a str)>> {
    let lines: Vec<&str> = text.lines().collect();
    lines
        .chunks(2)
        .enumerate()
        .map(|(pair, lines)| match lines {
            [first, second] => Ok((2 * pair + 1, first.trim(), *second)),
            _ => Err(MetricsError::Dictionary {
                what,
                line: 2 * pair + 1,
                problem: "expected a second line after this",
            }),
        })
        .collect()
}

/// All words of METEOR's normal form that occur in captions or references.
#[must_use]
pub fn vocabulary(samples: &[Tokenized]) -> HashSet<String> {
    samples
        .iter()
        .flat_map(|s| s.references.iter().chain([&s.candidate]))
        .flat_map(|words| normalize(words))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::caption::meteor::Meteor;

    const SYNSETS: &str = "dog\n1 2\nhound\n2\nmouse\n5\nrodent\n5\n";
    const EXCEPTIONS: &str = "mouse\nmice\n";

    fn score(lexicon: Lexicon, candidate: &str, reference: &str) -> f64 {
        Meteor::with_lexicon(lexicon)
            .score(&[Tokenized::split(candidate, &[reference])])
            .samples[0]
    }

    #[test]
    fn forms_share_the_senses_of_their_base() {
        let lexicon = Lexicon::default()
            .with_synonyms(SYNSETS, EXCEPTIONS)
            .unwrap();
        assert_eq!(lexicon.senses("hounds"), lexicon.senses("hound"));
        assert_eq!(lexicon.senses("mice"), BTreeSet::from([5]));
        assert!(lexicon.senses("cat").is_empty());
        // One word of weight 0.8, and nothing is left over: no penalty.
        assert!((score(lexicon, "hounds", "dog") - 0.8).abs() < 1e-9);
    }

    #[test]
    fn paraphrases_cover_phrases_of_different_length() {
        let table = "0.5\nnext to\nbeside\n0.5\nout of\nunknown\n";
        let samples = [Tokenized::split("next to", &["beside"])];
        let lexicon = Lexicon::default()
            .with_paraphrases(table.as_bytes(), &vocabulary(&samples))
            .unwrap();
        assert_eq!(lexicon.paraphrases.len(), 1);
        // All words covered at weight 0.6 in one chunk: no penalty.
        assert!((score(lexicon, "next to", "beside") - 0.6).abs() < 1e-9);
    }

    #[test]
    fn broken_tables_are_named_by_line() {
        let error = Lexicon::default()
            .with_synonyms("dog\n1\ncat", "")
            .unwrap_err();
        assert!(
            matches!(error, MetricsError::Dictionary { line: 3, .. }),
            "{error}"
        );
        let error = Lexicon::default().with_synonyms("dog\nx", "").unwrap_err();
        assert!(
            matches!(error, MetricsError::Dictionary { line: 2, .. }),
            "{error}"
        );
        let error = Lexicon::default()
            .with_paraphrases("0.5\na".as_bytes(), &HashSet::new())
            .unwrap_err();
        assert!(
            matches!(error, MetricsError::Dictionary { line: 1, .. }),
            "{error}"
        );
    }
}
