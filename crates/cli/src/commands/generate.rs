//! `deem generate`: a picture of a text.

use anyhow::Result;
use deem::{Purpose, write_picture};

use super::setup::Setup;
use crate::args::Generate;

/// Runs the command.
pub fn run(setup: &Setup, args: &Generate) -> Result<()> {
    let model = setup.load(&args.model, Purpose::Everything)?;
    let picture = model.draw(&args.prompt, &args.drawing.options())?;
    write_picture(&picture, &args.output)?;
    println!("{}", args.output.display());
    Ok(())
}
