//! `deem compare`: two evaluations of the same questions.

use anyhow::Result;
use deem_engine::evaluate::{BenchmarkRegistry, SavedRun, compare};
use deem_metrics::answer::ParseMode;

use crate::args::Compare;

/// Runs the command.
pub fn run(args: &Compare) -> Result<()> {
    let registry = BenchmarkRegistry::standard();
    let (run, control) = (SavedRun::read(&args.run)?, SavedRun::read(&args.control)?);
    let comparison = compare(&run, &control, &registry, ParseMode::Strict)?;
    if args.json {
        let json = comparison.json(args.vs_baseline);
        println!("{}", serde_json::to_string_pretty(&json)?);
    } else {
        print!("{}", comparison.table(args.vs_baseline));
    }
    Ok(())
}
