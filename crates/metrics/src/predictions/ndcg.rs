//! VisDial: ranks of the candidate answers, and how relevant people found each.

use std::collections::HashMap;

use serde::Deserialize;

use super::input::{Input, Result, missing};
use super::scorer::{Scorer, Scores, Truth};
use crate::figures::Figure;
use crate::ndcg::ndcg;
use crate::statistics::{Scored, accuracy};

pub(super) const SCORER: Scorer = Scorer {
    name: "ndcg",
    predictions: "VisDial's results: a JSON list of image_id, round_id and ranks (1 is the best candidate)",
    truth: Truth::Beside(
        "VisDial's dense annotations: a JSON list of image_id, round_id and gt_relevance",
        score,
    ),
};

#[derive(Deserialize)]
struct Ranked {
    image_id: i64,
    #[serde(default)]
    round_id: Option<i64>,
    ranks: Vec<f64>,
}

#[derive(Deserialize)]
struct Relevance {
    image_id: i64,
    #[serde(default)]
    round_id: Option<i64>,
    // The published files of the training and the validation split differ in this name.
    #[serde(alias = "relevance")]
    gt_relevance: Vec<f64>,
}

fn score(predictions: Input<'_>, references: Input<'_>) -> Result<Scores> {
    let mut by_image: HashMap<i64, Vec<(String, Ranked)>> = HashMap::new();
    for (place, row) in predictions.records::<Ranked>("image_id, round_id, ranks")? {
        by_image.entry(row.image_id).or_default().push((place, row));
    }
    let annotated = references.records::<Relevance>("image_id, round_id, gt_relevance")?;
    let mut pairs = Vec::new();
    let mut without = Vec::new();
    // Results may hold all rounds of a dialogue; one of them is annotated.
    for (_, relevance) in &annotated {
        let own = by_image
            .get(&relevance.image_id)
            .map_or(&[][..], Vec::as_slice);
        let same = |r: &&(String, Ranked)| {
            relevance.round_id.is_none()
                || r.1.round_id.is_none()
                || r.1.round_id == relevance.round_id
        };
        let found: Vec<&(String, Ranked)> = own.iter().filter(same).collect();
        match found.as_slice() {
            [] => without.push(relevance.image_id),
            [one] => pairs.push((*one, relevance)),
            [_, second, ..] => {
                let expected = "one record for each image and round";
                return Err(predictions.broken(&second.0, expected, "another one"));
            }
        }
    }
    missing(predictions, "dialogues", &without, annotated.len())?;
    let mut scored = Vec::new();
    let mut irrelevant = 0;
    for ((place, row), relevance) in pairs {
        if row.ranks.len() != relevance.gt_relevance.len() {
            return Err(predictions.broken(
                format!("{place}, ranks"),
                format!("{} ranks", relevance.gt_relevance.len()),
                row.ranks.len().to_string(),
            ));
        }
        let scores: Vec<f64> = row.ranks.iter().map(|rank| -rank).collect();
        match predictions.scored(ndcg(&scores, &relevance.gt_relevance))? {
            Some(value) => {
                let id = row.image_id.to_string();
                scored.push(Scored::new(0, id.clone(), id, value));
            }
            None => irrelevant += 1,
        }
    }
    let mean = predictions.scored(accuracy(&scored))?;
    Ok(Scores::new([Figure::percent("ndcg", mean).titled("NDCG")])
        .with("samples", scored.len())
        .with("without_relevant_candidate", irrelevant))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scored(
        predictions: &str,
        references: &str,
    ) -> std::result::Result<serde_json::Value, String> {
        let scores = SCORER.score(
            Input {
                name: "ranks.json",
                bytes: predictions.as_bytes(),
            },
            Some(Input {
                name: "dense.json",
                bytes: references.as_bytes(),
            }),
        );
        scores.map(|s| s.json()).map_err(|e| e.to_string())
    }

    #[test]
    fn by_hand() {
        let references = r#"[{"image_id": 1, "round_id": 3, "gt_relevance": [0.5, 0.0, 1.0]},
            {"image_id": 2, "round_id": 1, "gt_relevance": [0, 0, 0]}]"#;
        let predictions = r#"[{"image_id": 1, "round_id": 2, "ranks": [1, 2, 3]},
            {"image_id": 1, "round_id": 3, "ranks": [3, 1, 2]},
            {"image_id": 2, "round_id": 1, "ranks": [1, 2, 3]}]"#;
        let score = scored(predictions, references).unwrap();
        let second = 1.0 / 3f64.log2();
        let expected = 100.0 * second / (1.0 + 0.5 * second);
        assert!((score["ndcg"].as_f64().unwrap() - expected).abs() < 1e-9);
        assert_eq!(
            (&score["samples"], &score["without_relevant_candidate"]),
            (&1.into(), &1.into())
        );
        let error = scored(
            r#"[{"image_id": 1, "round_id": 3, "ranks": [1]}]"#,
            references,
        )
        .unwrap_err();
        assert!(error.contains("1 of 2 dialogues"), "{error}");
        let error = scored(&predictions.replace("[3, 1, 2]", "[3, 1]"), references).unwrap_err();
        assert!(
            error.contains("record 1, ranks") && error.contains("3 ranks"),
            "{error}"
        );
    }
}
