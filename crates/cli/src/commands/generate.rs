//! `deem generate`: a picture of a text.

use anyhow::{Result, bail};
use deem::{Purpose, write_picture};

use super::pictures::check_output;
use super::setup::Setup;
use crate::args::Generate;
use crate::progress::drawing;

/// The published setting for pictures of a text.
pub const GUIDANCE: f64 = 3.5;

/// Runs the command.
pub fn run(setup: &Setup, args: &Generate) -> Result<()> {
    if args.prompt.trim().is_empty() {
        bail!("nothing to draw: the text is empty");
    }
    check_output(&args.output)?;
    let model = setup.load(&args.model, Purpose::Everything)?;
    let options = args.drawing.options(GUIDANCE);
    let picture = model.draw_watched(&args.prompt, &options, &mut drawing())?;
    write_picture(&picture, &args.output)?;
    println!("{}", args.output.display());
    Ok(())
}
