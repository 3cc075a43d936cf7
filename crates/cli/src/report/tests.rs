//! The page and the results file of a made-up study.

use super::sample::sample;
use super::{ReportInput, Results, render};

#[test]
fn the_page_is_complete_and_needs_nothing_else() {
    let html = render(&sample());
    for id in [
        "differences",
        "results",
        "patterns",
        "restorations",
        "examples",
        "training",
        "controls",
        "limits",
        "reproduce",
    ] {
        assert!(html.contains(&format!("<section id=\"{id}\">")), "{id}");
    }
    for loader in ["http://", "https://", "<script", "<link", "@import", "url("] {
        assert!(!html.contains(loader), "{loader}");
    }
    for odd in ["NaN", "inf<", "{:", "None"] {
        assert!(!html.contains(odd), "{odd}");
    }
    if let Some(path) = std::env::var_os("DEEM_SAMPLE_REPORT") {
        std::fs::write(path, html).unwrap();
    }
}

#[test]
fn texts_of_the_study_cannot_become_markup() {
    let html = render(&sample());
    assert!(
        html.contains("Is the &lt;b&gt;boat&lt;/b&gt; left or right of the &quot;house&quot;?")
    );
    assert!(html.contains("# &lt;small&gt;"));
}

#[test]
fn every_element_is_closed() {
    let html = render(&sample());
    for tag in [
        "section", "div", "figure", "table", "tr", "td", "th", "dl", "article", "svg", "g", "p",
        "span", "ul", "li",
    ] {
        let opened =
            html.matches(&format!("<{tag}>")).count() + html.matches(&format!("<{tag} ")).count();
        let closed = html.matches(&format!("</{tag}>")).count();
        let empty = html.matches(&format!("<{tag}/>")).count();
        assert_eq!(opened, closed + empty, "{tag}");
    }
}

#[test]
fn a_study_without_any_extras_still_has_a_page() {
    let full = sample();
    let bare = ReportInput {
        curves: Vec::new(),
        stages: Vec::new(),
        restorations: Vec::new(),
        examples: Vec::new(),
        results: Results {
            difference: Default::default(),
            arms: Default::default(),
            commit: None,
            ..full.results
        },
        ..full
    };
    let html = render(&bare);
    assert!(html.contains("<section id=\"reproduce\">"));
    for gone in [
        "restorations",
        "examples",
        "training",
        "differences",
        "results",
    ] {
        assert!(!html.contains(&format!("id=\"{gone}\"")), "{gone}");
    }
}

#[test]
fn the_answer_is_said_in_words() {
    let html = render(&sample());
    let verdict = html
        .split("<p class=\"verdict\">")
        .nth(1)
        .unwrap()
        .split("</p>")
        .next()
        .unwrap();
    assert!(
        verdict
            .starts_with("<em>feedback</em> is better than <em>no-feedback</em> in <b>MMVP</b> (+"),
        "{verdict}"
    );
}

#[test]
fn the_results_file_has_the_promised_shape() {
    let results = sample().results;
    let json = serde_json::to_value(&results).unwrap();
    let arm = &json["arms"]["feedback"];
    for path in [
        "/robust_vqa/A",
        "/robust_vqa/R",
        "/robust_vqa/V",
        "/robust_vqa/mean",
        "/pope/random",
        "/pope/popular",
        "/pope/adversarial",
        "/pope/mean",
        "/mmvp/pair_accuracy",
        "/mmvp/patterns/colour",
        "/region/cider",
        "/region/exact",
        "/seconds_per_step",
        "/trainable_parameters",
        "/gradient_ratio",
        "/pope/intervals/mean/low",
    ] {
        assert!(
            arm.pointer(path).is_some_and(serde_json::Value::is_number),
            "{path}"
        );
    }
    for path in ["robust_vqa", "pope", "mmvp"] {
        for bound in ["mean", "low", "high"] {
            assert!(
                json["difference"]["feedback - no-feedback"][path][bound].is_number(),
                "{path} {bound}"
            );
        }
    }
    assert!(
        json["version"].is_string()
            && json["commit"].is_string()
            && json["seeds"].is_array()
            && json["steps"].is_number()
    );
    assert!((0.0..=100.0).contains(&arm["pope"]["mean"].as_f64().unwrap()));
    assert!(
        arm["pope"]["mean"].as_f64().unwrap() > 1.0,
        "percent, not a fraction"
    );

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("results.json");
    results.save(&path).unwrap();
    let read: Results = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    // JSON keeps all but the last binary digit of a number.
    let text = |results: &Results| {
        let value = serde_json::to_value(results).unwrap();
        let mut numbers = Vec::new();
        collect(&value, &mut numbers);
        numbers
    };
    let (before, after) = (text(&results), text(&read));
    assert_eq!(before.len(), after.len());
    for (a, b) in before.iter().zip(&after) {
        assert!((a - b).abs() <= 1e-12 * a.abs(), "{a} {b}");
    }
    assert_eq!(
        read.difference.keys().collect::<Vec<_>>(),
        results.difference.keys().collect::<Vec<_>>()
    );
}

/// All numbers of a JSON value, in order.
fn collect(value: &serde_json::Value, numbers: &mut Vec<f64>) {
    match value {
        serde_json::Value::Number(number) => numbers.extend(number.as_f64()),
        serde_json::Value::Array(items) => items.iter().for_each(|item| collect(item, numbers)),
        serde_json::Value::Object(fields) => {
            fields.values().for_each(|field| collect(field, numbers))
        }
        _ => {}
    }
}
