//! `deem data stats`: what samples hold, in figures.

use anyhow::Result;
use deem_data::source::{Source, Statistics};
use serde_json::json;

/// Reads samples and prints their figures.
pub fn run(source: &dyn Source, count: u64, json: bool) -> Result<()> {
    let found = Statistics::of(source, count);
    if json {
        println!("{}", json!(found));
        return Ok(());
    }
    let length = found.length.map_or("no end".to_owned(), |n| n.to_string());
    println!("samples           {length}");
    println!("read              {}", found.read);
    let unreadable: u64 = found.failed.values().sum();
    let share = 100.0 * unreadable as f64 / found.read.max(1) as f64;
    println!("unreadable        {unreadable} ({share:.2} %)");
    for (cause, count) in &found.failed {
        println!("    {cause}: {count}");
    }
    println!("left out by rules {}", found.dropped.values().sum::<u64>());
    for (rule, count) in &found.dropped {
        println!("    {rule}: {count}");
    }
    println!("                  least    median   mean     most");
    for (name, values) in [
        ("pictures/sample", &found.images),
        ("characters", &found.characters),
        ("  that count", &found.counted_characters),
        ("shorter side", &found.shorter_sides),
    ] {
        match values {
            Some(v) => println!(
                "{name:<18}{:<9}{:<9}{:<9.1}{}",
                v.least, v.median, v.mean, v.most
            ),
            None => println!("{name:<18}none"),
        }
    }
    if let Some(first) = &found.example {
        eprintln!("first failure: {first}");
    }
    Ok(())
}
