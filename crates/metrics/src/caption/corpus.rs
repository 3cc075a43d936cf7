//! All caption metrics of one run.

use serde::{Deserialize, Serialize};

use super::bleu::bleu;
use super::cider::{CiderVariant, cider};
use super::meteor::Meteor;
use super::rouge::rouge_l;
use super::tokenize::tokenize;
use crate::{MetricsError, Result};

/// A generated caption with the captions that people wrote.
#[derive(Debug, Clone, PartialEq)]
pub struct CaptionSample {
    /// What the model wrote.
    pub candidate: String,
    /// What people wrote, at least one.
    pub references: Vec<String>,
}

/// The same as tokens. A token may hold no-break spaces (`3 1/2`): ROUGE takes it for one, BLEU and CIDEr cut it there, as
/// the tools do.
#[derive(Debug, Clone, PartialEq)]
pub struct Tokenized {
    /// Tokens of the generated caption.
    pub candidate: Vec<String>,
    /// Tokens of each reference.
    pub references: Vec<Vec<String>>,
}

impl Tokenized {
    /// Tokens of raw captions, as the COCO caption tools make them.
    #[must_use]
    pub fn new(sample: &CaptionSample) -> Self {
        Self {
            candidate: tokenize(&sample.candidate),
            references: sample.references.iter().map(|r| tokenize(r)).collect(),
        }
    }

    /// The same with every token cut at the spaces that it holds.
    #[must_use]
    pub(super) fn cut(&self) -> Self {
        let cut = |tokens: &[String]| -> Vec<String> {
            let words = tokens.iter().flat_map(|token| token.split_whitespace());
            words.map(str::to_owned).collect()
        };
        Self {
            candidate: cut(&self.candidate),
            references: self.references.iter().map(|r| cut(r)).collect(),
        }
    }

    /// Captions that are tokenised already, cut at white space.
    #[must_use]
    pub fn split(candidate: &str, references: &[&str]) -> Self {
        let split = |text: &str| text.split_whitespace().map(str::to_owned).collect();
        Self {
            candidate: split(candidate),
            references: references.iter().map(|r| split(r)).collect(),
        }
    }
}

/// Scores of one caption, in the units of [`CaptionScores`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SampleScores {
    /// BLEU-4.
    pub bleu_4: f64,
    /// METEOR.
    pub meteor: f64,
    /// ROUGE-L.
    pub rouge_l: f64,
    /// CIDEr-D.
    pub cider: f64,
}

/// Scores of all captions of a run. BLEU, METEOR and ROUGE-L are in [0, 1], CIDEr in [0, 10]; papers print 100 times that.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CaptionScores {
    /// BLEU-1 to BLEU-4 of the corpus.
    pub bleu: [f64; 4],
    /// METEOR of the corpus (from summed counts, as its authors define it).
    pub meteor: f64,
    /// Mean ROUGE-L.
    pub rouge_l: f64,
    /// Mean CIDEr-D, which the COCO tools call CIDEr.
    pub cider: f64,
    /// Scores of each caption in the given order, for intervals and paired differences.
    pub samples: Vec<SampleScores>,
}

/// Scores the captions of one run. CIDEr depends on the set: score each seed by itself, then average.
///
/// # Errors
/// `Empty` without captions, or for a caption without references.
pub fn score(samples: &[CaptionSample], meteor: &Meteor) -> Result<CaptionScores> {
    if samples.is_empty() {
        return Err(MetricsError::Empty { what: "captions" });
    }
    if samples.iter().any(|sample| sample.references.is_empty()) {
        return Err(MetricsError::Empty {
            what: "references of a caption",
        });
    }
    let tokens: Vec<Tokenized> = samples.iter().map(Tokenized::new).collect();
    let words: Vec<Tokenized> = tokens.iter().map(Tokenized::cut).collect();
    let bleu = bleu(&words);
    let cider = cider(&words, CiderVariant::D);
    let meteor = meteor.score(&tokens);
    let rouge: Vec<f64> = tokens.iter().map(rouge_l).collect();
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    Ok(CaptionScores {
        bleu: bleu.corpus,
        meteor: meteor.corpus,
        rouge_l: mean(&rouge),
        cider: mean(&cider),
        samples: (0..samples.len())
            .map(|i| SampleScores {
                bleu_4: bleu.samples[i][3],
                meteor: meteor.samples[i],
                rouge_l: rouge[i],
                cider: cider[i],
            })
            .collect(),
    })
}
