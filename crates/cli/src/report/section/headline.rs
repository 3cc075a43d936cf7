//! The answer, before everything else.

use deem_metrics::statistics::Difference;

use super::main_difference;
use crate::report::html::{escape, grouped, range, signed};
use crate::report::input::ReportInput;
use crate::report::results::Bounds;

/// Heading, the answer in a sentence, and a card for each benchmark.
pub(in super::super) fn headline(input: &ReportInput) -> String {
    let results = &input.results;
    let seeds = results.seeds.len();
    let meta = format!(
        "{seeds} {} · {} steps each · version {}{}",
        if seeds == 1 { "seed" } else { "seeds" },
        grouped(results.steps),
        escape(&results.version),
        results.commit.as_deref().map_or(String::new(), |c| format!(
            " · commit <code>{}</code>",
            escape(short(c))
        )),
    );
    let (verdict, cards) = match main_difference(results) {
        None => (String::new(), String::new()),
        Some((name, difference)) => {
            // The paper's own gains, at full size.
            let benchmarks = [
                (
                    "MMVP",
                    "perception: sees what two look-alikes differ in",
                    &difference.mmvp.total,
                    6.5,
                ),
                (
                    "POPE",
                    "hallucination: knows what is not there",
                    &difference.pope.total,
                    12.8,
                ),
                (
                    "RobustVQA",
                    "robustness: unknown styles, hard images",
                    &difference.robust_vqa.total,
                    4.0,
                ),
            ];
            let verdict = verdict(name, &benchmarks.map(|(name, _, d, _)| (name, d)));
            (
                verdict,
                benchmarks
                    .map(|(name, what, d, paper)| card(name, what, d, paper))
                    .concat(),
            )
        }
    };
    format!(
        "<header><p class=\"eyebrow\">Diffusion feedback for a vision-language model</p><h1>{}</h1>{verdict}<p class=\"meta\">{meta}</p><div class=\"cards\">{cards}</div></header>",
        escape(&input.title)
    )
}

fn short(commit: &str) -> &str {
    commit.get(..12).unwrap_or(commit)
}

/// Which benchmarks moved, in words.
fn verdict(name: &str, differences: &[(&str, &Difference)]) -> String {
    let (treatment, control) = name.split_once(" - ").unwrap_or((name, "the control"));
    let describe = |(benchmark, difference): &(&str, &Difference)| {
        format!(
            "<b>{benchmark}</b> ({} points)",
            signed(difference.interval.mean)
        )
    };
    let list = |chosen: Vec<String>| match chosen.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        Some((last, _)) => last.clone(),
        None => String::new(),
    };
    let those = |wanted: &dyn Fn(&Difference) -> bool| {
        list(
            differences
                .iter()
                .filter(|(_, d)| wanted(d))
                .map(describe)
                .collect(),
        )
    };
    let better = those(&|d| d.interval.low > 0.0);
    let worse = those(&|d| d.interval.high < 0.0);
    let open = those(&|d| !d.interval.excludes_zero());
    let (treatment, control) = (escape(treatment), escape(control));
    let mut sentences = Vec::new();
    if !better.is_empty() {
        sentences.push(format!(
            "<em>{treatment}</em> is better than <em>{control}</em> in {better}."
        ));
    }
    if !worse.is_empty() {
        sentences.push(format!(
            "<em>{treatment}</em> is worse than <em>{control}</em> in {worse}."
        ));
    }
    if !open.is_empty() {
        sentences.push(format!(
            "There is no clear difference in {open}: the 95 % interval holds zero."
        ));
    }
    format!("<p class=\"verdict\">{}</p>", sentences.join(" "))
}

fn bounds(low: f64, high: f64) -> String {
    let bounds = Bounds::from(deem_metrics::statistics::Interval {
        mean: 0.0,
        low,
        high,
    });
    range(bounds.low, bounds.high, signed)
}

fn card(name: &str, what: &str, difference: &Difference, paper: f64) -> String {
    let interval = &difference.interval;
    let (class, word) = if interval.low > 0.0 {
        ("gain", "better")
    } else if interval.high < 0.0 {
        ("loss", "worse")
    } else {
        ("open", "not clear")
    };
    format!(
        "<div class=\"card {class}\"><h3>{name} <span class=\"chip\">{word}</span></h3><p class=\"big\">{}<small> points</small></p><p class=\"interval\">95 % interval {}</p><p class=\"what\">{what}</p><p class=\"paper\">The paper, at full size: {}</p></div>",
        signed(interval.mean),
        bounds(interval.low, interval.high),
        signed(paper),
    )
}
