//! From counts of matched words to a score.

/// Number of kinds of match: exact, stem, synonym, paraphrase.
pub(super) const MODULES: usize = 4;

/// Weight of each kind of match.
pub(super) const WEIGHTS: [f64; MODULES] = [1.0, 0.6, 0.8, 0.6];

/// Weight of recall in the harmonic mean.
const ALPHA: f64 = 0.85;
/// Exponent of the fragmentation.
const BETA: f64 = 0.20;
/// Largest penalty.
const GAMMA: f64 = 0.60;
/// Weight of content words; function words have the rest.
const DELTA: f64 = 0.75;

/// Words of one side of an alignment.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub(super) struct Side {
    pub content: f64,
    pub function: f64,
    pub matched_content: [f64; MODULES],
    pub matched_function: [f64; MODULES],
}

impl Side {
    /// Weighted share of matched words.
    fn share(&self) -> f64 {
        let matched: f64 = (0..MODULES)
            .map(|m| {
                WEIGHTS[m]
                    * (DELTA * self.matched_content[m] + (1.0 - DELTA) * self.matched_function[m])
            })
            .sum();
        let all = DELTA * self.content + (1.0 - DELTA) * self.function;
        if all > 0.0 { matched / all } else { 0.0 }
    }

    fn words(&self) -> f64 {
        self.content + self.function
    }

    fn matched(&self) -> f64 {
        self.matched_content
            .iter()
            .chain(&self.matched_function)
            .sum()
    }

    fn add(&mut self, other: &Self) {
        self.content += other.content;
        self.function += other.function;
        for m in 0..MODULES {
            self.matched_content[m] += other.matched_content[m];
            self.matched_function[m] += other.matched_function[m];
        }
    }
}

/// Counts of one aligned pair of sentences, or of many.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub(super) struct Stats {
    pub candidate: Side,
    pub reference: Side,
    /// Runs of matches that are adjacent and in the same order on both sides.
    pub chunks: f64,
}

impl Stats {
    pub(super) fn add(&mut self, other: &Self) {
        self.candidate.add(&other.candidate);
        self.reference.add(&other.reference);
        // A sentence that is one run is not fragmented, so its chunk does not count.
        self.chunks += if other.is_one_run() {
            0.0
        } else {
            other.chunks
        };
    }

    pub(super) fn score(&self) -> f64 {
        let (precision, recall) = (self.candidate.share(), self.reference.share());
        if precision == 0.0 || recall == 0.0 {
            return 0.0;
        }
        let mean = precision * recall / (ALPHA * precision + (1.0 - ALPHA) * recall);
        if self.is_one_run() {
            return mean;
        }
        let matched = (self.candidate.matched() + self.reference.matched()) / 2.0;
        mean * (1.0 - GAMMA * libm::pow(self.chunks / matched, BETA))
    }

    /// Whether all words of both sides are matched in one run.
    fn is_one_run(&self) -> bool {
        self.chunks == 1.0
            && self.candidate.matched() == self.candidate.words()
            && self.reference.matched() == self.reference.words()
    }
}
