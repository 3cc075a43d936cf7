//! `deem data`: fetch what does not ship, list kinds of sources, look at samples, count them, write them elsewhere, build a
//! benchmark.

mod choose;
mod export;
mod fetch;
mod inspect;
mod page;
mod robust_vqa;
mod stats;

use anyhow::Result;
use deem_data::source::SourceRegistry;

use super::setup::Setup;
use crate::args::DataCommand;
use crate::interrupt;

/// The source of the built-in world that is shown unless another is named.
const SOURCE: &str = "alignment";

/// Runs the command.
pub fn run(setup: &Setup, command: &DataCommand) -> Result<()> {
    match command {
        DataCommand::Fetch {
            what,
            output,
            sets,
            mirror,
            dry_run,
            packages,
        } => fetch::run(&fetch::Wanted {
            what: what.as_deref(),
            output: output.as_deref(),
            sets: sets.as_deref(),
            mirror: mirror.as_deref(),
            dry_run: *dry_run,
            packages: packages.as_deref(),
        }),
        DataCommand::List => {
            list(&SourceRegistry::standard());
            Ok(())
        }
        DataCommand::Inspect {
            output,
            html,
            count,
            chosen,
        } => {
            let chosen = choose::choose(setup, chosen, SOURCE)?;
            match html {
                Some(file) => page::run(&chosen, file, *count),
                None => inspect::run(&*chosen.source()?, output, *count),
            }
        }
        DataCommand::Export {
            format,
            output,
            count,
            chosen,
        } => export::run(
            &*choose::choose(setup, chosen, export::default_source(*format))?.source()?,
            *format,
            output,
            *count,
        ),
        DataCommand::BuildRobustvqa(args) => {
            interrupt::listen();
            robust_vqa::run(setup, args)
        }
        DataCommand::Stats {
            count,
            json,
            chosen,
        } => stats::run(&choose::choose(setup, chosen, SOURCE)?, *count, *json),
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
