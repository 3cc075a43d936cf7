//! Alignment of two sentences.
//!
//! Of all matches between words and phrases a subset is chosen that covers each word at most once, with (in this order)
//! the largest total weight, the fewest chunks, and the smallest sum of distances between matched positions. The search
//! goes through the reference from left to right with a beam. Where the original program departs from its description
//! (weights are cut to whole numbers, a distance burdens the alternatives to a match), this follows the program.

use rust_stemmers::{Algorithm, Stemmer};

use super::lexicon::Lexicon;
use super::stats::{Side, Stats, WEIGHTS};

/// Partial alignments that are kept at each word.
const BEAM: usize = 40;

const EXACT: usize = 0;
const STEM: usize = 1;
const SYNONYM: usize = 2;
const PARAPHRASE: usize = 3;

/// Words that say little by themselves; they weigh a third of the others.
const FUNCTION_WORDS: &[&str] = &[
    "the", ",", ".", "to", "of", "and", "a", "in", "that", "for", "\"", "is", "on", "'s", "it",
    "with", "was", "as", "said", "at", "he", "by", "be", "from", "have", "has", "are", "his",
    "but", "an", "this", "not", "i", "will", "\u{2019}", "they", ")", "-rrb-", "(", "-lrb-", "who",
    "their", "had", "we", "which", "were", "been", "more", "or", "s", "its", "would", "about",
    "new", "one", "after", "you", ":", "also", "up", "when", "there", "than", "$", "all", "out",
    "her", "people", "she", "year", "two", "-", "can", "if", "last", "first", "\u{201c}", "over",
    "other", "\u{201d}", "into", "some", "what", "so", "--", "no", "time", "years", "could", "?",
    "'t", "\u{2014}", "'",
];

/// A word or phrase of the candidate that matches one of the reference.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Match {
    candidate: (usize, usize), // start, length
    reference: (usize, usize),
    module: usize,
}

impl Match {
    fn distance(&self) -> usize {
        self.candidate.0.abs_diff(self.reference.0)
    }
}

/// Finds matches and chooses among them.
pub(super) struct Aligner {
    lexicon: Lexicon,
    stemmer: Stemmer,
}

impl Default for Aligner {
    fn default() -> Self {
        Self::new(Lexicon::default())
    }
}

impl Aligner {
    pub(super) fn new(lexicon: Lexicon) -> Self {
        Self {
            lexicon,
            stemmer: Stemmer::create(Algorithm::English),
        }
    }

    /// Counts of the best alignment.
    pub(super) fn align(&self, candidate: &[String], reference: &[String]) -> Stats {
        let matches = self.matches(candidate, reference);
        let chosen = resolve(candidate.len(), reference.len(), &matches);
        Stats {
            candidate: side(candidate, chosen.iter().map(|m| (m.candidate, m.module))),
            reference: side(reference, chosen.iter().map(|m| (m.reference, m.module))),
            chunks: chunks(&chosen) as f64,
        }
    }

    /// All matches, in the order of their kinds. Equal sentences match exactly only.
    fn matches(&self, candidate: &[String], reference: &[String]) -> Vec<Match> {
        let mut matches = Vec::new();
        let mut pairs = |module: usize, same: &dyn Fn(usize, usize) -> bool| {
            for j in 0..reference.len() {
                let found = (0..candidate.len()).filter(|&i| same(i, j));
                matches.extend(found.map(|i| Match {
                    candidate: (i, 1),
                    reference: (j, 1),
                    module,
                }));
            }
        };
        pairs(EXACT, &|i, j| candidate[i] == reference[j]);
        if candidate == reference {
            return matches;
        }
        let stems = |words: &[String]| -> Vec<String> {
            words
                .iter()
                .map(|w| self.stemmer.stem(w).into_owned())
                .collect()
        };
        let (a, b) = (stems(candidate), stems(reference));
        pairs(STEM, &|i, j| candidate[i] != reference[j] && a[i] == b[j]);
        let senses =
            |words: &[String]| -> Vec<_> { words.iter().map(|w| self.lexicon.senses(w)).collect() };
        let (a, b) = (senses(candidate), senses(reference));
        pairs(SYNONYM, &|i, j| {
            candidate[i] != reference[j] && !a[i].is_disjoint(&b[j])
        });

        let mut paraphrases = |from: &[String], to: &[String], turned: bool| {
            for (span, other) in self.lexicon.paraphrases(from, to) {
                let (candidate, reference) = if turned { (other, span) } else { (span, other) };
                matches.push(Match {
                    candidate,
                    reference,
                    module: PARAPHRASE,
                });
            }
        };
        paraphrases(candidate, reference, false);
        paraphrases(reference, candidate, true);
        matches
    }
}

fn side(words: &[String], matched: impl Iterator<Item = ((usize, usize), usize)>) -> Side {
    let is_function = |word: &String| FUNCTION_WORDS.contains(&word.as_str());
    let function = words.iter().filter(|word| is_function(word)).count();
    let mut side = Side {
        content: (words.len() - function) as f64,
        function: function as f64,
        ..Side::default()
    };
    for ((start, length), module) in matched {
        for word in &words[start..start + length] {
            if is_function(word) {
                side.matched_function[module] += 1.0;
            } else {
                side.matched_content[module] += 1.0;
            }
        }
    }
    side
}

/// Chunks of matches that are sorted by their place in the reference.
fn chunks(matches: &[Match]) -> usize {
    let breaks = matches
        .windows(2)
        .filter(|pair| !follows(&pair[0], &pair[1]))
        .count();
    breaks + usize::from(!matches.is_empty())
}

fn follows(first: &Match, second: &Match) -> bool {
    first.reference.0 + first.reference.1 == second.reference.0
        && first.candidate.0 + first.candidate.1 == second.candidate.0
}

/// A choice of matches up to some word of the reference.
#[derive(Clone)]
struct Partial {
    chosen: Vec<Match>,
    used: Vec<bool>,
    /// First word of the reference that is not covered.
    next: usize,
    /// End of the open chunk in the candidate.
    open: Option<usize>,
    /// Weighted words of the candidate and of the reference.
    weight: [u64; 2],
    /// Chunks that are closed.
    chunks: usize,
    distance: usize,
}

impl Partial {
    fn allows(&self, found: &Match) -> bool {
        !self.used[found.candidate.0..][..found.candidate.1].contains(&true)
    }

    fn take(&self, found: &Match) -> Self {
        let mut next = self.clone();
        let (start, length) = found.candidate;
        next.used[start..start + length].fill(true);
        next.next = found.reference.0 + found.reference.1;
        // The original keeps whole numbers: a single word that does not match exactly adds nothing.
        let add =
            |sum: u64, words: usize| (sum as f64 + words as f64 * WEIGHTS[found.module]) as u64;
        next.weight = [
            add(self.weight[0], length),
            add(self.weight[1], found.reference.1),
        ];
        next.chunks += usize::from(self.open.is_some_and(|end| end != start));
        next.open = Some(start + length);
        next.chosen.push(*found);
        next
    }

    fn skip(mut self) -> Self {
        self.chunks += usize::from(self.open.take().is_some());
        self.next += 1;
        self
    }

    fn order(&self, other: &Self) -> std::cmp::Ordering {
        (other
            .weight
            .iter()
            .sum::<u64>()
            .cmp(&self.weight.iter().sum()))
        .then(self.chunks.cmp(&other.chunks))
        .then(self.distance.cmp(&other.distance))
    }
}

/// Chooses among matches; the result is in the order of the reference.
fn resolve(candidate: usize, reference: usize, matches: &[Match]) -> Vec<Match> {
    let mut starting: Vec<Vec<&Match>> = vec![Vec::new(); reference];
    let (mut candidate_cover, mut reference_cover) = (vec![0; candidate], vec![0; reference]);
    for found in matches {
        starting[found.reference.0].push(found);
        candidate_cover[found.candidate.0..][..found.candidate.1]
            .iter_mut()
            .for_each(|c| *c += 1);
        reference_cover[found.reference.0..][..found.reference.1]
            .iter_mut()
            .for_each(|c| *c += 1);
    }
    // Matches without any rival are settled before the search.
    let settled: Vec<bool> = starting
        .iter()
        .map(|found| {
            matches!(found[..], [only] if
                candidate_cover[only.candidate.0..][..only.candidate.1].iter().all(|c| *c == 1)
                && reference_cover[only.reference.0..][..only.reference.1].iter().all(|c| *c == 1))
        })
        .collect();

    let mut beam = vec![Partial {
        chosen: Vec::new(),
        used: vec![false; candidate],
        next: 0,
        open: None,
        weight: [0; 2],
        chunks: 0,
        distance: 0,
    }];
    for position in 0..reference {
        beam.sort_by(Partial::order);
        beam.truncate(BEAM);
        let mut next = Vec::with_capacity(beam.len() * 2);
        for mut partial in beam {
            if partial.next > position {
                next.push(partial);
            } else if settled[position] {
                let only = starting[position][0];
                partial.distance += only.distance();
                next.push(partial.take(only));
            } else {
                for found in &starting[position] {
                    if partial.allows(found)
                        && !settled[position..][..found.reference.1].contains(&true)
                    {
                        next.push(partial.take(found));
                        // As the original: the distance burdens those who do not take the match.
                        partial.distance += found.distance();
                    }
                }
                next.push(partial.skip());
            }
        }
        beam = next;
    }
    beam.sort_by(Partial::order); // decides between equals, as sorting is stable
    beam.truncate(BEAM);
    beam = beam.into_iter().map(Partial::skip).collect(); // closes the last chunk
    beam.sort_by(Partial::order);
    beam.into_iter()
        .next()
        .map(|best| best.chosen)
        .unwrap_or_default()
}
