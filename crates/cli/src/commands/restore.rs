//! `deem restore`: what the encoder understood of a picture, drawn by the diffusion model.

use anyhow::Result;
use deem::{Purpose, write_picture};

use super::setup::{Setup, read_picture};
use crate::args::Restore;

/// Runs the command.
pub fn run(setup: &Setup, args: &Restore) -> Result<()> {
    let picture = read_picture(&args.image, None, &args.model)?;
    let model = setup.load(&args.model, Purpose::Everything)?;
    let restored = model.restore(&picture, args.strength, &args.drawing.options())?;
    write_picture(&restored, &args.output)?;
    println!("{}", args.output.display());
    Ok(())
}
