//! Captions: COCO's results and annotations.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::Deserialize;

use super::input::{Id, Input, Result, missing};
use super::scorer::{Scorer, Scores, Truth};
use crate::caption::{CaptionSample, Meteor, score as score_captions};
use crate::figures::{Figure, Unit};

pub(super) const SCORER: Scorer = Scorer {
    name: "captions",
    predictions: "COCO's results: a JSON list of image_id and caption; or the records.jsonl of deem eval",
    truth: Truth::Beside(
        "COCO's annotations: annotations with image_id and caption",
        score,
    ),
};

/// Which matches METEOR counts.
const METEOR: &str = "METEOR (exact, stem)";

/// A caption of COCO's results, or a record of `deem eval`.
#[derive(Deserialize)]
struct Predicted {
    #[serde(default)]
    image_id: Option<Id>,
    #[serde(default)]
    id: Option<Id>,
    #[serde(default, alias = "answer")]
    caption: Option<String>,
}

#[derive(Deserialize)]
struct Caption {
    image_id: Id,
    caption: String,
}

#[derive(Deserialize)]
struct References {
    annotations: Vec<Caption>,
}

fn score(predictions: Input<'_>, references: Input<'_>) -> Result<Scores> {
    let mut seen = HashSet::new();
    let mut candidates: HashMap<Id, String> = HashMap::new();
    for (place, row) in predictions.records::<Predicted>("image_id and caption")? {
        let (Some(id), Some(caption)) = (row.image_id.or(row.id), row.caption) else {
            return Err(predictions.broken(place, "image_id and caption", "not both"));
        };
        predictions.once(&mut seen, id.clone(), &place, "image_id")?;
        candidates.insert(id, caption);
    }
    let content: References = references.json("annotations with image_id and caption")?;
    let mut written: BTreeMap<Id, Vec<String>> = BTreeMap::new();
    for row in content.annotations {
        written.entry(row.image_id).or_default().push(row.caption);
    }
    if let Some(unknown) = candidates
        .keys()
        .filter(|id| !written.contains_key(id))
        .min()
    {
        return Err(predictions.broken(
            format!("image_id {unknown}"),
            format!("an image of {}", references.name),
            "none of it",
        ));
    }
    let without: Vec<&Id> = written
        .keys()
        .filter(|id| !candidates.contains_key(id))
        .collect();
    missing(predictions, "images", &without, written.len())?;
    let samples: Vec<CaptionSample> = written
        .into_iter()
        .map(|(id, references)| CaptionSample {
            candidate: candidates.remove(&id).unwrap_or_default(),
            references,
        })
        .collect();
    let scores = predictions.scored(score_captions(&samples, &Meteor::new()))?;
    let bleu = scores.bleu.iter().zip(1..);
    let mut figures: Vec<Figure> = bleu
        .map(|(bleu, n)| Figure::plain(format!("Bleu_{n}"), *bleu, Unit::Score))
        .collect();
    let plain = |name, value| Figure::plain(name, value, Unit::Score);
    figures.extend([
        plain("ROUGE_L", scores.rouge_l),
        plain("CIDEr", scores.cider).titled("CIDEr (CIDEr-D)"),
        plain("METEOR", scores.meteor).titled(METEOR),
    ]);
    Ok(Scores {
        note: Some(
            "CIDEr is CIDEr-D, as the COCO tools have it; METEOR matches words and stems, without synonyms and \
             paraphrases, and is lower than the published one",
        ),
        ..Scores::new(figures)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scored(predictions: &[u8], references: &[u8]) -> Result<serde_json::Value> {
        let input = |name, bytes| Input { name, bytes };
        let references = input("references.json", references);
        let scores = SCORER.score(input("results.json", predictions), Some(references))?;
        Ok(scores.json())
    }

    const REFERENCES: &[u8] = br#"{"images": [], "annotations": [
        {"image_id": 7, "id": 1, "caption": "A red cat sits on a mat."},
        {"image_id": 7, "id": 2, "caption": "A cat on the mat."},
        {"image_id": 9, "id": 3, "caption": "Two dogs run in a park."}]}"#;

    #[test]
    fn a_caption_that_equals_a_reference_is_perfect() {
        let predictions = br#"[{"image_id": 9, "caption": "two dogs run in a park"},
            {"image_id": 7, "caption": "A red cat sits on a mat"}]"#;
        let scores = scored(predictions, REFERENCES).unwrap();
        let names: Vec<&String> = scores.as_object().unwrap().keys().collect();
        assert_eq!(
            names,
            [
                "Bleu_1", "Bleu_2", "Bleu_3", "Bleu_4", "ROUGE_L", "CIDEr", "METEOR"
            ]
        );
        assert!((scores["Bleu_4"].as_f64().unwrap() - 1.0).abs() < 1e-6);
        assert!((scores["ROUGE_L"].as_f64().unwrap() - 1.0).abs() < 1e-9);
        assert!(scores["CIDEr"].as_f64().unwrap() > 1.0);
    }

    #[test]
    fn records_of_an_evaluation_are_results_too() {
        let results =
            br#"[{"image_id": 7, "caption": "A cat."}, {"image_id": 9, "caption": "Dogs."}]"#;
        let records =
            br#"{"id": "7", "benchmark": "coco_captions", "answer": "A cat.", "score": 0.5}
            {"id": "9", "benchmark": "coco_captions", "answer": "Dogs.", "score": 0.5}"#;
        let scores = scored(records, REFERENCES).unwrap();
        assert_eq!(scores, scored(results, REFERENCES).unwrap());
    }

    #[test]
    fn images_without_prediction_and_strangers_are_named() {
        let error = |text: &str| scored(text.as_bytes(), REFERENCES).unwrap_err().to_string();
        let found = error(r#"[{"image_id": 9, "caption": "dogs"}]"#);
        assert!(
            found.contains("1 of 2 images") && found.contains("first is 7"),
            "{found}"
        );
        let found = error(r#"[{"image_id": 8, "caption": "dogs"}]"#);
        assert!(found.contains("image_id 8"), "{found}");
        let found = error(r#"[{"image_id": 9, "caption": 3}]"#);
        assert!(found.contains("results.json, record 0"), "{found}");
        let found = error(r#"[{"image_id": 9, "caption": "a"}, {"image_id": 9, "caption": "b"}]"#);
        assert!(found.contains("record 1, image_id"), "{found}");
        let none = Input {
            name: "results.json",
            bytes: b"[]",
        };
        let found = SCORER.score(none, None).unwrap_err().to_string();
        assert!(found.contains("--references"), "{found}");
    }
}
