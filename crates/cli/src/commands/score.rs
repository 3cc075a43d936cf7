//! `deem score`: anyone's predictions.

mod frechet;

use std::path::Path;

use anyhow::{Context, Result, bail};
use deem_metrics::figures::Unit;
use deem_metrics::predictions::{Input, Scores, scorer};

use super::setup::Setup;
use crate::args::Score;

/// Runs the command.
pub fn run(setup: &Setup, args: &Score) -> Result<()> {
    let scorer = scorer(&args.family)?;
    let scores = if scorer.name == frechet::NAME {
        frechet::score(setup, args, &scorer)?
    } else {
        if args.features.is_some() {
            bail!(
                "--features: {} looks at no pictures; only {} does",
                scorer.name,
                frechet::NAME
            );
        }
        let predictions = File::read(&args.predictions)?;
        let references = args.references.as_deref().map(File::read).transpose()?;
        scorer.score(predictions.input(), references.as_ref().map(File::input))?
    };
    if args.json {
        println!("{}", serde_json::to_string_pretty(&scores.json())?);
    } else {
        print!("{}", table(&scores));
    }
    if let Some(note) = scores.note {
        eprintln!("note: {note}");
    }
    Ok(())
}

struct File {
    name: String,
    bytes: Vec<u8>,
}

impl File {
    fn read(path: &Path) -> Result<Self> {
        let name = path.display().to_string();
        let bytes = std::fs::read(path).with_context(|| name.clone())?;
        Ok(Self { name, bytes })
    }

    fn input(&self) -> Input<'_> {
        Input {
            name: &self.name,
            bytes: &self.bytes,
        }
    }
}

fn table(scores: &Scores) -> String {
    let mut text = String::new();
    for figure in &scores.figures {
        let (digits, unit) = match figure.unit {
            Unit::Percent => (2, " %"),
            _ => (4, ""),
        };
        let label = figure.label();
        text.push_str(&format!("{label:<20}{:>10.digits$}{unit}", figure.mean));
        if let (Some(low), Some(high)) = (figure.low, figure.high) {
            text.push_str(&format!("  [{low:.2}, {high:.2}]"));
        }
        text.push('\n');
    }
    for (name, value) in &scores.details {
        match value {
            serde_json::Value::Object(parts) => {
                for (part, value) in parts {
                    text.push_str(&format!("{:<20}{value:>10}\n", format!("  {part}")));
                }
            }
            value => text.push_str(&format!("{:<20}{value:>10}\n", name.replace('_', " "))),
        }
    }
    text
}
