//! `deem data`: fetch what does not ship, list kinds of sources, look at samples, count them, build a benchmark.

mod choose;
mod inspect;
mod robust_vqa;
mod stats;

use std::path::Path;

use anyhow::Result;
use deem_data::fetch::{FetchOptions, fetch_emoji, fetch_smollm2};
use deem_data::source::SourceRegistry;

use super::setup::Setup;
use crate::args::{DataCommand, FetchChoice};

/// Runs the command.
pub fn run(setup: &Setup, command: &DataCommand) -> Result<()> {
    match command {
        DataCommand::Fetch {
            what,
            output,
            packages,
        } => {
            let output = |default: &str| output.clone().unwrap_or(default.into());
            match what {
                FetchChoice::Emoji => emoji(&output("emoji"), packages.as_deref()),
                FetchChoice::Smollm2 => smollm2(&output("weights/smollm2")),
            }
        }
        DataCommand::List => {
            list(&SourceRegistry::standard());
            Ok(())
        }
        DataCommand::Inspect {
            output,
            count,
            chosen,
        } => inspect::run(&*choose::open(setup, chosen)?, output, *count),
        DataCommand::BuildRobustvqa(args) => robust_vqa::run(setup, args),
        DataCommand::Stats {
            count,
            json,
            chosen,
        } => stats::run(&*choose::open(setup, chosen)?, *count, *json),
    }
}

fn list(sources: &SourceRegistry) {
    for kind in sources.kinds() {
        println!("{}: {}", kind.name, kind.about);
        for field in kind.fields {
            println!("    {:<14}{}", field.name, field.about);
        }
    }
    println!("all kinds:");
    println!(
        "    {:<14}share of the mixture, relative to the other entries; default: 1",
        "weight"
    );
}

fn emoji(output: &Path, packages: Option<&Path>) -> Result<()> {
    let options = FetchOptions {
        output: output.to_owned(),
        packages: packages.map_or(output.join("packages"), Path::to_owned),
        npm: "npm".into(),
    };
    let report = fetch_emoji(&options, &mut |message| eprintln!("{message}"))?;
    eprintln!("{} concepts in every style", report.concepts);
    for (shard, bytes) in report.shards {
        println!("{} ({:.1} MB)", shard.display(), bytes as f64 / 1e6);
    }
    Ok(())
}

fn smollm2(output: &Path) -> Result<()> {
    for file in fetch_smollm2(output, &mut |message| eprintln!("{message}"))? {
        println!("{}", file.display());
    }
    Ok(())
}
