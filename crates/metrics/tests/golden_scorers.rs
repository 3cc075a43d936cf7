//! Scorers and statistics against published tools, on random and hostile predictions. The golden file comes from
//! `tools/parity/export_scorers.py`.

use deem_metrics::answer::normalize_vqa;
use deem_metrics::frechet::{Gaussian, frechet_distance};
use deem_metrics::ndcg::ndcg;
use deem_metrics::predictions::{Input, scorer};
use deem_metrics::statistics::{Scored, mcnemar, mean};
use deem_metrics::vqa::official_accuracy;
use serde_json::{Value, json};

fn golden() -> Value {
    serde_json::from_str(include_str!("golden/scorers.json")).expect("golden file")
}

fn scored(family: &str, predictions: &Value, references: Option<&Value>) -> Value {
    let predictions = predictions.to_string();
    let references = references.map(Value::to_string);
    let input = |name, text: &'static str| Input {
        name,
        bytes: text.as_bytes(),
    };
    // Leaked: a test's few texts, so that both have one lifetime.
    let leak = |text: String| -> &'static str { Box::leak(text.into_boxed_str()) };
    let references = references.map(|text| input("references.json", leak(text)));
    let scores = scorer(family)
        .unwrap()
        .score(input("predictions.json", leak(predictions)), references);
    scores.unwrap().json()
}

fn list<'a>(value: &'a Value, name: &str) -> &'a Vec<Value> {
    value[name].as_array().expect("a list")
}

fn number(value: &Value) -> f64 {
    value.as_f64().expect("a number")
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(number).collect()
}

#[test]
fn vqa_equals_the_challenges_tool_to_the_last_digit() {
    let golden = &golden()["vqa"];
    for case in list(golden, "normalized") {
        let [answer, expected] = [&case[0], &case[1]].map(|text| text.as_str().unwrap());
        assert_eq!(normalize_vqa(answer), expected, "{answer:?}");
    }
    let annotations = list(golden, "annotations");
    let results = list(golden, "results");
    for ((annotation, result), expected) in
        annotations.iter().zip(results).zip(list(golden, "single"))
    {
        let truths: Vec<&str> = list(annotation, "answers")
            .iter()
            .map(|answer| answer["answer"].as_str().unwrap())
            .collect();
        let answer = result["answer"].as_str().unwrap();
        let found = official_accuracy(answer, &truths).unwrap();
        assert_eq!(found, number(expected), "{answer:?} of {truths:?}");
    }
    let references = json!({"annotations": annotations});
    let found = scored("vqa", &golden["results"], Some(&references));
    for name in ["overall", "perAnswerType", "perQuestionType"] {
        assert_eq!(found[name], golden["accuracy"][name], "{name}");
    }
}

#[test]
fn gqa_follows_its_published_rules() {
    let golden = &golden()["gqa"];
    let found = scored("gqa", &golden["predictions"], Some(&golden["questions"]));
    let expected = golden["scores"].as_object().unwrap();
    assert_eq!(expected.len(), 5);
    for (name, expected) in expected {
        let difference = number(&found[name]) - number(expected);
        assert!(
            difference.abs() < 1e-9,
            "{name}: {} {expected}",
            found[name]
        );
    }
}

#[test]
fn ndcg_equals_scikit_learn() {
    let golden = golden();
    let cases = list(&golden, "ndcg");
    assert!(cases.len() > 30);
    for case in cases {
        let ranks: Vec<f64> = numbers(&case["ranks"]).iter().map(|rank| -rank).collect();
        let found = ndcg(&ranks, &numbers(&case["relevance"])).unwrap().unwrap();
        assert!((found - number(&case["ndcg"])).abs() < 1e-12, "{case}");
    }
}

#[test]
fn frechet_distance_equals_scipy() {
    for case in list(&golden(), "frechet") {
        let gaussian = |name: &str| {
            #[allow(clippy::cast_possible_truncation)] // written from single precision
            let single = |row: &Value| numbers(row).iter().map(|v| *v as f32).collect();
            let rows: Vec<Vec<f32>> = list(case, name).iter().map(single).collect();
            Gaussian::from_rows(rows.iter().map(Vec::as_slice)).unwrap()
        };
        let found = frechet_distance(&gaussian("real"), &gaussian("generated")).unwrap();
        let expected = number(&case["distance"]);
        assert!(
            (found - expected).abs() < 1e-5 * expected.max(1.0),
            "{found} {expected}"
        );
    }
}

#[test]
fn yes_no_equals_scikit_learn() {
    let golden = &golden()["yes_no"];
    let word = |yes: &Value| if yes.as_bool().unwrap() { "yes" } else { "no" };
    let rows: Vec<Value> = list(golden, "truth")
        .iter()
        .zip(list(golden, "answer"))
        .enumerate()
        .map(
            |(id, (truth, answer))| json!({"id": id, "answer": word(answer), "label": word(truth)}),
        )
        .collect();
    let found = scored("yes-no", &Value::Array(rows), None);
    for name in ["accuracy", "precision", "recall", "f1", "yes_ratio"] {
        let expected = 100.0 * number(&golden[name]);
        assert!((number(&found[name]) - expected).abs() < 1e-9, "{name}");
    }
}

#[test]
fn mcnemar_and_clustered_errors_equal_statsmodels() {
    let golden = golden();
    for case in list(&golden, "mcnemar") {
        let count = |at: usize| usize::try_from(case[at].as_u64().unwrap()).unwrap();
        let found = mcnemar(count(0), count(1));
        assert!((found - number(&case[2])).abs() < 1e-9, "{case} {found}");
    }
    for case in list(&golden, "clustered") {
        let samples: Vec<Scored> = list(case, "rows")
            .iter()
            .map(|row| {
                let [seed, cluster, question] = [0, 1, 2].map(|at| row[at].as_u64().unwrap());
                let question = format!("{cluster}/{question}");
                Scored::new(seed, cluster.to_string(), question, number(&row[3]))
            })
            .collect();
        let found = mean(&samples).unwrap();
        let error = number(&case["standard_error"]);
        assert!((found.mean - number(&case["mean"])).abs() < 1e-9);
        // Half the interval is a quantile of Student's t times the standard error.
        let half = (found.high - found.mean) / error;
        assert!((1.9..4.4).contains(&half), "{half}");
        let plain: Vec<Scored> = samples.iter().filter(|s| s.seed == 0).cloned().collect();
        if plain.len() == samples.len() {
            // One seed: eleven degrees of freedom.
            assert!((half - 2.200_985_160_082_949).abs() < 1e-6, "{half}");
        }
    }
}
