//! `deem data stats`: what samples hold, in figures.

use anyhow::Result;
use deem_data::source::{Spread, Statistics};
use serde_json::{Value, json};

use super::choose::Chosen;

/// Reads samples and prints their figures: of the mixture, and of each of its sources.
pub fn run(chosen: &Chosen, count: u64, json: bool) -> Result<()> {
    let tokenizer = chosen.tokenizer.as_ref();
    let all = Statistics::of(&*chosen.source()?, count, tokenizer);
    let parts: Vec<Statistics> = match chosen.specs.len() {
        0 | 1 => vec![all.clone()],
        several => (0..several)
            .map(|number| Ok(Statistics::of(&*chosen.entry(number)?, count, tokenizer)))
            .collect::<Result<_>>()?,
    };
    let shares = Shares::of(chosen, &parts);
    if json {
        let mut value = json!(all);
        value["sources"] = shares.json(chosen, &parts);
        println!("{value}");
        return Ok(());
    }
    print(&all);
    if parts.len() > 1 {
        println!("\nsource               samples      share of samples  of tokens");
        for (number, part) in parts.iter().enumerate() {
            println!(
                "{:<21}{:<13}{:<18}{}",
                format!("{} {}", number, chosen.specs[number].kind),
                length(part),
                format!("{:.1} %", 100.0 * shares.samples[number]),
                format_args!("{:.1} %", 100.0 * shares.tokens[number]),
            );
        }
    }
    Ok(())
}

/// Shares of the sources in the mixture, which add up to 1.
struct Shares {
    samples: Vec<f64>,
    tokens: Vec<f64>,
}

impl Shares {
    fn of(chosen: &Chosen, parts: &[Statistics]) -> Self {
        let part = |values: Vec<f64>| {
            let sum: f64 = values.iter().sum();
            values
                .iter()
                .map(|v| v / sum.max(f64::MIN_POSITIVE))
                .collect()
        };
        let weights: Vec<f64> = chosen.specs.iter().map(|spec| spec.weight).collect();
        let mean = |part: &Statistics| part.tokens.map_or(0.0, |spread| spread.mean);
        let tokens = weights.iter().zip(parts).map(|(w, p)| w * mean(p));
        Self {
            tokens: part(tokens.collect()),
            samples: part(weights),
        }
    }

    fn json(&self, chosen: &Chosen, parts: &[Statistics]) -> Value {
        let entries = parts.iter().enumerate().map(|(number, part)| {
            let mut value = json!(part);
            value["kind"] = json!(chosen.specs[number].kind);
            value["share_of_samples"] = json!(self.samples[number]);
            value["share_of_tokens"] = json!(self.tokens[number]);
            value
        });
        entries.collect()
    }
}

fn length(found: &Statistics) -> String {
    found.length.map_or("no end".to_owned(), |n| n.to_string())
}

fn print(found: &Statistics) {
    println!("samples           {}", length(found));
    println!("looked at         {}", found.looked_at);
    let unreadable: u64 = found.failed.values().sum();
    let share = 100.0 * unreadable as f64 / found.looked_at.max(1) as f64;
    println!("unreadable        {unreadable} ({share:.2} %)");
    for (cause, count) in &found.failed {
        println!("    {cause}: {count}");
    }
    println!("left out by rules {}", found.dropped.values().sum::<u64>());
    for (rule, count) in &found.dropped {
        println!("    {rule}: {count}");
    }
    println!("                  least    median   mean     most");
    let row = |name: &str, values: &Option<Spread>| match values {
        Some(v) => println!(
            "{name:<18}{:<9}{:<9}{:<9.1}{}",
            v.least, v.median, v.mean, v.most
        ),
        None => println!("{name:<18}none"),
    };
    row("pictures/sample", &found.images);
    row("tokens of text", &found.tokens);
    row("characters", &found.characters);
    row("  that count", &found.counted_characters);
    row("shorter side", &found.shorter_sides);
    if let Some(first) = &found.example {
        eprintln!("first failure: {first}");
    }
}
