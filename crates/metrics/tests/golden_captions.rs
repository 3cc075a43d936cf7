//! Caption metrics against the standard tools. The golden file comes from `tools/parity/export_captions.py`.

use deem_metrics::caption::bleu::bleu;
use deem_metrics::caption::cider::{CiderVariant, cider};
use deem_metrics::caption::meteor::{Lexicon, Meteor, vocabulary};
use deem_metrics::caption::rouge::rouge_l;
use deem_metrics::caption::{CaptionSample, Tokenized, score, tokenize};
use serde::Deserialize;

/// Half of what is promised: equal to 1e-3 in the units of the papers, which are 100 times these.
const BOUND: f64 = 5e-6;

#[derive(Deserialize)]
struct Golden {
    corpus: Corpus,
    synsets: String,
    exceptions: String,
    paraphrases: String,
    samples: Vec<Sample>,
}

#[derive(Deserialize)]
struct Corpus {
    bleu: [f64; 4],
    rouge_l: f64,
    cider: f64,
    meteor: f64,
    meteor_lexicon: f64,
}

#[derive(Deserialize)]
struct Sample {
    candidate: String,
    references: Vec<String>,
    candidate_tokens: String,
    reference_tokens: Vec<String>,
    bleu: [f64; 4],
    rouge_l: f64,
    cider: f64,
    meteor: f64,
    meteor_lexicon: f64,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("golden/captions.json")).expect("golden file")
}

fn tokenized(golden: &Golden) -> Vec<Tokenized> {
    let references = |s: &Sample| s.references.iter().map(|r| tokenize(r)).collect();
    golden
        .samples
        .iter()
        .map(|s| Tokenized {
            candidate: tokenize(&s.candidate),
            references: references(s),
        })
        .collect()
}

fn assert_close(what: &str, sample: &str, found: f64, expected: f64) {
    assert!(
        (found - expected).abs() < BOUND,
        "{what} of {sample:?}: found {found}, expected {expected}"
    );
}

#[test]
fn tokens() {
    for sample in golden().samples {
        assert_eq!(
            tokenize(&sample.candidate).join(" "),
            sample.candidate_tokens
        );
        for (reference, expected) in sample.references.iter().zip(&sample.reference_tokens) {
            assert_eq!(tokenize(reference).join(" "), *expected);
        }
    }
}

#[test]
fn bleu_rouge_cider() {
    let golden = golden();
    let tokens = tokenized(&golden);
    let (bleu, cider) = (bleu(&tokens), cider(&tokens, CiderVariant::D));
    for (i, sample) in golden.samples.iter().enumerate() {
        for n in 0..4 {
            assert_close(
                "BLEU",
                &sample.candidate,
                bleu.samples[i][n],
                sample.bleu[n],
            );
        }
        assert_close(
            "ROUGE-L",
            &sample.candidate,
            rouge_l(&tokens[i]),
            sample.rouge_l,
        );
        assert_close("CIDEr", &sample.candidate, cider[i], sample.cider);
    }
    for n in 0..4 {
        assert_close("BLEU", "corpus", bleu.corpus[n], golden.corpus.bleu[n]);
    }
}

#[test]
fn meteor() {
    let golden = golden();
    let tokens = tokenized(&golden);
    let lexicon = Lexicon::default()
        .with_synonyms(&golden.synsets, &golden.exceptions)
        .and_then(|lexicon| {
            lexicon.with_paraphrases(golden.paraphrases.as_bytes(), &vocabulary(&tokens))
        })
        .expect("lexicon");
    let plain = Meteor::new().score(&tokens);
    let rich = Meteor::with_lexicon(lexicon).score(&tokens);
    for (i, sample) in golden.samples.iter().enumerate() {
        assert_close("METEOR", &sample.candidate, plain.samples[i], sample.meteor);
        assert_close(
            "METEOR with a lexicon",
            &sample.candidate,
            rich.samples[i],
            sample.meteor_lexicon,
        );
    }
    assert_close("METEOR", "corpus", plain.corpus, golden.corpus.meteor);
    assert_close(
        "METEOR with a lexicon",
        "corpus",
        rich.corpus,
        golden.corpus.meteor_lexicon,
    );
    assert!(
        rich.corpus > plain.corpus + 0.005,
        "the lexicon must matter in the golden file"
    );
}

#[test]
fn corpus_means() {
    let golden = golden();
    let samples: Vec<CaptionSample> = golden
        .samples
        .iter()
        .map(|s| CaptionSample {
            candidate: s.candidate.clone(),
            references: s.references.clone(),
        })
        .collect();
    let scores = score(&samples, &Meteor::new()).expect("scores");
    assert_close("ROUGE-L", "corpus", scores.rouge_l, golden.corpus.rouge_l);
    assert_close("CIDEr", "corpus", scores.cider, golden.corpus.cider);
    assert_close("METEOR", "corpus", scores.meteor, golden.corpus.meteor);
    assert_eq!(scores.samples.len(), samples.len());
}
