//! The page and the results file of a made-up study.

use std::sync::LazyLock;

use roxmltree::{Document, Node, ParsingOptions};

use crate::sample::sample;
use crate::{Report, Results, render};

static PAGE: LazyLock<String> = LazyLock::new(|| {
    let html = render(&sample()).unwrap();
    if let Some(path) = std::env::var_os("DEEM_SAMPLE_REPORT") {
        std::fs::write(path, &html).unwrap();
    }
    html
});

/// The page as a tree, which only a well-formed page has.
fn parse(html: &str) -> Document<'_> {
    let options = ParsingOptions {
        allow_dtd: true,
        ..ParsingOptions::default()
    };
    Document::parse_with_options(html, options).unwrap()
}

/// All text below a node, with single spaces.
fn text(node: Node) -> String {
    let texts = node.descendants().filter(Node::is_text);
    let all: String = texts.filter_map(|n| n.text()).collect();
    all.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn with_class<'a>(node: Node<'a, 'a>, class: &'a str) -> impl Iterator<Item = Node<'a, 'a>> {
    node.descendants().filter(move |n| {
        let classes = n.attribute("class").unwrap_or_default();
        classes.split(' ').any(|c| c == class)
    })
}

fn section<'a>(page: &'a Document<'a>, id: &str) -> Option<Node<'a, 'a>> {
    page.descendants()
        .find(|n| n.has_tag_name("section") && n.attribute("id") == Some(id))
}

/// A copy without arms, extras and differences.
fn bare() -> Report {
    let full = sample();
    Report {
        curves: Vec::new(),
        stages: Vec::new(),
        restorations: Vec::new(),
        examples: Vec::new(),
        results: Results {
            difference: Vec::new(),
            arms: Vec::new(),
            ..full.results
        },
        ..full
    }
}

#[test]
fn the_page_is_complete_and_needs_nothing_else() {
    let page = parse(&PAGE);
    let sections = page.descendants().filter(|n| n.has_tag_name("section"));
    let ids: Vec<&str> = sections.filter_map(|n| n.attribute("id")).collect();
    assert_eq!(
        ids,
        [
            "differences",
            "results",
            "details",
            "restorations",
            "examples",
            "training",
            "controls",
            "limits",
            "reproduce"
        ]
    );
    let links = page.descendants().filter_map(|n| n.attribute("href"));
    let links: Vec<&str> = links.collect();
    assert_eq!(
        links,
        ids.iter().map(|id| format!("#{id}")).collect::<Vec<_>>()
    );
    for loader in ["http://", "https://", "<script", "<link", "@import", "url("] {
        assert!(!PAGE.contains(loader), "{loader}");
    }
    let body = page.descendants().find(|n| n.has_tag_name("body")).unwrap();
    let attributes = body.descendants().flat_map(|n| n.attributes());
    let attributes = attributes
        .filter(|a| !matches!(a.name(), "src" | "preserveAspectRatio"))
        .map(|a| a.value());
    let printed: Vec<String> = attributes.map(str::to_owned).chain([text(body)]).collect();
    for odd in ["NaN", "inf", "{{", "{%", "none", "None", "undefined"] {
        let found = printed.iter().find(|printed| printed.contains(odd));
        assert_eq!(found, None, "{odd}");
    }
}

#[test]
fn texts_of_the_study_cannot_become_markup() {
    let page = parse(&PAGE);
    assert!(!page.descendants().any(|n| n.has_tag_name("script")));
    assert!(PAGE.contains("paper-baseline &lt;script&gt;alert(1)&lt;"));
    assert!(PAGE.contains("Is the &lt;b&gt;boat&lt;"));
    assert!(PAGE.contains("# &lt;small&gt;"));
    assert!(text(page.root()).contains("Counting & <more>"));
}

#[test]
fn a_benchmark_that_nobody_here_knows_appears_everywhere() {
    let page = parse(&PAGE);
    for id in ["differences", "results"] {
        let section = section(&page, id).unwrap();
        let mut labels = with_class(section, "label").map(text);
        assert!(
            labels.any(|label| label.starts_with("Counting & <more>")),
            "{id}"
        );
    }
    let cards = with_class(page.root(), "card").map(text);
    let card = cards
        .into_iter()
        .find(|card| card.starts_with("Counting"))
        .unwrap();
    assert!(card.contains("points 95 % interval ["), "{card}");
    let results = section(&page, "results").unwrap();
    let rows = results.descendants().filter(|n| n.has_tag_name("tr"));
    let row = rows
        .map(text)
        .find(|row| row.starts_with("Counting & <more> within one"));
    // Three arms and the main difference.
    assert_eq!(row.unwrap().matches('[').count(), 4);
}

#[test]
fn figures_in_other_units_stand_in_the_table_only() {
    let page = parse(&PAGE);
    let results = section(&page, "results").unwrap();
    assert!(
        !with_class(results, "rows")
            .map(text)
            .any(|t| t.contains("CIDEr"))
    );
    let rows = results.descendants().filter(|n| n.has_tag_name("tr"));
    assert!(rows.map(text).any(|row| row.starts_with("Regions CIDEr 9")));
}

#[test]
fn a_family_of_many_parts_has_its_own_chart_sorted_by_gain() {
    let page = parse(&PAGE);
    let details = section(&page, "details").unwrap();
    let gains: Vec<String> = with_class(details, "value").map(text).collect();
    let gains: Vec<f64> = gains.iter().filter_map(|g| g.parse().ok()).collect();
    assert_eq!(gains.len(), 6, "six patterns");
    assert!(gains.is_sorted_by(|a, b| a >= b), "{gains:?}");
    assert!(!text(details).contains("adversarial"), "POPE has few parts");
}

#[test]
fn the_answer_is_said_in_words() {
    let page = parse(&PAGE);
    let verdict = text(with_class(page.root(), "verdict").next().unwrap());
    assert!(
        verdict.starts_with("feedback is better than no-feedback in MMVP (+"),
        "{verdict}"
    );
    assert!(PAGE.contains("<code>3f9c1d2a7b8e+</code>"));
    assert_eq!(PAGE.matches("The paper, at full size: +6.5").count(), 1);
}

#[test]
fn right_and_wrong_are_what_the_scorer_said() {
    let page = parse(&PAGE);
    let examples = section(&page, "examples").unwrap();
    let of = |class| with_class(examples, class).map(text).collect::<Vec<_>>();
    assert_eq!(of("right"), ["✓ two", "✓ No.", "✓ Yes", "✓ left"]);
    assert_eq!(of("wrong"), ["✗ (b) three", "✗ yes", "✗ no", "✗ (nothing)"]);
}

#[test]
fn a_study_without_any_extras_still_has_a_page() {
    let html = render(&bare()).unwrap();
    let page = parse(&html);
    let sections = page.descendants().filter(|n| n.has_tag_name("section"));
    let ids: Vec<_> = sections.filter_map(|n| n.attribute("id")).collect();
    assert_eq!(ids, ["limits", "reproduce"]);
}

#[test]
fn one_arm_of_one_seed_is_shown_without_a_comparison() {
    let full = sample();
    let one = Report {
        results: Results {
            seeds: vec![1],
            arms: full.results.arms[..1].to_vec(),
            difference: Vec::new(),
            ..full.results
        },
        ..full
    };
    let html = render(&one).unwrap();
    let page = parse(&html);
    assert!(section(&page, "differences").is_none());
    assert!(
        text(section(&page, "results").unwrap()).contains("how much runs differ stays unknown")
    );
}

#[test]
fn the_results_file_has_the_promised_shape_and_is_read_back() {
    let results = sample().results;
    let json = serde_json::to_value(&results).unwrap();
    for path in [
        "/arms/feedback/families/pope/figures/adversarial/accuracy/mean",
        "/arms/feedback/families/pope/figures/mean/accuracy/low",
        "/arms/feedback/families/pope/unparseable",
        "/arms/feedback/families/mmvp/figures/colour/pair_accuracy/mean",
        "/arms/feedback/families/mmvp/figures/all/pair_accuracy/per_seed/2",
        "/arms/feedback/controls/attribute_questions/figures/own images/accuracy/mean",
        "/arms/feedback/costs/seconds_per_step/mean",
        "/difference/feedback - no-feedback/families/mmvp/figures/all/pair_accuracy/mean",
        "/difference/feedback - no-feedback/families/mmvp/figures/all/pair_accuracy/paired/wins",
    ] {
        assert!(
            json.pointer(path).is_some_and(serde_json::Value::is_number),
            "{path}"
        );
    }
    assert_eq!(
        json["difference"]["feedback - no-feedback"]["control"],
        "no-feedback"
    );
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("results.json");
    results.save(&path).unwrap();
    let read: Results = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    // JSON keeps all but the last binary digit of a number; the second reading is exact.
    let again = serde_json::to_string(&read).unwrap();
    assert_eq!(serde_json::from_str::<Results>(&again).unwrap(), read);
    assert_eq!(read.rows(), results.rows());
    assert_eq!(read.arms[2].families.len(), results.arms[2].families.len());
    let missing = folder.path().join("nowhere/results.json");
    let error = results.save(&missing).unwrap_err().to_string();
    assert!(error.contains("nowhere"), "{error}");
}
