//! Caption metrics on hostile captions, against the standard tools. The golden file comes from
//! `tools/parity/export_hostile_captions.py`.

use deem_metrics::caption::tokenize;
use deem_metrics::predictions::{Input, scorer};
use serde::Deserialize;
use serde_json::json;

/// What is promised on any input.
const BOUND: f64 = 1e-3;

#[derive(Deserialize)]
struct Set {
    /// Candidate, references, and both as the tool cuts them.
    images: Vec<(String, Vec<String>, String, Vec<String>)>,
    #[serde(rename = "Bleu")]
    bleu: [f64; 4],
    #[serde(rename = "ROUGE_L")]
    rouge_l: f64,
    #[serde(rename = "CIDEr")]
    cider: f64,
}

fn golden() -> Vec<Set> {
    serde_json::from_str(include_str!("golden/hostile_captions.json")).expect("golden file")
}

#[test]
fn hostile_captions_are_cut_as_the_standard_tokenizer_cuts_them() {
    let mut seen = 0;
    let mut different = Vec::new();
    for set in golden() {
        for (candidate, references, candidate_tokens, reference_tokens) in &set.images {
            let texts = std::iter::once(candidate).chain(references);
            let expected = std::iter::once(candidate_tokens).chain(reference_tokens);
            for (text, expected) in texts.zip(expected) {
                let found = tokenize(text).join(" ");
                seen += 1;
                if found != *expected {
                    different.push(format!("{text:?}\n  tool {expected:?}\n  ours {found:?}"));
                }
            }
        }
    }
    assert!(seen > 1500, "{seen}");
    let shown = different.len().min(40);
    assert!(
        different.is_empty(),
        "{} of {seen}:\n{}",
        different.len(),
        different[..shown].join("\n")
    );
}

#[test]
fn scores_of_hostile_captions_equal_the_standard_tools() {
    for (number, set) in golden().iter().enumerate() {
        let images = || set.images.iter().enumerate();
        let predictions: Vec<_> = images()
            .map(|(id, (candidate, ..))| json!({"image_id": id, "caption": candidate}))
            .collect();
        let annotations: Vec<_> = images()
            .flat_map(|(id, (_, references, ..))| {
                references
                    .iter()
                    .map(move |text| json!({"image_id": id, "caption": text}))
            })
            .collect();
        let predictions = json!(predictions).to_string();
        let references = json!({"annotations": annotations}).to_string();
        let input = |name, text: &'static str| Input {
            name,
            bytes: text.as_bytes(),
        };
        // Leaked: a test's few texts, so that both have one lifetime.
        let leak = |text: String| -> &'static str { Box::leak(text.into_boxed_str()) };
        let scores = scorer("captions").unwrap().score(
            input("results.json", leak(predictions)),
            Some(input("captions.json", leak(references))),
        );
        let found = scores.unwrap().json();
        let expected = (1..)
            .zip(set.bleu)
            .map(|(n, value)| (format!("Bleu_{n}"), value))
            .chain([
                ("ROUGE_L".to_owned(), set.rouge_l),
                ("CIDEr".to_owned(), set.cider),
            ]);
        for (name, expected) in expected {
            let found = found[&name].as_f64().unwrap();
            assert!(
                (found - expected).abs() < BOUND,
                "set {number}, {name}: {found} {expected}"
            );
        }
    }
}
