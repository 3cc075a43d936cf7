//! `deem restore`: what the encoder understood of a picture, drawn by the diffusion model.

use anyhow::Result;
use deem::{Purpose, write_picture};

use super::pictures::{check_output, read_picture};
use super::setup::Setup;
use crate::args::Restore;
use crate::progress::drawing;

/// Nothing but conditions of pictures is trained; guidance away from the untrained null condition does harm.
const GUIDANCE: f64 = 1.0;

/// Runs the command.
pub fn run(setup: &Setup, args: &Restore) -> Result<()> {
    check_output(&args.output)?;
    let picture = read_picture(&args.image, None, &args.reading, &args.model)?;
    let model = setup.load(&args.model, Purpose::Everything)?;
    let options = args.drawing.options(GUIDANCE);
    let restored = model.restore_watched(&picture, args.strength, &options, &mut drawing())?;
    write_picture(&restored, &args.output)?;
    println!("{}", args.output.display());
    Ok(())
}
