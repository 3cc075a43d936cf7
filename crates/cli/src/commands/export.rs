//! `deem export`: one self-contained folder of a model.

use anyhow::Result;
use deem::export;

use super::setup::Setup;
use crate::args::Export;

/// Runs the command.
pub fn run(setup: &Setup, args: &Export) -> Result<()> {
    let open = setup.model(args.config.as_deref(), Some(&args.model), args.offline)?;
    export(&open.find()?, &args.output)?;
    println!("{}", args.output.display());
    Ok(())
}
