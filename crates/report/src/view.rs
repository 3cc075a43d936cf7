//! From a report to what the templates print.

mod differences;
mod evidence;
mod header;
mod interval_chart;
mod line_chart;
mod results;
mod table;
mod training;

use minijinja::value::{Serde, Value};
use serde::Serialize;

use crate::input::Report;
use crate::text::grouped;
use header::Header;

/// The whole page.
#[derive(Debug, Serialize)]
pub(crate) struct Page {
    title: String,
    subject: String,
    header: Header,
    sections: Vec<Section>,
}

/// A section: `templates/sections/ID.html` prints its content.
#[derive(Debug, Serialize)]
struct Section {
    id: &'static str,
    /// As the navigation names it.
    link: &'static str,
    heading: &'static str,
    lead: String,
    content: Value,
}

impl Section {
    fn new(
        id: &'static str,
        link: &'static str,
        heading: &'static str,
        lead: impl Into<String>,
        content: impl Serialize,
    ) -> Self {
        Self {
            id,
            link,
            heading,
            lead: lead.into(),
            content: Value::from(Serde(content)),
        }
    }
}

impl Page {
    pub(crate) fn new(report: &Report) -> Self {
        let sections = [
            differences::section(&report.results),
            results::section(&report.results),
            results::details(&report.results),
            evidence::restorations(report),
            evidence::examples(report),
            training::section(report),
            results::controls(&report.results),
            Some(limits(report)),
            Some(reproduce(report)),
        ];
        Self {
            title: report.title.clone(),
            subject: report.subject.clone(),
            header: Header::new(report),
            sections: sections.into_iter().flatten().collect(),
        }
    }
}

/// What intervals mean and what the study cannot show.
fn limits(report: &Report) -> Section {
    Section::new(
        "limits",
        "Limits",
        "How to read this, and its limits",
        "What these figures can and cannot tell.",
        &report.limits,
    )
}

/// Command, facts and configuration.
fn reproduce(report: &Report) -> Section {
    #[derive(Serialize)]
    struct Again<'a> {
        command: &'a str,
        facts: Vec<(&'a str, &'a str)>,
        config: &'a str,
    }

    let results = &report.results;
    let seeds: Vec<String> = results.seeds.iter().map(u64::to_string).collect();
    let (seeds, steps) = (seeds.join(", "), grouped(results.steps));
    let own = [
        ("Seeds", seeds.as_str()),
        ("Steps of each run", &steps),
        ("Version", &results.version),
        ("Commit", &results.commit),
    ];
    // An evaluation of a model that is there has neither seeds nor steps of its own.
    let own = &own[if results.seeds.is_empty() { 2 } else { 0 }..];
    let given = report.facts.iter();
    let given = given.map(|(name, value)| (name.as_str(), value.as_str()));
    Section::new(
        "reproduce",
        "Run it again",
        "Run it again",
        "Same command, same commit, same seeds: same figures.",
        Again {
            command: &report.command,
            facts: own.iter().copied().chain(given).collect(),
            config: &report.config_toml,
        },
    )
}

/// How an arm looks all over the page: its colour and marker.
#[derive(Debug, Clone, Serialize)]
struct Arm {
    name: String,
    class: usize,
}

/// Colours and markers that there are; further arms begin again.
const CLASSES: usize = 6;

fn arms(results: &crate::Results) -> Vec<Arm> {
    let names = results.arms.iter().map(|arm| arm.name.clone());
    names
        .enumerate()
        .map(|(at, name)| Arm {
            name,
            class: at % CLASSES,
        })
        .collect()
}

/// A place in a chart, in percent of its width or height.
fn place(percent: f64) -> String {
    format!("{percent:.2}")
}
