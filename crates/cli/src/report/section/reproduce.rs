//! Limits, and everything needed to run it again.

use std::fmt::Write;

use super::section;
use crate::report::html::{escape, grouped};
use crate::report::input::ReportInput;

/// What the intervals mean and what the experiment cannot show.
pub(in super::super) fn limits(input: &ReportInput) -> String {
    let mut items = String::from(
        "<li>Intervals are 95 % and cluster-robust: answers about one image (or pair) and answers of one seed count as dependent. \
         They speak about new questions of this kind and new seeds, not about other kinds of image or models of another size.</li>\
         <li>Unparseable answers count as wrong and are shown; nothing is guessed.</li>",
    );
    for limit in &input.limits {
        let _ = write!(items, "<li>{}</li>", escape(limit));
    }
    section(
        "limits",
        "How to read this, and its limits",
        "What these figures can and cannot tell.",
        &format!("<ul>{items}</ul>"),
    )
}

/// Command, versions, facts and configuration.
pub(in super::super) fn reproduce(input: &ReportInput) -> String {
    let results = &input.results;
    let seeds: Vec<String> = results.seeds.iter().map(u64::to_string).collect();
    let mut facts = vec![
        ("Seeds".to_owned(), seeds.join(", ")),
        ("Steps of each run".to_owned(), grouped(results.steps)),
        ("Version".to_owned(), results.version.clone()),
        (
            "Commit".to_owned(),
            results
                .commit
                .clone()
                .unwrap_or_else(|| "unknown".to_owned()),
        ),
    ];
    facts.extend(input.facts.iter().cloned());
    let list: String = facts
        .iter()
        .map(|(name, value)| format!("<dt>{}</dt><dd>{}</dd>", escape(name), escape(value)))
        .collect();
    section(
        "reproduce",
        "Run it again",
        "Same command, same commit, same seeds: same figures.",
        &format!(
            "<pre class=\"command\"><code>{}</code></pre><dl class=\"facts\">{list}</dl><details><summary>Exact configuration</summary><pre><code>{}</code></pre></details>",
            escape(&input.command),
            escape(&input.config_toml)
        ),
    )
}
